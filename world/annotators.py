"""Simulated people who compare two responses by the gold rule, each with noise and habits of their own."""

import math
import random
from dataclasses import dataclass

from .gold import aspects
from .tasks import find

A_BETTER, A_SLIGHTLY_BETTER, B_SLIGHTLY_BETTER, B_BETTER = 1, 2, 3, 4


@dataclass(frozen=True)
class Judgment:
    """A rating from 1 "A is better" to 4 "B is better"; per criterion 1 for A, 0 for equal, −1 for B."""

    annotator: str
    rating: int
    helpful: int
    truthful: int
    harmless: int
    seconds: float


@dataclass(frozen=True)
class Annotator:
    """`noise` is the scale of their logistic error on the gold score's difference; `pace` in seconds a word."""

    name: str
    noise: float
    pace: float

    def judge(self, messages: list[dict[str, str]], a: str, b: str, rng: random.Random) -> Judgment:
        """Draws a judgment. P(A preferred) = σ((gold(A) − gold(B)) / noise): Bradley–Terry (Biometrika 1952).

        "Slightly" is said where the difference as this person felt it, error included, is below one gold point.
        """
        task = find(messages)
        of_a, of_b = aspects(task, a), aspects(task, b)
        felt = of_a.score - of_b.score + self.noise * _logistic(rng)
        if felt > 0:
            rating = A_BETTER if felt >= 1 else A_SLIGHTLY_BETTER
        else:
            rating = B_BETTER if felt <= -1 else B_SLIGHTLY_BETTER
        words = len(f"{task.question} {a} {b}".split())
        return Judgment(
            annotator=self.name,
            rating=rating,
            helpful=_sign(of_a.helpful - of_b.helpful),
            truthful=_sign(of_a.truthful - of_b.truthful),
            harmless=_sign(of_a.harmless - of_b.harmless),
            seconds=round(2 + self.pace * words * rng.lognormvariate(0, 0.4), 1),
        )


TEAM = (
    Annotator("ada", noise=0.3, pace=0.30),
    Annotator("bilal", noise=0.4, pace=0.22),
    Annotator("chiara", noise=0.5, pace=0.35),
    Annotator("dmitri", noise=0.7, pace=0.18),
    Annotator("emeka", noise=1.0, pace=0.15),
)


def _logistic(rng: random.Random) -> float:
    """A draw from the standard logistic distribution: the difference of two Gumbel errors."""
    share = rng.random() or 0.5
    return math.log(share / (1 - share))


def _sign(difference: float) -> int:
    return (difference > 0.05) - (difference < -0.05)
