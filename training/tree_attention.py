"""Attention over packed rows: many sequences in one row without padding, completions sharing their prompt.

A packed row holds prompt, completion, completion, …, prompt, completion, … one after the other. Every matrix product
of a model then sees real tokens only, and a prompt is computed once for all of its completions. What keeps the
sequences apart is the attention: `TreeLayout` says which keys a query may see, and `attend` is registered with
transformers as an attention implementation, so that any architecture whose attention goes through that interface can
run packed rows.
"""

from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import torch
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

try:
    from torch.nn.attention.varlen import varlen_attn
except ImportError:  # torch before 2.10
    varlen_attn = None

NAME = "prefloop_tree"

MATRIX_GROUP = 1024
"""Longest group that a CPU attends to as one matrix, which takes memory with the square of its tokens."""


@dataclass(frozen=True)
class Segment:
    """Queries start … stop-1 see the keys prefix_start … prefix_stop-1, and among themselves the earlier ones."""

    start: int
    stop: int
    prefix_start: int
    prefix_stop: int

    @property
    def queries(self) -> int:
        return self.stop - self.start

    @property
    def keys(self) -> int:
        return self.queries + self.prefix_stop - self.prefix_start


@dataclass(frozen=True, eq=False)
class TreeLayout:
    """The segments of a packed row, in order and without gaps; together they cover it."""

    segments: tuple[Segment, ...]
    device: torch.device

    @cached_property
    def masks(self) -> list[torch.Tensor | None]:
        """Per segment (queries, keys), true where a query sees a key; None where that is plainly causal."""
        return [
            torch.ones(s.queries, s.keys, dtype=torch.bool, device=self.device).tril(s.keys - s.queries)
            if s.keys > s.queries
            else None
            for s in self.segments
        ]

    @cached_property
    def groups(self) -> list[tuple[slice, torch.Tensor]]:
        """Per prompt with its completions: its places in the row, and (tokens, tokens) 0 where one may see another, −∞
        where not."""
        groups: list[list[Segment]] = []
        for segment in self.segments:
            if segment.prefix_start == segment.prefix_stop:
                groups.append([])
            groups[-1].append(segment)
        return [(slice(group[0].start, group[-1].stop), self._who_sees_whom(group)) for group in groups]

    def _who_sees_whom(self, group: list[Segment]) -> torch.Tensor:
        first, size = group[0].start, group[-1].stop - group[0].start
        seen = torch.zeros(size, size, dtype=torch.bool)
        for segment in group:
            own = slice(segment.start - first, segment.stop - first)
            seen[own, segment.prefix_start - first : segment.prefix_stop - first] = True
            seen[own, own] = torch.ones(segment.queries, segment.queries, dtype=torch.bool).tril()
        return torch.zeros(size, size).masked_fill_(~seen, -torch.inf).to(self.device)

    @cached_property
    def longest_group(self) -> int:
        """Tokens of the longest prompt with all its completions."""
        starts = [s.start for s in self.segments if s.prefix_start == s.prefix_stop]
        return max(stop - start for start, stop in pairwise([*starts, self.segments[-1].stop]))

    @cached_property
    def key_index(self) -> torch.Tensor:
        """(all keys of all segments,) where in the row each key of each segment lies."""
        spans = [span for s in self.segments for span in ((s.prefix_start, s.prefix_stop), (s.start, s.stop))]
        return torch.cat([torch.arange(*span) for span in spans]).to(self.device)

    @cached_property
    def boundaries(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Cumulative numbers of queries and of keys, each (segments + 1,) int32, as kernels of variable length want."""

        def cumulative(counts):
            return torch.tensor([0, *counts], dtype=torch.int32).cumsum(0, dtype=torch.int32).to(self.device)

        return cumulative(s.queries for s in self.segments), cumulative(s.keys for s in self.segments)


def attend(module, query, key, value, attention_mask, *, dropout=0.0, scaling=None, tree=None, **rest):
    """An attention function of transformers: query (rows, heads, tokens, size) → (rows, tokens, heads, size), None.

    Without a `tree` (TreeLayout) it is scaled dot-product attention as transformers has it; with one, attention over
    one packed row.
    """
    if tree is None:
        return sdpa_attention_forward(
            module, query, key, value, attention_mask, dropout=dropout, scaling=scaling, **rest
        )
    if _has_variable_length_kernel(query) and dropout == 0.0:
        return _attend_variable_length(query, key, value, scaling, tree), None
    if _has_matrix_units(query) and dropout == 0.0 and tree.longest_group <= MATRIX_GROUP:
        return _attend_by_group(query, key, value, scaling, tree), None
    return _attend_by_segment(query, key, value, dropout, scaling, tree), None


def _attend_by_segment(query, key, value, dropout, scaling, tree):
    outputs = []
    grouped = query.shape[1] != key.shape[1]
    # Split once rather than sliced per segment: the gradient of a slice is a tensor as long as the whole row.
    pieces = zip(*(tensor.split([s.queries for s in tree.segments], 2) for tensor in (query, key, value)), strict=True)
    for segment, mask, (queries, keys, values) in zip(tree.segments, tree.masks, pieces, strict=True):
        if mask is None:
            first_keys, first_values = keys, values
        else:
            prefix = segment.prefix_stop - segment.prefix_start
            keys = torch.cat([first_keys[:, :, :prefix], keys], 2)
            values = torch.cat([first_values[:, :, :prefix], values], 2)
        outputs.append(
            scaled_dot_product_attention(
                queries,
                keys,
                values,
                attn_mask=mask,
                is_causal=mask is None,
                dropout_p=dropout,
                scale=scaling,
                enable_gqa=grouped,
            )
        )
    return torch.cat(outputs, 2).transpose(1, 2)


def _has_matrix_units(query: torch.Tensor) -> bool:
    """bfloat16 on a CPU, where plain products of matrices took half the time of torch's fused attention."""
    return query.device.type == "cpu" and torch.bfloat16 in (query.dtype, _autocast_type(query))


def _autocast_type(tensor: torch.Tensor) -> torch.dtype | None:
    kind = tensor.device.type
    return torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else None


def _attend_by_group(query, key, value, scaling, tree):
    """Every group as one masked matrix of scores: some of it is computed for nothing, all of it in large products."""
    repeats = query.shape[1] // key.shape[1]
    query, key, value = (tensor.bfloat16() for tensor in (query, key, value))
    if repeats > 1:
        key, value = (tensor.repeat_interleave(repeats, 1) for tensor in (key, value))
    scaling = query.shape[-1] ** -0.5 if scaling is None else scaling
    return _GroupAttention.apply(query[0], key[0], value[0], scaling, tree).transpose(0, 1).unsqueeze(0)


class _GroupAttention(torch.autograd.Function):
    """softmax(QKᵀ·scale + mask) V a group at a time, (heads, tokens, size) → (heads, tokens, size); softmax in float32.

    With P the probabilities and G the gradient of the output: ∂V = PᵀG, ∂S = P ∘ (GVᵀ − rowsum(P ∘ GVᵀ)).
    """

    @staticmethod
    def forward(ctx, query, key, value, scale, tree):
        output, kept = torch.empty_like(query), []
        for places, mask in tree.groups:
            scores = torch.bmm(query[:, places], key[:, places].transpose(1, 2)).float()
            probabilities = scores.mul_(scale).add_(mask).softmax(-1).to(query.dtype)
            output[:, places] = torch.bmm(probabilities, value[:, places])
            kept.append(probabilities)
        ctx.save_for_backward(query, key, value, *kept)
        ctx.scale, ctx.tree = scale, tree
        return output

    @staticmethod
    def backward(ctx, gradient):
        query, key, value, *kept = ctx.saved_tensors
        of_query, of_key, of_value = (torch.empty_like(tensor) for tensor in (query, key, value))
        for (places, _), probabilities in zip(ctx.tree.groups, kept, strict=True):
            incoming = gradient[:, places]
            of_value[:, places] = torch.bmm(probabilities.transpose(1, 2), incoming)
            of_scores = torch.bmm(incoming, value[:, places].transpose(1, 2)).float().mul_(probabilities)
            of_scores -= probabilities * of_scores.sum(-1, keepdim=True)
            of_scores = of_scores.mul_(ctx.scale).to(query.dtype)
            of_query[:, places] = torch.bmm(of_scores, key[:, places])
            of_key[:, places] = torch.bmm(of_scores.transpose(1, 2), query[:, places])
        return of_query, of_key, of_value, None, None


def _has_variable_length_kernel(query: torch.Tensor) -> bool:
    return (
        query.is_cuda
        and query.dtype in (torch.bfloat16, torch.float16)
        and query.shape[-1] <= 256
        and torch.cuda.get_device_capability(query.device) >= (8, 0)
        and varlen_attn is not None
    )


def _attend_variable_length(query, key, value, scaling, tree):
    """One FlashAttention kernel for all segments, causal from the last key backwards; prompts' keys are repeated."""
    group = query.shape[1] // key.shape[1]
    query, key, value = (tensor[0].transpose(0, 1) for tensor in (query, key, value))
    key, value = (tensor.index_select(0, tree.key_index) for tensor in (key, value))
    if group > 1:
        key, value = (tensor.repeat_interleave(group, 1) for tensor in (key, value))
    of_queries, of_keys = tree.boundaries
    longest_query = max(segment.queries for segment in tree.segments)
    longest_key = max(segment.keys for segment in tree.segments)
    output = varlen_attn(
        query, key, value, of_queries, of_keys, longest_query, longest_key, scale=scaling, window_size=(-1, 0)
    )
    return output.unsqueeze(0)


AttentionInterface.register(NAME, attend)
AttentionMaskInterface.register(NAME, sdpa_mask)
