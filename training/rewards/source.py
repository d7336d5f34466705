"""What a reward source is, and the check of what it gave."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch

from training.errors import is_out_of_memory
from training.records import Prompt

_SHOWN = 200


@dataclass(frozen=True)
class Failure:
    """Stands where a score should be, and says why there is none."""

    reason: str


class RewardSource(Protocol):
    name: str
    """as a person is told of it, such as "the reward model runs/7" """

    def score(self, prompts: list[Prompt], completions: list[str]) -> Sequence[float | Failure] | torch.Tensor:
        """One for each completion; prompts[i] is what completions[i] answers."""


def checked_scores(
    source: RewardSource, prompts: list[Prompt], completions: list[str]
) -> tuple[torch.Tensor, dict[int, str]]:
    """(completions,) float32 on the CPU, NaN where the source failed, and the sentence for each of those.

    A source that raises, or gives a wrong number of scores, is asked again for each completion alone, so that the one
    at fault is known. Running out of memory is nobody's fault and raises.
    """
    try:
        given = source.score(prompts, completions)
        given = given.tolist() if isinstance(given, torch.Tensor) else list(given)
        if len(given) != len(completions):
            raise ValueError(f"gave {len(given)} scores for {len(completions)} completions")
    except Exception as error:
        if is_out_of_memory(error):
            raise
        if len(completions) == 1:
            given = [Failure(_words(error))]
        else:
            alone = [
                checked_scores(source, [prompt], [text]) for prompt, text in zip(prompts, completions, strict=True)
            ]
            if not any(failed for _, failed in alone):  # then it is the whole that it cannot take
                return torch.full((len(completions),), torch.nan), {0: _sentence(source, _words(error), completions[0])}
            return torch.cat([scores for scores, _ in alone]), {i: f[0] for i, (_, f) in enumerate(alone) if f}
    scores, failed = torch.full((len(completions),), torch.nan), {}
    for i, value in enumerate(given):
        number, reason = _number(value)
        scores[i] = number
        if reason:
            failed[i] = _sentence(source, reason, completions[i])
    return scores, failed


def _number(value) -> tuple[float, str | None]:
    """(the score, or NaN with the reason why there is none)"""
    if isinstance(value, Failure):
        return torch.nan, value.reason
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        return torch.nan, f"gave {value!r}, which is no number,"
    return (number, None) if abs(number) <= torch.finfo(torch.float32).max else (torch.nan, f"gave {number}")


def _words(error: Exception) -> str:
    return f"failed with {type(error).__name__}: {error}"


def _sentence(source: RewardSource, reason: str, completion: str) -> str:
    shown = completion if len(completion) <= _SHOWN else completion[:_SHOWN] + "…"
    return f"{source.name} {reason} for the completion {shown!r}"
