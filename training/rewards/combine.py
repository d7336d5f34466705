"""Several reward sources as one: the weighted sum, each part by its name, and what happens where a source fails."""

from collections.abc import Iterator
from dataclasses import dataclass, field

import torch

from training.errors import TrainingError
from training.events import EventLog
from training.records import Prompt
from training.rewards.source import RewardSource, checked_scores
from training.runtime import Runtime


@dataclass(frozen=True, eq=False)
class Failures:
    """Of one source: on which completions it failed, in the scores' shape, and what it said of the first of them."""

    sentence: str
    where: torch.Tensor


@dataclass(frozen=True, eq=False)
class Scores:
    """Scores of completions, in tensors of one shape: (completions,), or (prompts, samples)."""

    total: torch.Tensor
    """Σ weight·score; NaN where a source failed and the run goes on without that completion"""
    parts: dict[str, torch.Tensor] = field(default_factory=dict)
    """each source's own scores, unweighted"""
    verdicts: dict[str, torch.Tensor] = field(default_factory=dict)
    """each judge's verdict, bool: it passed"""
    failures: dict[str, Failures] = field(default_factory=dict)
    """of each source and judge that failed"""

    @property
    def passed(self) -> torch.Tensor:
        """bool: every judge passed it."""
        passed = torch.ones_like(self.total, dtype=torch.bool)
        for verdict in self.verdicts.values():
            passed &= verdict
        return passed

    def map(self, change) -> "Scores":
        """The same change of every tensor."""
        parts, verdicts = ({k: change(tensor) for k, tensor in of.items()} for of in (self.parts, self.verdicts))
        failures = {name: Failures(of.sentence, change(of.where)) for name, of in self.failures.items()}
        return Scores(change(self.total), parts, verdicts, failures)

    def some(self) -> "Scores":
        """These scores. Raises TrainingError if there is none among them."""
        if self.total.numel() and self.total.isnan().all():
            sentences = "; ".join(of.sentence for of in self.failures.values())
            raise TrainingError(f"no completion has a reward: {sentences}")
        return self

    def failures_in_words(self) -> Iterator[tuple[str, str]]:
        """(source, what a person is told of it) for each that failed."""
        for name, of in self.failures.items():
            share = f"{int(of.where.sum())} of {of.where.numel()}"
            yield name, f"{of.sentence}; {share} completions are left out, and later ones like them"

    def __getitem__(self, index) -> "Scores":
        return self.map(lambda tensor: tensor[index])

    @classmethod
    def stack(cls, scores: list["Scores"]) -> "Scores":
        """Of scores of several prompts, (samples,) each: (prompts, samples)."""
        return cls(
            torch.stack([one.total for one in scores]),
            {name: torch.stack([one.parts[name] for one in scores]) for name in scores[0].parts},
            {name: torch.stack([one.verdicts[name] for one in scores]) for name in scores[0].verdicts},
            _stacked_failures(scores),
        )

    def described(self) -> dict[str, float]:
        """The curves: `reward` and, beside several sources, each one's mean by name; shares of failures and passes."""
        values = {"reward": _mean(self.total)}
        if len(self.parts) > 1:
            values |= {f"reward_{name}": _mean(part) for name, part in self.parts.items()}
        if self.verdicts:
            shares = {"passed": self.passed} | {f"passed_{name}": verdict for name, verdict in self.verdicts.items()}
            values |= {name: float(verdict.float().mean()) for name, verdict in shares.items()}
        if masked := int(self.total.isnan().sum()):
            values["reward_failures"] = masked / self.total.numel()
        return values


@dataclass(frozen=True)
class Weighted:
    source: RewardSource
    weight: float = 1.0


@dataclass(frozen=True)
class Binary:
    """A source as a judge: it passes a completion from a score of `threshold` on."""

    source: RewardSource
    threshold: float = 0.5


class Rewards:
    """All sources of a run. Calling it gives the sum alone, `scores` everything.

    With on_error="fail" a source that fails raises TrainingError, which names it and the completion; with "mask" that
    completion's total is NaN, and `scores` warns of it once a source.
    """

    def __init__(
        self,
        sources: dict[str, Weighted],
        machine: Runtime,
        *,
        log: EventLog,
        judges: dict[str, Binary] | None = None,
        on_error: str = "fail",
    ):
        self.sources, self.judges = sources, judges or {}
        self.machine, self.on_error, self.log = machine, on_error, log
        self._said: set[str] = set()  # sources whose failure a person was told

    def __call__(self, prompts: list[Prompt], completions: list[str]) -> torch.Tensor:
        """(completions,) float32 on the CPU: Σ weight·score, for somebody to look at."""
        return self._all(prompts, completions).total

    def scores(self, prompts: list[Prompt], completions: list[str]) -> Scores:
        """(completions,) each. Raises TrainingError, also where there is a score for none of them."""
        scores = self._all(prompts, completions)
        for name, text in scores.failures_in_words():
            if name not in self._said:
                self._said.add(name)
                self.log.message(text, "warning")
        return scores.some()

    def _all(self, prompts: list[Prompt], completions: list[str]) -> Scores:
        total, parts, verdicts, failures = torch.zeros(len(completions)), {}, {}, {}
        for name, weighted in self.sources.items():
            parts[name] = self._of(name, weighted.source, prompts, completions, failures)
            total = total + weighted.weight * parts[name]
        for name, judge in self.judges.items():
            scores = self._of(name, judge.source, prompts, completions, failures)
            verdicts[name] = scores >= judge.threshold
            total = torch.where(scores.isnan(), torch.nan, total)
        return Scores(total, parts, verdicts, failures)

    def groups(self, prompts: list[Prompt], texts: list[list[str]], *, whole: bool = True) -> Scores:
        """(prompts, samples) each: scores of as many texts for every prompt.

        Raises TrainingError if there is not one score. Where these are not the `whole` of what is scored together, that
        and what failures there are is for the caller to say, who has the rest.
        """
        repeated = [prompt for prompt, group in zip(prompts, texts, strict=True) for _ in group]
        score = self.scores if whole else self._all
        flat = score(repeated, [text for group in texts for text in group])
        return flat.map(lambda tensor: tensor.view(len(prompts), -1))

    def _of(self, name: str, source: RewardSource, prompts, completions, failures: dict[str, Failures]) -> torch.Tensor:
        with self.machine.autocast():
            scores, failed = checked_scores(source, prompts, completions)
        if failed:
            sentence = next(iter(failed.values()))
            if self.on_error == "fail":
                raise TrainingError(sentence)
            failures[name] = Failures(sentence, scores.isnan())
        return scores


def _stacked_failures(scores: list[Scores]) -> dict[str, Failures]:
    """Of each source the first sentence that belongs to one of these completions: some may come from a larger share."""
    stacked: dict[str, Failures] = {}
    for name in dict.fromkeys(name for one in scores for name in one.failures):
        of_each = [one.failures.get(name) for one in scores]
        sentence = next((of.sentence for of in of_each if of is not None and of.where.any()), None)
        if sentence is not None:
            nowhere = torch.zeros_like(scores[0].total, dtype=torch.bool)
            stacked[name] = Failures(sentence, torch.stack([nowhere if of is None else of.where for of in of_each]))
    return stacked


def _mean(scores: torch.Tensor) -> float:
    return float(scores.nanmean())
