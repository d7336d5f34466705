"""A round's completions with everything that the update needs of them, as (completions, tokens) tensors."""

import dataclasses
import random
from collections.abc import Callable
from dataclasses import dataclass
from itertools import accumulate, pairwise

import torch

from training.batching import Batch, Example, collate, token_cost
from training.loop import split
from training.rewards.combine import Scores
from training.runtime import Runtime
from training.sampling import Completion


class Batches:
    """Batches of a round's prompts with their completions, each collated once however often it is computed."""

    def __init__(self, examples: tuple[Example, ...], *, pad_id: int, shared: bool, device):
        self.examples, self.pad_id, self.shared, self.device = examples, pad_id, shared, device
        self.costs = [token_cost(example, shared) for example in examples]
        self._made: dict[tuple[int, ...], Batch] = {}

    def of(self, part: list[int]) -> Batch:
        """The batch of these examples, in the order of their places."""
        key = tuple(sorted(part))
        if key not in self._made:
            examples = [self.examples[i] for i in key]
            self._made[key] = collate(examples, self.pad_id, shared=self.shared, device=self.device)
        return self._made[key]


@dataclass(frozen=True, eq=False)
class Rollout:
    """Completion k of prompt i is row i·K + k. Tokens lie at the left of a row; `mask` is true at them."""

    batches: Batches
    """of examples, a prompt with its K completions each, whose `index` is the place here"""
    mask: torch.Tensor
    """(completions, tokens) bool"""
    truncated: torch.Tensor
    """(completions,) bool: cut off before an end-of-sequence token"""
    scored: Scores
    """(completions,) each: what the reward sources gave"""
    counted: torch.Tensor
    """(completions,) bool: no source failed, so baselines and the update know it"""
    rewards: torch.Tensor
    """(completions,) scores scaled, clipped and with penalties: what the policy is to maximise; 0 where not counted"""
    sampled_logprobs: torch.Tensor
    """(completions, tokens) under the policy, as the sampler computed them"""
    logprobs: torch.Tensor
    """(completions, tokens) under the policy that sampled, as the trainer computes them: log π_old"""
    reference_logprobs: torch.Tensor | None
    """(completions, tokens) log π_ref, where something looks at it"""
    values: torch.Tensor | None
    """(completions, tokens) V(s_t) before the token, of the value model as it was"""
    discarded: torch.Tensor | None
    """() the share of the groups drawn that taught nothing and gave way to others, with dynamic sampling"""

    @property
    def group(self) -> int:
        return len(self.batches.examples[0].completions)

    @property
    def lengths(self) -> torch.Tensor:
        """(completions,)"""
        return self.mask.sum(1)

    def rows(self, indices) -> torch.Tensor:
        """Row numbers of the completions of these prompts, in order."""
        first = torch.tensor(list(indices), device=self.mask.device) * self.group
        return (first[:, None] + torch.arange(self.group, device=self.mask.device)).flatten()

    def pick(self, tensor: torch.Tensor, batch: Batch) -> torch.Tensor:
        """The batch's completion tokens of a (completions, tokens) tensor, flat: (completion tokens,)."""
        return tensor[self.rows(batch.indices)[batch.completion_of_token], batch.offsets]

    def counted_tokens(self, batch: Batch) -> torch.Tensor:
        """(completion tokens,) bool: those of the batch's completions that count."""
        return self.counted[self.rows(batch.indices)][batch.completion_of_token]

    def state(self) -> dict[str, torch.Tensor]:
        """All of it as tensors on the CPU, for a checkpoint; `restored` is the inverse."""
        sequences = [ids for example in self.batches.examples for ids in (example.prompt_ids, *example.completions)]
        tensors = {"ids": torch.tensor([id for ids in sequences for id in ids])}
        tensors["lengths"] = torch.tensor([len(ids) for ids in sequences]).view(-1, 1 + self.group)
        for name in self._tables():
            tensors[name] = getattr(self, name)
        for name in ("parts", "verdicts"):
            tensors |= {f"{name}/{source}": scores for source, scores in getattr(self.scored, name).items()}
        tensors["total"] = self.scored.total
        return {name: tensor.detach().to("cpu", copy=True) for name, tensor in tensors.items() if tensor is not None}

    @classmethod
    def restored(cls, tensors: dict[str, torch.Tensor], *, pad_id: int, shared: bool, device) -> "Rollout":
        ids, lengths = tensors["ids"].tolist(), tensors["lengths"]
        bounds = pairwise([0, *accumulate(lengths.flatten().tolist())])
        sequences = iter([tuple(ids[start:stop]) for start, stop in bounds])
        examples = tuple(
            Example(next(sequences), tuple(next(sequences) for _ in row[1:]), index)
            for index, row in enumerate(lengths)
        )
        tensors = {name: tensor.to(device) for name, tensor in tensors.items()}
        parts, verdicts = (
            {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
            for prefix in ("parts/", "verdicts/")
        )
        return cls(
            batches=Batches(examples, pad_id=pad_id, shared=shared, device=device),
            scored=Scores(tensors["total"], parts, verdicts),
            # What the algorithm has no use for, such as values without a value model, was not there to be saved.
            **{name: tensors.get(name) for name in cls._tables()},
        )

    @classmethod
    def _tables(cls) -> list[str]:
        """The fields that are a tensor."""
        return [field.name for field in dataclasses.fields(cls) if field.name not in ("batches", "scored")]


def make_examples(prompts: list[list[int]], groups: list[list[Completion]]) -> tuple[Example, ...]:
    return tuple(
        Example(tuple(prompt), tuple(completion.ids for completion in group), index)
        for index, (prompt, group) in enumerate(zip(prompts, groups, strict=True))
    )


def token_mask(examples: tuple[Example, ...], device) -> torch.Tensor:
    """(completions, tokens) true at real tokens."""
    lengths = torch.tensor([len(ids) for example in examples for ids in example.completions], device=device)
    return torch.arange(int(lengths.max()), device=device) < lengths[:, None]


def sampled_table(completions: list[Completion], mask: torch.Tensor) -> torch.Tensor:
    """The sampler's log-probabilities: (completions, tokens)."""
    table = torch.zeros(mask.shape)
    table[mask.cpu()] = torch.tensor([logprob for completion in completions for logprob in completion.logprobs])
    return table.to(mask.device)


@torch.no_grad()
def per_token(
    compute: Callable[[Batch], torch.Tensor],
    batches: Batches,
    mask: torch.Tensor,
    machine: Runtime,
    *,
    tokens_per_batch: int,
) -> torch.Tensor:
    """What `compute` gives for the completion tokens of a batch, for all of them: (completions, tokens) float32.

    Each process computes its share of the batches, and all get the whole table.
    """
    table = torch.zeros(mask.shape, device=mask.device)
    group = len(batches.examples[0].completions)
    parts = split(range(len(batches.examples)), batches.costs, tokens_per_batch, machine.processes, batches.shared)
    for part in parts[machine.rank :: machine.processes]:
        batch = batches.of(part)
        rows = torch.tensor([i * group + k for i in batch.indices for k in range(group)], device=mask.device)
        table[rows[batch.completion_of_token], batch.offsets] = compute(batch).float()
    return machine.summed(table)


class PromptStream:
    """Prompts in an order that the seed decides, each once a pass, pass after pass; `position` is all its state."""

    def __init__(self, count: int, seed: int, position: int = 0):
        self.count, self.seed, self.position = count, seed, position

    def take(self, number: int) -> list[int]:
        """Indices of the next prompts."""
        taken: list[int] = []
        while len(taken) < number:
            number_of_pass, offset = divmod(self.position, self.count)
            order = list(range(self.count))
            random.Random(f"{self.seed}/{number_of_pass}").shuffle(order)
            new = order[offset : offset + number - len(taken)]
            taken += new
            self.position += len(new)
        return taken


class RunningDeviation:
    """Standard deviation of all scores so far, by Welford's sums; `state` is (count, mean, sum of squares)."""

    def __init__(self, state: list[float] | None = None):
        self.state = state or [0.0, 0.0, 0.0]

    def add(self, values: torch.Tensor) -> None:
        count, mean, squares = self.state
        for value in values.double().tolist():
            count += 1
            delta = value - mean
            mean += delta / count
            squares += delta * (value - mean)
        self.state = [count, mean, squares]

    def value(self) -> float:
        count, _, squares = self.state
        return (squares / (count - 1)) ** 0.5 if count > 1 and squares > 0 else 1.0
