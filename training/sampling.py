"""Sampling completions: prompts prefilled once, their cache expanded to the group, finished rows leave the batch.

`generate()` of transformers spends most of a small model's time around the model; this is the bare decode loop.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch

from training.decoder import FusedDecoder, ModelDecoder

TOKENS_AT_ONCE = 65_536

# A row's end is looked for every so many tokens: looking makes the host wait for the device, which costs a GPU more
# than decoding a few tokens for nothing.
_LOOK_EVERY = {"cpu": 1, "cuda": 8}

# Rows that have ended leave so many together. Every number of rows is a shape of its own, for which oneDNN makes and
# keeps kernels, and a product of few rows waits for the weights anyway.
_ROWS = 8

# Tokens of the vocabulary whose probabilities are summed up together before one of them is drawn.
_BLOCK = 128


@dataclass(frozen=True)
class Completion:
    """One sampled completion. `ids` end in an end-of-sequence id unless `truncated`, when the limit came first.

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
    eos_id: int | Sequence[int],
    pad_id: int,
    temperature: float = 1.0,
    seed: int = 0,
    tokens_at_once: int = TOKENS_AT_ONCE,
    decoder: FusedDecoder | None = None,
    places: Sequence[int] | None = None,
) -> list[list[Completion]]:
    """`n` completions of each prompt (token ids), in the order of the prompts; temperature 0 is greedy.

    Sample k of prompt i draws its tokens from random numbers of its own, fixed by `seed`, i and k, so neither
    `tokens_at_once` (prompt and completion tokens held in the cache together) nor the other prompts' lengths change
    what is drawn. No top-k or top-p: what is sampled from is exactly what is trained. A `decoder` computes in place of
    the model's own forward. Each of several `eos_id` ends a completion. Where these prompts are some
    of a longer list, `places` tells which, so that they draw what they would in the whole of it.
    """
    if not all(prompts):
        raise ValueError("every prompt needs at least one token, since the first new token is predicted from it")
    generator = torch.Generator().manual_seed(seed)
    places = list(range(len(prompts)) if places is None else places)
    whole_list = max(places, default=-1) + 1
    draws = torch.rand((whole_list, n, max_new_tokens), generator=generator, dtype=torch.float64)[places]
    decoder = decoder or ModelDecoder(model)
    ends = {eos_id} if isinstance(eos_id, int) else set(eos_id)
    completions: list[list[Completion]] = [[] for _ in prompts]
    was_training = model.training
    model.eval()
    try:
        for chosen in _batches([len(prompt) for prompt in prompts], n, max_new_tokens, tokens_at_once):
            batch = [prompts[i] for i in chosen]
            longest = max(map(len, batch)) + max_new_tokens
            # The completions of one prompt may be too many for the cache by themselves.
            for some in draws[chosen].split(max(1, tokens_at_once // (longest * len(batch))), 1):
                rows = _sample_batch(decoder, batch, some, ends=ends, pad_id=pad_id, temperature=temperature)
                each = some.shape[1]
                for position, i in enumerate(chosen):
                    completions[i] += rows[position * each : (position + 1) * each]
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


def _sample_batch(decoder, prompts, draws, *, ends: set[int], pad_id: int, temperature: float) -> list[Completion]:
    """The completions of a batch, prompt by prompt. `draws` (prompts, n, new tokens) are uniform in [0, 1)."""
    device = decoder.device
    n, max_new_tokens = draws.shape[1:]
    draws = draws.flatten(0, 1).to(device)
    width = max(map(len, prompts))
    # Padding stands on the left, so that every row's next token goes to the same place in the cache.
    input_ids = torch.tensor([[pad_id] * (width - len(prompt)) + list(prompt) for prompt in prompts], device=device)
    mask = torch.tensor([[0] * (width - len(prompt)) + [1] * len(prompt) for prompt in prompts], device=device)
    logits = decoder.prefill(input_ids, mask, n, max_new_tokens)

    ids = torch.full((len(draws), max_new_tokens), pad_id, device=device)
    logprobs = torch.zeros((len(draws), max_new_tokens), device=device)
    rows = torch.arange(len(draws), device=device)  # which completion each row of the shrinking batch is
    running = torch.ones(len(draws), dtype=torch.bool, device=device)
    look_every = _LOOK_EVERY.get(device.type, 1)
    for t in range(max_new_tokens):
        token, logprob = draw(logits, draws[rows, t], temperature)
        # A row that has ended but not left yet writes padding, which no one reads.
        ids[rows, t] = torch.where(running, token, pad_id)
        logprobs[rows, t] = torch.where(running, logprob, 0.0)
        for end in ends:
            running &= token != end
        if t + 1 == max_new_tokens:
            break
        if (t + 1) % look_every == 0:
            left = int(running.sum())
            if left == 0:
                break
            kept = _rounded_up(left)
            if kept < len(rows) and kept <= (1 - decoder.leaving) * len(rows):
                keep = _closed_up(running, kept)
                decoder.keep(keep)
                rows, token, running = rows[keep], token[keep], running[keep]
        logits = decoder.step(token)
    decoder.release()
    return _cut(ids.tolist(), logprobs.tolist(), ends)


def draw(logits: torch.Tensor, draws: torch.Tensor, temperature: float) -> tuple[torch.Tensor, torch.Tensor]:
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


def _rounded_up(left: int) -> int:
    """How many rows to go on with: the next multiple of _ROWS, of few rows the next power of two."""
    return -(-left // _ROWS) * _ROWS if left > _ROWS else 1 << (left - 1).bit_length()


def _closed_up(running: torch.Tensor, kept: int) -> torch.Tensor:
    """(kept,) rows with all that run, in their places as far as they can be: the last fill gaps that the ended left."""
    keep = torch.arange(kept, device=running.device)
    beyond = running[kept:].nonzero().squeeze(-1) + kept
    keep[(~running[:kept]).nonzero().squeeze(-1)[: len(beyond)]] = beyond
    return keep


def _cut(ids: list[list[int]], logprobs: list[list[float]], ends: set[int]) -> list[Completion]:
    completions = []
    for row, row_logprobs in zip(ids, logprobs, strict=True):
        length = next((place for place, token in enumerate(row, 1) if token in ends), len(row))
        completions.append(Completion(tuple(row[:length]), tuple(row_logprobs[:length]), row[length - 1] not in ends))
    return completions
