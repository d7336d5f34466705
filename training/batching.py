"""Examples into batches: which examples go together, and the tensors that a model and a loss need of them.

Two layouts, one interface. Packed (`shared=True`): one row for the whole batch, a prompt followed by all of its
completions, nothing padded, nothing computed twice (`training.tree_attention`). Plain: one padded row per prompt with
one completion, for architectures that cannot run packed rows. Losses never see the difference: a batch names its
completion tokens by flat indices into (rows × width).
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

import torch

from training.tree_attention import Segment, TreeLayout


@dataclass(frozen=True)
class Example:
    """A prompt and its completions as token ids: 1 for a demonstration, 2 for a pair (chosen first), K for a group."""

    prompt_ids: tuple[int, ...]
    completions: tuple[tuple[int, ...], ...]
    index: int = 0

    def __post_init__(self):
        if not self.prompt_ids:
            raise ValueError(f"example {self.index} has an empty prompt: nothing would predict its first token")
        if not self.completions or not all(self.completions):
            raise ValueError(f"example {self.index} has an empty completion")


@dataclass(frozen=True, eq=False)
class Batch:
    """Tensors of some examples. A flat index i stands for row i // width and position i % width.

    Completions are numbered 0 … n-1, example by example; their tokens lie one after the other in that order.
    """

    input_ids: torch.Tensor
    """(rows, width)"""
    position_ids: torch.Tensor
    """(rows, width) positions as the model would count them in a row of the prompt and one completion only"""
    attention_mask: torch.Tensor | None
    """(rows, width) 1 at real tokens; None for a packed row"""
    tree: TreeLayout | None
    """who sees whom in a packed row; None for plain rows"""
    predicting: torch.Tensor
    """(completion tokens,) flat index of the position that predicts each completion token"""
    positions: torch.Tensor
    """(completion tokens,) flat index of the completion token itself"""
    targets: torch.Tensor
    """(completion tokens,) its id"""
    completion_of_token: torch.Tensor
    """(completion tokens,) which completion it belongs to"""
    offsets: torch.Tensor
    """(completion tokens,) its place in that completion, from 0"""
    lengths: torch.Tensor
    """(completions,) tokens of each"""
    last: torch.Tensor
    """(completions,) flat index of each one's last token"""
    example_of_completion: torch.Tensor
    """(completions,) which example of this batch it belongs to, 0 …"""
    indices: tuple[int, ...]
    """each example's own `index`, in the batch's order"""
    longest: int
    """tokens of the longest completion"""
    tokens: int
    """real tokens that the model computes: prompts, counted as often as they are computed, and completions"""

    @property
    def n_completions(self) -> int:
        return self.lengths.numel()

    @property
    def n_completion_tokens(self) -> int:
        return self.targets.numel()


def token_cost(example: Example, shared: bool) -> int:
    """Tokens that a model computes for this example, in a packed row or in padded rows of its own."""
    lengths = [len(completion) for completion in example.completions]
    if shared:
        return len(example.prompt_ids) + sum(lengths)
    return len(lengths) * (len(example.prompt_ids) + max(lengths))


def plan_batches(
    costs: Sequence[int], token_budget: int, *, seed: int = 0, epoch: int = 0, longest_first: bool = True
) -> list[list[int]]:
    """Every index into `costs` once, in batches of like costs, batches in an order that seed and epoch decide.

    A batch's largest cost times its size stays within `token_budget`, so that it holds however it is padded; an example
    dearer than the budget comes alone. `longest_first` puts the dearest batch at the front, where running out of memory
    shows at once.
    """
    shuffle = random.Random(f"{seed}/{epoch}")
    order = list(range(len(costs)))
    shuffle.shuffle(order)  # examples of the same cost meet different neighbours every epoch
    order.sort(key=lambda index: -costs[index])
    batches: list[list[int]] = []
    for index in order:
        if batches and costs[batches[-1][0]] * (len(batches[-1]) + 1) <= token_budget:
            batches[-1].append(index)
        else:
            batches.append([index])
    head = batches[:1] if longest_first else []
    rest = batches[len(head) :]
    shuffle.shuffle(rest)
    return head + rest


