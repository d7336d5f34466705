"""How strong each contestant is: Bradley–Terry on pairwise votes, each voter counting as much as they are worth."""

from dataclasses import dataclass, replace

import numpy as np
from django.utils.translation import gettext_noop

from annotate.quality.votes import NotDefined

MOST_STEPS = 100
TOLERANCE = 1e-3
# Precision of the normal prior on strengths: it keeps the strength of one who won every time finite.
RIDGE = 0.1
# 95 % of a normal distribution lie within this many standard errors.
WIDTH = 1.959964


@dataclass(frozen=True)
class Duels:
    """Votes between two contestants: `one`, `other`, `annotator` and `item` are whole numbers from 0, all (votes,).

    `wins` is 1 where `one` won, 0 where `other` won, one half for a tie. Votes on one `item` are votes about the same
    two texts, so they have the same `one` and `other` and tell less than as many votes on different items.
    """

    one: np.ndarray
    other: np.ndarray
    annotator: np.ndarray
    item: np.ndarray
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

    Two contestants meet with log-odds `strength[a] − strength[b]`. The errors take the reading shares as known.
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


def bradley_terry(duels: Duels, *, prior: tuple[float, float] | None = (9.0, 1.0)) -> Strengths:
    """Bradley–Terry where a vote of annotator j is read with probability θ_j and a coin flip otherwise.

    P(one beats other | j) = θ_j σ(s_one − s_other) + (1 − θ_j) / 2: Crowd-BT (Chen et al. 2013) with guessing in place
    of its inverted votes. Fitted by EM with a Newton step on s. `prior`: pseudo-counts (read, guessed) for θ; None
    takes every vote at face value, which is plain Bradley–Terry. Solves a dense system of contestants × contestants, so
    it is meant for up to a few thousand of them. Raises NotDefined without votes.
    """
    if not duels.one.size:
        raise NotDefined(gettext_noop("No two of them have met yet."))
    n = np.bincount(duels.annotator)
    strength = np.zeros(duels.contestants)
    theta = np.full(len(n), 1.0 if prior is None else prior[0] / sum(prior))
    for _ in range(MOST_STEPS):
        chance = _chance(duels, strength)
        won, lost = _read(duels.wins, chance, theta[duels.annotator])
        if prior is not None:
            theta = (np.bincount(duels.annotator, won + lost) + prior[0]) / (n + sum(prior))
        step = _newton_step(duels, strength, chance, won, lost)
        strength = strength + step
        if np.abs(step).max() <= TOLERANCE:
            break
    error = _errors(duels, strength, theta[duels.annotator])
    return Strengths(strength - strength.mean(), error, theta)


def _chance(duels: Duels, strength: np.ndarray) -> np.ndarray:
    return _sigmoid(strength[duels.one] - strength[duels.other])


def _read(wins: np.ndarray, chance: np.ndarray, theta: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(votes,) twice: how much of a vote for `one`, and of one for `other`, was read rather than guessed."""
    guessed = (1 - theta) / 2
    won = wins * theta * chance / (theta * chance + guessed)
    lost = (1 - wins) * theta * (1 - chance) / (theta * (1 - chance) + guessed)
    return won, lost


def _newton_step(duels: Duels, strength: np.ndarray, chance: np.ndarray, won: np.ndarray, lost: np.ndarray):
    """A Newton step on Σ won log σ(d) + lost log σ(−d) − RIDGE/2 |s|², where d = s_one − s_other."""
    pull = won * (1 - chance) - lost * chance
    gradient = np.bincount(duels.one, pull, len(strength)) - np.bincount(duels.other, pull, len(strength))
    curvature = _laplacian(duels.one, duels.other, (won + lost) * chance * (1 - chance), len(strength))
    step = np.linalg.solve(curvature + RIDGE * np.eye(len(strength)), gradient - RIDGE * strength)
    # Far from the top a full step can overshoot: no strength moves by more than 2 at once.
    return step * min(1.0, 2.0 / max(np.abs(step).max(), 1e-12))


def _errors(duels: Duels, strength: np.ndarray, theta: np.ndarray) -> np.ndarray:
    """(contestants,): standard errors of the centred strengths, clustered by item (a sandwich estimate).

    Where that comes out below the error for independent votes, which a handful of items can do, the latter stands.
    """
    size = len(strength)
    chance = _chance(duels, strength)
    slope = theta * chance * (1 - chance)
    beats = theta * chance + (1 - theta) / 2
    # Without this floor, certain voters on a decided pair would divide nothing by nothing.
    spread = np.maximum(beats * (1 - beats), 1e-9)
    information = _laplacian(duels.one, duels.other, slope**2 / spread, size) + RIDGE * np.eye(size)
    bread = np.linalg.inv(information)
    score = np.bincount(duels.item, slope * (duels.wins - beats) / spread)
    _, vote = np.unique(duels.item, return_index=True)
    meat = _laplacian(duels.one[vote], duels.other[vote], score[duels.item[vote]] ** 2, size)
    # Only differences of strengths mean anything, so the error of their common level is taken out.
    centre = np.eye(size) - 1 / size
    variances = [np.diag(centre @ covariance @ centre) for covariance in (bread, bread @ meat @ bread)]
    return np.sqrt(np.maximum(*variances))


def _laplacian(one: np.ndarray, other: np.ndarray, weight: np.ndarray, size: int) -> np.ndarray:
    """(size, size): Σ weight (e_one − e_other)(e_one − e_other)ᵀ."""
    crossed = np.bincount(one * size + other, weight, size * size).reshape(size, size)
    crossed += crossed.T
    return np.diag(crossed.sum(1)) - crossed


def _sigmoid(x):
    return 0.5 * (1 + np.tanh(0.5 * x))
