"""Sampling completions: prompts prefilled once, their cache expanded to the group, finished rows leave the batch.

`generate()` of transformers spends most of a small model's time around the model; this is the bare decode loop.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface, AttentionMaskInterface, DynamicCache
from transformers.cache_utils import DynamicLayer
from transformers.masking_utils import sdpa_mask

TOKENS_AT_ONCE = 65_536

# A row's end is looked for every so many tokens: looking makes the host wait for the device, which costs a GPU more
# than decoding a few tokens for nothing.
_LOOK_EVERY = {"cpu": 1, "cuda": 8}

# Tokens of the vocabulary whose probabilities are summed up together before one of them is drawn.
_BLOCK = 128

WIDE = "prefloop_wide"
"""An attention implementation for decoding in half precision on a CPU: float32 keys, values and scores.

There attention over one new token runs at a seventh of float32's speed in bfloat16 (measured on AVX512-BF16), and the
cache gains digits by it.
"""


@dataclass(frozen=True)
class Completion:
    """One sampled completion. `ids` end in the end-of-sequence id unless `truncated`, when the limit came first.

    `logprobs[t]` is log π(ids[t] | prompt, ids[<t]) under the distribution that was sampled from, so divided by the
    temperature; of a greedy completion it is that of temperature 1.
    """

    ids: tuple[int, ...]
    logprobs: tuple[float, ...]
    truncated: bool


@torch.no_grad()
def sample(
    model,
    prompts: list[list[int]],
    *,
    n: int = 1,
    max_new_tokens: int,
    eos_id: int,
    pad_id: int,
    temperature: float = 1.0,
    seed: int = 0,
    tokens_at_once: int = TOKENS_AT_ONCE,
) -> list[list[Completion]]:
    """`n` completions of each prompt (token ids), in the order of the prompts; temperature 0 is greedy.

    Sample k of prompt i draws its tokens from random numbers of its own, fixed by `seed`, i and k, so neither
    `tokens_at_once` (prompt and completion tokens held in the cache together) nor the other prompts' lengths change
    what is drawn. No top-k or top-p: what is sampled from is exactly what is trained.
    """
    if not all(prompts):
        raise ValueError("every prompt needs at least one token, since the first new token is predicted from it")
    generator = torch.Generator().manual_seed(seed)
    draws = torch.rand((len(prompts), n, max_new_tokens), generator=generator, dtype=torch.float64)
    completions: list[list[Completion]] = [[] for _ in prompts]
    was_training = model.training
    model.eval()
    try:
        for chosen in _batches([len(prompt) for prompt in prompts], n, max_new_tokens, tokens_at_once):
            batch = [prompts[i] for i in chosen]
            rows = _sample_batch(model, batch, draws[chosen], eos_id=eos_id, pad_id=pad_id, temperature=temperature)
            for position, i in enumerate(chosen):
                completions[i] = rows[position * n : (position + 1) * n]
    finally:
        model.train(was_training)
    return completions


def _batches(lengths: list[int], n: int, max_new_tokens: int, tokens_at_once: int) -> Iterator[list[int]]:
    """Indices of prompts of like length, as many together as the cache may hold; the longest first."""
    batch: list[int] = []
    for i in sorted(range(len(lengths)), key=lambda i: -lengths[i]):
        if batch and (len(batch) + 1) * n * (lengths[batch[0]] + max_new_tokens) > tokens_at_once:
            yield batch
            batch = []
        batch.append(i)
    if batch:
        yield batch


def _sample_batch(model, prompts, draws, *, eos_id: int, pad_id: int, temperature: float) -> list[Completion]:
    """The completions of a batch, prompt by prompt. `draws` (prompts, n, new tokens) are uniform in [0, 1)."""
    device = model.get_input_embeddings().weight.device
    n, max_new_tokens = draws.shape[1:]
    draws = draws.flatten(0, 1).to(device)
    cache, mask, positions, logits = _prefill(model, prompts, n, max_new_tokens, pad_id)
    wide = model.config._attn_implementation == WIDE
    width = mask.shape[1] - max_new_tokens

    ids = torch.full((len(draws), max_new_tokens), pad_id, device=device)
    logprobs = torch.zeros((len(draws), max_new_tokens), device=device)
    rows = torch.arange(len(draws), device=device)  # which completion each row of the shrinking batch is
    running = torch.ones(len(draws), dtype=torch.bool, device=device)
    look_every = _LOOK_EVERY.get(device.type, 1)
    for t in range(max_new_tokens):
        token, logprob = _draw(logits, draws[rows, t], temperature)
        # A row that has ended but not left yet writes padding, which no one reads.
        ids[rows, t] = torch.where(running, token, pad_id)
        logprobs[rows, t] = torch.where(running, logprob, 0.0)
        running &= token != eos_id
        if t + 1 == max_new_tokens:
            break
        if (t + 1) % look_every == 0 and not bool(running.all()):
            keep = running.nonzero().squeeze(-1)
            if len(keep) == 0:
                break
            cache.batch_select_indices(keep)
            rows, token, mask, positions, running = (tensor[keep] for tensor in (rows, token, mask, positions, running))
        seen = mask[:, : width + t + 1]
        output = model(
            input_ids=token.unsqueeze(-1),
            # A mask of four dimensions is taken as it is, where one of two is made into it anew for every token.
            attention_mask=seen[:, None, None, :].bool() if wide else seen,
            position_ids=positions,
            past_key_values=cache,
            use_cache=True,
        )
        logits = output.logits[:, -1]
        positions = positions + 1
    return _cut(ids.tolist(), logprobs.tolist(), eos_id)


def _prefill(model, prompts, n: int, max_new_tokens: int, pad_id: int):
    """Each prompt computed once, then repeated: cache, mask (prompts·n, prompt and new tokens), positions, logits.

    Positions (prompts·n, 1) are those of the first new tokens, logits (prompts·n, vocabulary) what they are drawn from.
    """
    device = model.get_input_embeddings().weight.device
    width = max(map(len, prompts))
    # Padding stands on the left, so that every row's next token goes to the same place in the cache.
    input_ids = torch.tensor([[pad_id] * (width - len(prompt)) + list(prompt) for prompt in prompts], device=device)
    mask = torch.tensor([[0] * (width - len(prompt)) + [1] * len(prompt) for prompt in prompts], device=device)
    cache = DynamicCache(config=model.config)
    output = model(
        input_ids=input_ids,
        attention_mask=mask,
        position_ids=(mask.cumsum(-1) - 1).clamp(min=0),
        past_key_values=cache,
        use_cache=True,
        logits_to_keep=1,
    )
    wide = model.config._attn_implementation == WIDE
    cache.layers = [_roomy(layer, n, max_new_tokens, wide) for layer in cache.layers]
    positions = mask.sum(-1, keepdim=True).repeat_interleave(n, 0)
    mask = torch.nn.functional.pad(mask, (0, max_new_tokens), value=1).repeat_interleave(n, 0)
    return cache, mask, positions, output.logits[:, -1].repeat_interleave(n, 0)


def _roomy(layer, n: int, room: int, wide: bool):
    """The layer repeated n times along the batch, with room to write new tokens where it is of the plain kind."""
    if type(layer) is DynamicLayer:
        keys, values = (tensor.float() if wide else tensor for tensor in (layer.keys, layer.values))
        return _RoomyLayer(keys.repeat_interleave(n, 0), values.repeat_interleave(n, 0), room)
    layer.batch_repeat_interleave(n)
    return layer


def _attend_wide(module, query, key, value, attention_mask, *, dropout=0.0, scaling=None, **_):
    """transformers' attention: query (rows, heads, tokens, size) → (rows, tokens, heads, size) in its type, None."""
    causal = attention_mask is None and query.shape[2] > 1
    output = scaled_dot_product_attention(
        query.float(), key.float(), value.float(), attn_mask=attention_mask, is_causal=causal, scale=scaling,
        enable_gqa=query.shape[1] != key.shape[1],
    )  # fmt: skip
    return output.transpose(1, 2).to(query.dtype), None


