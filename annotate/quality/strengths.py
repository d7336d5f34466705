"""How strong each contestant is: Bradley–Terry on pairwise votes, each voter counting as much as they are worth."""

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from django.utils.translation import gettext_noop

from annotate.quality.votes import NotDefined, numbered, pairs_within

MOST_STEPS = 100
# A smaller gain of the log-posterior than this is none: a likelihood ratio of one in a hundred.
TOLERANCE = 1e-2
MOST_HALVINGS = 20
# Precision of the normal prior on strengths: it keeps the strength of one who won every time finite.
RIDGE = 0.1
# Pseudo-counts (read, guessed) of a person. Few, for smaller strengths and larger θ look nearly alike: what is weakly
# known would be read off the prior, and intervals would miss the truth (tests/quality/test_strengths.py).
PRIOR = (2.0, 0.2)
# 95 % of a normal distribution lie within this many standard errors.
WIDTH = 1.959964


@dataclass(frozen=True)
class Duels:
    """Votes between two contestants: `one`, `other`, `annotator` and `comparison`, whole numbers from 0, all (votes,).

    `wins` is 1 where `one` won, 0 where `other` won, one half for a tie. Votes of one `comparison` are about the same
    texts (two, or those of a ranking), so they tell less than as many votes of different comparisons.
    """

    one: np.ndarray
    other: np.ndarray
    annotator: np.ndarray
    comparison: np.ndarray
    wins: np.ndarray

    def between(self, one: np.ndarray, other: np.ndarray) -> "Duels":
        """The same votes with the contestants numbered anew."""
        return replace(self, one=one, other=other)

    @property
    def contestants(self) -> int:
        return int(max(self.one.max(), self.other.max())) + 1


@dataclass(frozen=True)
class Strengths:
    """`strength`, (contestants,), in log-odds with mean 0, and its standard `error`; `reading`, (annotators,).

    Two contestants meet with log-odds `strength[a] − strength[b]`.
    """

    strength: np.ndarray
    error: np.ndarray
    reading: np.ndarray

    def chances(self, contestant: int) -> tuple[float, float, float]:
        """The mean chance of `contestant` against each of the others, and the bounds of its 95 % interval."""
        ahead = self.strength[contestant] - np.delete(self.strength, contestant)
        # The error of how far it is ahead of the mean of the others, who have a part in the mean of all.
        wide = WIDTH * self.error[contestant] * len(self.strength) / (len(self.strength) - 1)
        return tuple(float(_sigmoid(ahead + shift).mean()) for shift in (0.0, -wide, wide))


def bradley_terry(duels: Duels, *, prior: tuple[float, float] | None = PRIOR) -> Strengths:
    """Bradley–Terry where a vote of annotator j is read with probability θ_j and a coin flip otherwise.

    P(one beats other | j) = θ_j σ(s_one − s_other) + (1 − θ_j) / 2: Crowd-BT (Chen et al. 2013) with guessing in place
    of its inverted votes. Strengths and log-odds of θ are fitted together by Fisher scoring: EM crawls along the ridge
    where smaller strengths make up for larger θ. `prior`: pseudo-counts (read, guessed) for θ; None takes every vote at
    face value, which is plain Bradley–Terry. Solves dense systems of contestants × contestants, so it is meant for up
    to a few thousand of them. Raises NotDefined without votes.
    """
    if not duels.one.size:
        raise NotDefined(gettext_noop("No two of them have met yet."))
    people = int(duels.annotator.max()) + 1
    trust = np.full(people, 1.0 if prior is None else prior[0] / sum(prior))
    here = _Place(duels, np.zeros(duels.contestants), trust, prior)
    for _ in range(MOST_STEPS):
        before, here = here, here.uphill()
        if here.height - before.height <= TOLERANCE:
            break
    return Strengths(here.strength - here.strength.mean(), here.errors(), here.trust)


