"""Hidden states and log-probabilities of completion tokens only, in chunks, with exact gradients.

The trunk of a model runs once over a batch; the vocabulary is applied where a completion token is predicted and nowhere
else, some tokens at a time, so that no tensor of (batch, tokens, vocabulary) ever exists.
"""

import inspect

import torch
from torch.utils.checkpoint import checkpoint

from training import tree_attention
from training.batching import Batch, Example, collate

CHUNK_ELEMENTS = {"cpu": 1 << 23, "cuda": 1 << 27}
"""Logits computed at once unless told: half a gigabyte on a GPU, 32 MiB on a CPU, which passes over the whole of the
head's float32 gradient once a chunk."""

KEPT_BYTES = {"cpu": 1 << 27, "cuda": 1 << 30}
"""Logits that are kept for the gradient, as the head gave them, up to this size; beyond it they are computed again."""


def trunk_of(model) -> torch.nn.Module:
    """The part of a transformers model (LoRA-wrapped or not) that ends in hidden states, without its head."""
    if hasattr(model, "get_base_model"):
        model = model.get_base_model()
    return getattr(model, model.base_model_prefix)


def hidden_states(trunk, batch: Batch) -> torch.Tensor:
    """(rows × width, hidden): the trunk's output after its last norm at every position, flat."""
    inputs = {"input_ids": batch.input_ids, "use_cache": False}
    if batch.tree is None:
        inputs["attention_mask"] = batch.attention_mask
        # A few architectures count positions from the mask and take no ids; right padding leaves those right too.
        if "position_ids" in inspect.signature(trunk.forward).parameters:
            inputs["position_ids"] = batch.position_ids
    else:
        if trunk.config._attn_implementation != tree_attention.NAME:
            trunk.set_attn_implementation(tree_attention.NAME)
        inputs["position_ids"] = batch.position_ids
        inputs["tree"] = batch.tree
        # A ready four-dimensional mask is passed through as it is. An empty one fits no attention, so a model that
        # lost the layout on the way fails instead of letting every token see every other.
        inputs["attention_mask"] = batch.input_ids.new_empty((1, 1, 0, 0), dtype=torch.bool)
    return trunk(**inputs).last_hidden_state.flatten(0, 1)


def completion_hidden(trunk, batch: Batch, *, at: str = "predicting") -> torch.Tensor:
    """(completion tokens, hidden): the state that predicts each completion token ("predicting") or at it ("token")."""
    index = {"predicting": batch.predicting, "token": batch.positions}[at]
    return hidden_states(trunk, batch).index_select(0, index)


def last_hidden(trunk, batch: Batch) -> torch.Tensor:
    """(completions, hidden): the state at each completion's last real token, where a reward head reads it."""
    return hidden_states(trunk, batch).index_select(0, batch.last)


def completion_logprobs(
    model, batch: Batch, *, temperature: float = 1.0, chunk_tokens: int | None = None, with_entropy: bool = False
) -> torch.Tensor | tuple[torch.Tensor, torch.Tensor]:
    """log π(token | everything before it) for each completion token: (completion tokens,) float32.

    With `with_entropy` also the entropy of each of those distributions, in nats. Both are differentiable, exactly.
    `temperature` divides the logits, as in sampling.
    """
    hidden = completion_hidden(trunk_of(model), batch)
    return logprobs_of_hidden(
        model, hidden, batch.targets, temperature=temperature, chunk_tokens=chunk_tokens, with_entropy=with_entropy
    )