def minibatches(count: int, number: int, *, epochs: int, seed: str) -> list[list[int]]:
    """0 … count − 1 in `number` even parts an epoch, shuffled anew every epoch: what each optimizer step takes."""
    parts = []
    for epoch in range(epochs):
        order = list(range(count))
        random.Random(f"{seed}/{epoch}").shuffle(order)
        parts += [order[first::number] for first in range(number)]
    return parts


def collate(examples: Sequence[Example], pad_id: int, *, shared: bool, device="cpu") -> Batch:
    """The batch of these examples: one packed row (`shared`), or a right-padded row per prompt and completion."""
    if not examples:
        raise ValueError("a batch needs at least one example")
    return (_packed if shared else _plain)(examples, pad_id, torch.device(device))


def _packed(examples: Sequence[Example], pad_id: int, device: torch.device) -> Batch:
    ids: list[int] = []
    places: list[int] = []
    segments: list[Segment] = []
    starts: list[int] = []
    prompt_ends: list[int] = []
    for example in examples:
        prompt_start, prompt_length = len(ids), len(example.prompt_ids)
        prompt_end = prompt_start + prompt_length
        ids += example.prompt_ids
        places += range(prompt_length)
        for number, completion in enumerate(example.completions):
            starts.append(len(ids))
            prompt_ends.append(prompt_end)
            ids += completion
            places += range(prompt_length, prompt_length + len(completion))
            if number == 0:  # the prompt and its first completion are one plainly causal segment
                segments.append(Segment(prompt_start, len(ids), prompt_start, prompt_start))
            else:
                segments.append(Segment(starts[-1], len(ids), prompt_start, prompt_end))
    return _batch(
        examples,
        device,
        input_ids=torch.tensor([ids]),
        position_ids=torch.tensor([places]),
        attention_mask=None,
        tree=TreeLayout(tuple(segments), device),
        starts=starts,
        prompt_ends=prompt_ends,
        tokens=len(ids),
    )


def _plain(examples: Sequence[Example], pad_id: int, device: torch.device) -> Batch:
    rows = [(*example.prompt_ids, *completion) for example in examples for completion in example.completions]
    prompt_lengths = [len(example.prompt_ids) for example in examples for _ in example.completions]
    lengths = [len(row) for row in rows]
    width = max(lengths)
    real = torch.arange(width) < torch.tensor(lengths)[:, None]
    prompt_ends = [row * width + length for row, length in enumerate(prompt_lengths)]
    return _batch(
        examples,
        device,
        input_ids=torch.tensor([[*row, *[pad_id] * (width - len(row))] for row in rows]),
        position_ids=torch.arange(width) * real,
        attention_mask=real.long(),
        tree=None,
        starts=prompt_ends,
        prompt_ends=prompt_ends,
        tokens=sum(lengths),
    )


def _batch(examples, device, *, input_ids, position_ids, attention_mask, tree, starts, prompt_ends, tokens) -> Batch:
    """`starts`, `prompt_ends`: per completion the flat index of its first token, and of the place after its prompt."""
    completions = [completion for example in examples for completion in example.completions]
    lengths = torch.tensor([len(completion) for completion in completions])
    completion_of_token = torch.repeat_interleave(torch.arange(len(completions)), lengths)
    first_tokens = torch.tensor([0, *accumulate(lengths.tolist())][:-1])
    offsets = torch.arange(len(completion_of_token)) - first_tokens[completion_of_token]
    positions = torch.tensor(starts)[completion_of_token] + offsets
    predicting = torch.where(offsets == 0, torch.tensor(prompt_ends)[completion_of_token] - 1, positions - 1)
    counts = torch.tensor([len(example.completions) for example in examples])
    on_device = {
        "input_ids": input_ids,
        "position_ids": position_ids,
        "predicting": predicting,
        "positions": positions,
        "targets": torch.tensor([token for completion in completions for token in completion]),
        "completion_of_token": completion_of_token,
        "offsets": offsets,
        "lengths": lengths,
        "last": torch.tensor(starts) + lengths - 1,
        "example_of_completion": torch.repeat_interleave(torch.arange(len(examples)), counts),
    }
    return Batch(
        **{name: tensor.to(device) for name, tensor in on_device.items()},
        attention_mask=None if attention_mask is None else attention_mask.to(device),
        tree=tree,
        indices=tuple(example.index for example in examples),
        longest=int(lengths.max()),
        tokens=tokens,
    )