@dataclass
class _Place:
    """A point of the fit: `strength` (contestants,) and `trust`, θ of shape (annotators,), with the slopes there."""

    duels: Duels
    strength: np.ndarray
    trust: np.ndarray
    prior: tuple[float, float] | None

    def __post_init__(self):
        duels = self.duels
        chance, theta = _sigmoid(self.strength[duels.one] - self.strength[duels.other]), self.trust[duels.annotator]
        beats = theta * chance + (1 - theta) / 2
        # Without this floor, certain voters on a decided pair would divide nothing by nothing.
        self._spread = np.maximum(beats * (1 - beats), 1e-9)
        # What a vote's chance gains with the difference of strengths, and with the log-odds of θ.
        self._slope = theta * chance * (1 - chance)
        self._trust_slope = theta * (1 - theta) * (chance - 0.5)
        self._surprise = (duels.wins - beats) / self._spread
        self._beats = beats

    @cached_property
    def height(self) -> float:
        """The logarithm of the posterior, but for a constant."""
        beats = np.clip(self._beats, 1e-12, 1 - 1e-12)
        wins = self.duels.wins
        height = (wins * np.log(beats) + (1 - wins) * np.log(1 - beats)).sum() - RIDGE / 2 * (self.strength**2).sum()
        if self.prior is not None:
            height += (self.prior[0] * np.log(self.trust) + self.prior[1] * np.log1p(-self.trust)).sum()
        return float(height)

    @cached_property
    def _information(self) -> np.ndarray:
        """(contestants, contestants): expected information about the strengths with θ known, and the ridge."""
        size = len(self.strength)
        return self._laplacian(self._slope**2 / self._spread) + RIDGE * np.eye(size)

    @cached_property
    def _trust_information(self) -> tuple[np.ndarray, np.ndarray]:
        """That about log-odds of θ, (annotators,), for a vote has one annotator; and what both share."""
        duels, size, people = self.duels, len(self.strength), len(self.trust)
        alone = np.bincount(duels.annotator, self._trust_slope**2 / self._spread, people)
        alone += sum(self.prior) * self.trust * (1 - self.trust)
        both = self._slope * self._trust_slope / self._spread
        shared = np.bincount(duels.one * people + duels.annotator, both, size * people)
        shared -= np.bincount(duels.other * people + duels.annotator, both, size * people)
        return np.maximum(alone, 1e-12), shared.reshape(size, people)

    @cached_property
    def _joint_information(self) -> np.ndarray:
        """About the strengths with θ estimated along with them: the Schur complement of the part of θ."""
        if self.prior is None:
            return self._information
        alone, shared = self._trust_information
        return self._information - (shared / alone) @ shared.T

    def uphill(self) -> "_Place":
        """The next point by a Newton step with the expected information; this one if every step would lead down."""
        size, people, duels = len(self.strength), len(self.trust), self.duels
        pull = self._slope * self._surprise
        gradient = np.bincount(duels.one, pull, size) - np.bincount(duels.other, pull, size) - RIDGE * self.strength
        turn = np.zeros(people)
        if self.prior is None:
            step = np.linalg.solve(self._information, gradient)
        else:
            read, guessed = self.prior
            slope = np.bincount(duels.annotator, self._trust_slope * self._surprise, people)
            slope += read * (1 - self.trust) - guessed * self.trust
            alone, shared = self._trust_information
            step = np.linalg.solve(self._joint_information, gradient - shared @ (slope / alone))
            turn = (slope - shared.T @ step) / alone
        # Far from the top a full step can overshoot: nothing moves by more than 2 at once.
        step *= min(1.0, 2.0 / max(np.abs(step).max(), 1e-12))
        turn = np.clip(turn, -2.0, 2.0)
        odds = np.log(self.trust / (1 - self.trust)) if self.prior else None
        share = 1.0
        for _ in range(MOST_HALVINGS):
            trust = self.trust if odds is None else np.clip(_sigmoid(odds + share * turn), 1e-6, 1 - 1e-6)
            there = _Place(duels, self.strength + share * step, trust, self.prior)
            if there.height >= self.height:
                return there
            share /= 2
        return self

    def errors(self) -> np.ndarray:
        """(contestants,): standard errors of the centred strengths.

        Votes of one comparison are alike, so variances grow by as much as a sandwich clustered by comparison exceeds
        the variance of independent votes, where it does: a handful of comparisons can make it too small.
        """
        size = len(self.strength)
        known = np.linalg.inv(self._information)
        meat = self._meat()
        # Only differences of strengths mean anything, so the error of their common level is taken out.
        centre = np.eye(size) - 1 / size
        joint = np.linalg.inv(self._joint_information)
        alone, clustered, estimated = (np.diag(centre @ of @ centre) for of in (known, known @ meat @ known, joint))
        return np.sqrt(estimated * np.maximum(1, clustered / np.maximum(alone, 1e-12)))

    def _meat(self) -> np.ndarray:
        """(contestants, contestants): Σ over comparisons g gᵀ, where g is the gradient of the comparison's votes."""
        duels, size = self.duels, len(self.strength)
        pull = self._slope * self._surprise
        comparison = np.concatenate([duels.comparison, duels.comparison])
        contestant = np.concatenate([duels.one, duels.other])
        first, place = numbered(comparison, contestant)
        gradient = np.bincount(place, np.concatenate([pull, -pull]), len(first))
        comparison, contestant = comparison[first], contestant[first]
        earlier, later = pairs_within(comparison, contestant)
        crossed = np.bincount(
            contestant[earlier] * size + contestant[later], gradient[earlier] * gradient[later], size * size
        ).reshape(size, size)
        return np.diag(np.bincount(contestant, gradient**2, size)) + crossed + crossed.T

    def _laplacian(self, weight: np.ndarray) -> np.ndarray:
        return _laplacian(self.duels.one, self.duels.other, weight, len(self.strength))


def _laplacian(one: np.ndarray, other: np.ndarray, weight: np.ndarray, size: int) -> np.ndarray:
    """(size, size): Σ weight (e_one − e_other)(e_one − e_other)ᵀ."""
    crossed = np.bincount(one * size + other, weight, size * size).reshape(size, size)
    crossed += crossed.T
    return np.diag(crossed.sum(1)) - crossed


def _sigmoid(x):
    return 0.5 * (1 + np.tanh(0.5 * x))