AttentionInterface.register(WIDE, _attend_wide)
AttentionMaskInterface.register(WIDE, sdpa_mask)


class _RoomyLayer(DynamicLayer):
    """A cache layer that writes each token into room set aside, where the plain one copies all it holds."""

    def __init__(self, keys: torch.Tensor, values: torch.Tensor, room: int):
        super().__init__()
        self.dtype, self.device, self.is_initialized = keys.dtype, keys.device, True
        self._hold(keys, values, room)

    def update(self, key_states: torch.Tensor, value_states: torch.Tensor, *args, **kwargs):
        start, end = self.keys.shape[-2], self.keys.shape[-2] + key_states.shape[-2]
        self._all_keys[..., start:end, :] = key_states
        self._all_values[..., start:end, :] = value_states
        self.keys, self.values = self._all_keys[..., :end, :], self._all_values[..., :end, :]
        return self.keys, self.values

    def batch_select_indices(self, indices: torch.Tensor) -> None:
        room = self._all_keys.shape[-2] - self.keys.shape[-2]
        self._hold(self.keys[indices], self.values[indices], room)

    def _hold(self, keys: torch.Tensor, values: torch.Tensor, room: int) -> None:
        self._all_keys = torch.nn.functional.pad(keys, (0, 0, 0, room))
        self._all_values = torch.nn.functional.pad(values, (0, 0, 0, room))
        self.keys = self._all_keys[..., : keys.shape[-2], :]
        self.values = self._all_values[..., : values.shape[-2], :]