def logprobs_of_hidden(
    model,
    hidden: torch.Tensor,
    targets: torch.Tensor,
    *,
    temperature: float = 1.0,
    chunk_tokens: int | None = None,
    with_entropy: bool = False,
):
    """As `completion_logprobs`, from hidden states (tokens, hidden) that predict `targets` (tokens,)."""
    head = model.get_output_embeddings()
    temperature = temperature / _logit_scale(model.config)
    chunk_tokens = chunk_tokens or max(32, CHUNK_ELEMENTS[hidden.device.type] // head.out_features)
    if type(head) is torch.nn.Linear:
        weight, bias = _as_computed(hidden, head.weight, head.bias)
        logprobs, entropy = _ChunkedLogprobs.apply(
            hidden.to(weight.dtype), weight, bias, targets, temperature, chunk_tokens, with_entropy
        )
    else:  # a head with an adapter on it: let it compute its logits, and compute them again for the gradient
        logprobs, entropy = _checkpointed_logprobs(head, hidden, targets, temperature, chunk_tokens)
    return (logprobs, entropy) if with_entropy else logprobs


def supports_shared_prefix(model) -> bool:
    """Whether this model gives the same hidden states in packed rows as in plain ones, tried on a few tokens.

    Its attention must go through transformers' attention interface, be full (no sliding window, no recurrence) and take
    positions from ids. The model's attention implementation is left set for packed rows where it does.
    """
    trunk = trunk_of(model)
    config = trunk.config
    kinds = set(getattr(config, "layer_types", None) or ["full_attention"])
    accepts = inspect.signature(trunk.forward).parameters
    if (
        not getattr(trunk, "_supports_attention_backend", False)
        or kinds != {"full_attention"}
        or getattr(config, "attn_logit_softcapping", None)
        or "position_ids" not in accepts
        or not any(parameter.kind is parameter.VAR_KEYWORD for parameter in accepts.values())
    ):
        return False
    previous = config._attn_implementation
    was_training = trunk.training
    trunk.eval()
    try:
        agrees = _packed_rows_agree(trunk)
    except (RuntimeError, TypeError, ValueError):  # the layout never reached the attention
        agrees = False
    finally:
        trunk.train(was_training)
    if not agrees:
        trunk.set_attn_implementation(previous)
    return agrees


@torch.no_grad()
def _packed_rows_agree(trunk) -> bool:
    example = Example((1, 2, 3), ((2, 1), (3, 1, 2), (0,)))
    device = next(trunk.parameters()).device
    batches = [collate([example, example], 0, shared=shared, device=device) for shared in (False, True)]
    for half in (False, True) if device.type == "cuda" else (False,):  # a GPU has another kernel for half precision
        with torch.autocast(device.type, torch.bfloat16, enabled=half):
            plain, packed = (completion_hidden(trunk, batch).float() for batch in batches)
        tolerance = 5e-2 if half or trunk.dtype != torch.float32 else 1e-4
        if (plain - packed).abs().max() > tolerance * plain.abs().max():
            return False
    return True


def to_padded(flat: torch.Tensor, batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
    """(completion tokens,) → (completions, longest) with zeros behind, and the mask of tokens in it."""
    mask = torch.arange(batch.longest, device=flat.device) < batch.lengths[:, None]
    padded = flat.new_zeros(batch.n_completions, batch.longest)
    return padded.index_put((batch.completion_of_token, batch.offsets), flat), mask


def from_padded(padded: torch.Tensor, batch: Batch) -> torch.Tensor:
    """(completions, longest) → (completion tokens,): the inverse of `to_padded`."""
    return padded[batch.completion_of_token, batch.offsets]


def sum_per_completion(flat: torch.Tensor, batch: Batch) -> torch.Tensor:
    """(completion tokens,) → (completions,)"""
    return to_padded(flat, batch)[0].sum(1)


def mean_per_completion(flat: torch.Tensor, batch: Batch) -> torch.Tensor:
    """(completion tokens,) → (completions,), over each one's own tokens."""
    return sum_per_completion(flat, batch) / batch.lengths


def _logit_scale(config) -> float:
    """What the architecture multiplies its logits by after the head. Refuses one that bends them."""
    if getattr(config, "final_logit_softcapping", None):
        raise ValueError(f"{config.model_type} caps its logits, which log-probabilities in chunks do not do")
    return float(getattr(config, "logit_scale", None) or 1.0) / float(getattr(config, "logits_scaling", None) or 1.0)


def _as_computed(hidden, weight, bias):
    """The head's parameters in the type that a linear layer would compute in here: autocast's, or their own."""
    device = hidden.device.type
    if torch.is_autocast_enabled(device) and weight.dtype != torch.float64:
        kind = torch.get_autocast_dtype(device)
        return weight.to(kind), None if bias is None else bias.to(kind)
    return weight, bias


class _ChunkedLogprobs(torch.autograd.Function):
    """Log-probability and entropy of targets under softmax((h·Wᵀ + b) / T), a chunk of tokens at a time.

    With z the scaled logits, p = softmax(z), H the entropy: ∂ log p_y / ∂z = 1_y − p and ∂H / ∂z = −p (log p + H).
    The backward pass starts from the logits as the head gave them where they are few enough to be kept (`KEPT_BYTES`),
    and computes each chunk's again where they are not, so that only the hidden states are kept.
    """

    @staticmethod
    def forward(ctx, hidden, weight, bias, targets, temperature, chunk_tokens, with_entropy):
        logprobs, normalizers, entropies, kept = [], [], [], []
        size = len(hidden) * len(weight) * hidden.element_size()
        keeps = any(ctx.needs_input_grad) and size <= KEPT_BYTES[hidden.device.type]
        for chunk, target in zip(hidden.split(chunk_tokens), targets.split(chunk_tokens), strict=True):
            as_given = torch.nn.functional.linear(chunk, weight, bias)
            if keeps:
                kept.append(as_given)
            logits = _scaled(as_given, temperature, copy=keeps)
            of_target = logits.gather(-1, target[:, None]).squeeze(-1)
            largest = logits.amax(-1)
            powers = logits.sub_(largest[:, None]).exp() if with_entropy else logits.sub_(largest[:, None]).exp_()
            total = powers.sum(-1)
            normalizer = largest + total.log()
            logprobs.append(of_target - normalizer)
            normalizers.append(normalizer)
            if with_entropy:  # with u = z − max: H = log Σ eᵘ − Σ u eᵘ / Σ eᵘ
                entropies.append(total.log() - powers.mul_(logits).sum(-1) / total)
        logprobs, normalizers = torch.cat(logprobs), torch.cat(normalizers)
        entropies = torch.cat(entropies) if with_entropy else logprobs.new_zeros(0)
        ctx.save_for_backward(hidden, weight, bias, targets, normalizers, entropies, *kept)
        ctx.temperature, ctx.chunk_tokens, ctx.with_entropy = temperature, chunk_tokens, with_entropy
        ctx.set_materialize_grads(False)
        if not with_entropy:
            ctx.mark_non_differentiable(entropies)
        return logprobs, entropies

    @staticmethod
    def backward(ctx, grad_logprobs, grad_entropies):
        hidden, weight, bias, targets, normalizers, entropies, *kept = ctx.saved_tensors
        needs_hidden, needs_weight, needs_bias = ctx.needs_input_grad[:3]
        if grad_logprobs is None:
            grad_logprobs = torch.zeros_like(normalizers)
        accumulate = torch.float64 if weight.dtype == torch.float64 else torch.float32
        grad_hidden = torch.empty_like(hidden) if needs_hidden else None
        grad_weight = torch.zeros_like(weight, dtype=accumulate) if needs_weight else None
        grad_bias = torch.zeros_like(bias, dtype=accumulate) if needs_bias else None
        for number, start in enumerate(range(0, len(hidden), ctx.chunk_tokens)):
            span = slice(start, start + ctx.chunk_tokens)
            as_given = kept[number] if kept else torch.nn.functional.linear(hidden[span], weight, bias)
            # From here on `grad` turns in place from logits into the gradient of the unscaled logits.
            grad = _scaled(as_given, ctx.temperature, copy=bool(kept)).sub_(normalizers[span, None])
            outer = grad_logprobs[span, None]
            if grad_entropies is not None:  # an entropy that is only looked at costs nothing here
                factor = (grad + entropies[span, None]).mul_(grad_entropies[span, None]).add_(outer)
                grad.exp_().mul_(factor.neg_())
            else:
                grad.exp_().mul_(-outer)
            grad.scatter_add_(-1, targets[span, None], outer)
            grad.div_(ctx.temperature)
            if needs_bias:
                grad_bias += grad.sum(0)
            grad = grad.to(weight.dtype)
            if needs_hidden:
                torch.mm(grad, weight, out=grad_hidden[span])
            if needs_weight:
                if grad_weight.dtype == weight.dtype:
                    grad_weight.addmm_(grad.T, hidden[span])
                else:
                    grad_weight += grad.T @ hidden[span]
        return (
            grad_hidden,
            None if grad_weight is None else grad_weight.to(weight.dtype),
            None if grad_bias is None else grad_bias.to(bias.dtype),
            *[None] * 4,
        )


def _scaled(logits, temperature, *, copy: bool):
    """(tokens, vocabulary) logits by the temperature, float32 or finer; as a `copy`, or in their own memory."""
    logits = logits.to(logits.dtype if logits.dtype == torch.float64 else torch.float32, copy=copy)
    return logits if temperature == 1.0 else logits.div_(temperature)


def _checkpointed_logprobs(head, hidden, targets, temperature, chunk_tokens):
    def of_chunk(chunk, target):
        logits = head(chunk)
        logits = (logits if logits.dtype == torch.float64 else logits.float()) / temperature
        all_logprobs = logits.log_softmax(-1)
        return all_logprobs.gather(-1, target[:, None]).squeeze(-1), -(all_logprobs.exp() * all_logprobs).sum(-1)

    chunks = [
        checkpoint(of_chunk, chunk, target, use_reentrant=False)
        for chunk, target in zip(hidden.split(chunk_tokens), targets.split(chunk_tokens), strict=True)
    ]
    return torch.cat([logprobs for logprobs, _ in chunks]), torch.cat([entropy for _, entropy in chunks])