def _draw(logits: torch.Tensor, draws: torch.Tensor, temperature: float) -> tuple[torch.Tensor, torch.Tensor]:
    """Next tokens (rows,) and their log-probabilities, from logits (rows, vocabulary) and uniform draws (rows,).

    One pass of exponentials serves the draw and the log-probability. The cumulative distribution is inverted in two
    steps, first over blocks of the vocabulary and then within the one drawn, so that little is summed up in double,
    without which a large vocabulary's small probabilities would vanish beside a sum near one.
    """
    logits = logits.float()
    if temperature not in (0, 1):
        logits = logits / temperature
    largest = logits.amax(-1, keepdim=True)
    weights = (logits - largest).exp_()
    padding = -weights.shape[-1] % _BLOCK
    blocks = (torch.nn.functional.pad(weights, (0, padding)) if padding else weights).unflatten(-1, (-1, _BLOCK))
    cumulative = blocks.sum(-1).double().cumsum(-1)
    total = cumulative[:, -1:]
    if temperature == 0:
        token = logits.argmax(-1)
    else:
        threshold = draws.unsqueeze(-1) * total
        block = torch.searchsorted(cumulative, threshold, right=True).clamp(max=blocks.shape[1] - 1)
        upto = cumulative.gather(-1, block)
        before = torch.where(block > 0, cumulative.gather(-1, (block - 1).clamp(min=0)), 0.0)
        within = blocks.take_along_dim(block.unsqueeze(-1), 1).squeeze(1).double().cumsum(-1)
        # The place within the block as a share of it: its sum above was rounded, and this one is not.
        share = (threshold - before) / (upto - before)
        place = torch.searchsorted(within, share * within[:, -1:], right=True).clamp(max=_BLOCK - 1)
        token = (block * _BLOCK + place).squeeze(-1).clamp(max=logits.shape[-1] - 1)
    logprob = logits.gather(-1, token.unsqueeze(-1)) - largest - total.log()
    return token, logprob.squeeze(-1).float()


def _cut(ids: list[list[int]], logprobs: list[list[float]], eos_id: int) -> list[Completion]:
    completions = []
    for row, row_logprobs in zip(ids, logprobs, strict=True):
        truncated = eos_id not in row
        length = len(row) if truncated else row.index(eos_id) + 1
        completions.append(Completion(tuple(row[:length]), tuple(row_logprobs[:length]), truncated))
    return completions
