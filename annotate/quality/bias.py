"""What pulls votes besides the content: a logistic fit of "left was chosen" on what the page and texts look like."""

from dataclasses import dataclass

import numpy as np
from django.utils.translation import gettext_noop

from annotate.quality.votes import NotDefined, firsts

# 95 % of a normal distribution lie within this many standard errors.
WIDTH = 1.959964
# Below this many judgments with a decided vote an interval would say nothing.
FEWEST_JUDGMENTS = 30
MOST_STEPS = 50
# In log-odds; a coefficient beyond it means that the votes are separated and the maximum lies at infinity.
SEPARATED = 8.0
# Precision of the normal prior that stands in then: a standard deviation of 2.5 (Gelman et al. 2008).
RIDGE = 1 / 2.5**2
# Doublings of the usual speed beyond which a vote is no more hurried, or no slower.
MOST_DOUBLINGS = 4.0

POSITION, LENGTH, MARKDOWN, HURRY, HURRY_LENGTH = PULLS = ("position", "length", "markdown", "hurry", "hurry_length")


@dataclass(frozen=True)
class Choices:
    """Decided votes, one a place in every array, (votes,): the left response was chosen or the right one.

    `order_known`: left and right are how they stood before the person; imported votes do not say. `length` and
    `markdown`: characters and marks of Markdown, (votes, 2) for left and right. `seconds`: nan where not known.
    `annotator` and `comparison`: whole numbers from 0. A judgment of a pair is one vote; one of a ranking is a vote on
    every two of its responses, all with the same `comparison`.
    """

    chose_left: np.ndarray
    order_known: np.ndarray
    length: np.ndarray
    markdown: np.ndarray
    seconds: np.ndarray
    annotator: np.ndarray
    comparison: np.ndarray

    @property
    def judgments(self) -> np.ndarray:
        """The places of one vote for each judgment."""
        return firsts(self.annotator, self.comparison)

    def of(self, annotator: int) -> "Choices":
        mine = self.annotator == annotator
        return Choices(*(getattr(self, name)[mine] for name in self.__dataclass_fields__))


@dataclass(frozen=True)
class Pull:
    """A coefficient in log-odds with its standard error. `chance` is how it reads: 0.5 is no pull."""

    log_odds: float
    error: float

    @property
    def chance(self) -> float:
        return _sigmoid(self.log_odds)

    @property
    def interval(self) -> tuple[float, float]:
        """The 95 % interval of `chance`."""
        return _sigmoid(self.log_odds - WIDTH * self.error), _sigmoid(self.log_odds + WIDTH * self.error)

    @property
    def is_seen(self) -> bool:
        """Whether the interval leaves out 0.5."""
        return abs(self.log_odds) > WIDTH * self.error


@dataclass(frozen=True)
class Fit:
    """The pull of each of PULLS that varies in these votes. `ridge`: a weak prior was needed for a finite answer."""

    pulls: dict[str, Pull]
    judgments: int
    ridge: bool


def fit(choices: Choices) -> Fit:
    """log-odds(left is chosen) = position·x₀ + length·x₁ + markdown·x₂ + hurry·x₃ + hurry_length·x₁x₃.

    x₀ = 1 where the order is known, else 0; x₁ = log₂ of left length over right length; x₂ the same of 1 + marks of
    Markdown; x₃ = log₂ of the annotator's median seconds over this vote's, 0 where not known. So each coefficient is
    the pull of twice as much: hurry is a pull to the left, and hurry_length what twice the speed adds to the pull of
    twice the length. Maximum likelihood by iteratively reweighted least squares, with a weak ridge only where the votes
    are separated. Errors are the larger of the model's own and those clustered by comparison (votes in one are alike
    for reasons that no covariate knows). Raises NotDefined below FEWEST_JUDGMENTS judgments.
    """
    judgments = len(choices.judgments)
    if judgments < FEWEST_JUDGMENTS:
        raise NotDefined(gettext_noop("Too few decided judgments."))
    x, names = _independent(_covariates(choices))
    if not names:
        raise NotDefined(gettext_noop("The responses look alike, and the order they were shown in is not known."))
    y = choices.chose_left.astype(float)
    ridge = 0.0
    beta = _iteratively_reweighted(x, y, ridge)
    if beta is None:
        ridge = RIDGE
        beta = _iteratively_reweighted(x, y, ridge)
    error = _errors(x, y, beta, ridge, choices.comparison)
    pulls = {name: Pull(float(b), float(e)) for name, b, e in zip(names, beta, error, strict=True)}
    return Fit(pulls, judgments, ridge > 0)


def _covariates(choices: Choices) -> dict[str, np.ndarray]:
    length = np.log2(np.maximum(choices.length, 1))
    length = length[:, 0] - length[:, 1]
    markdown = np.log2(1 + choices.markdown)
    hurry = _hurry(choices.seconds, choices.annotator)
    return {
        POSITION: choices.order_known.astype(float),
        LENGTH: length,
        MARKDOWN: markdown[:, 0] - markdown[:, 1],
        HURRY: hurry,
        HURRY_LENGTH: hurry * length,
    }


def _hurry(seconds: np.ndarray, annotator: np.ndarray) -> np.ndarray:
    """(votes,): how many doublings faster than this annotator's median a vote was made; 0 where not known."""
    hurry = np.zeros(len(seconds))
    known = np.flatnonzero(~np.isnan(seconds))
    known = known[np.lexsort((seconds[known], annotator[known]))]
    people, first, times = np.unique(annotator[known], return_index=True, return_counts=True)
    if not len(people):
        return hurry
    logs = np.log2(np.maximum(seconds[known], 0.1))
    median = (logs[first + (times - 1) // 2] + logs[first + times // 2]) / 2
    hurry[known] = np.clip(np.repeat(median, times) - logs, -MOST_DOUBLINGS, MOST_DOUBLINGS)
    return hurry


def _independent(covariates: dict[str, np.ndarray]) -> tuple[np.ndarray, list[str]]:
    """The covariates that no earlier ones make up, (votes, kept): what always goes along cannot be told apart."""
    kept = {}
    for name, column in covariates.items():
        scaled = column / max(np.linalg.norm(column), 1e-12)
        if np.linalg.matrix_rank(np.column_stack([*kept.values(), scaled]), tol=1e-6) > len(kept):
            kept[name] = scaled
    return np.column_stack([covariates[name] for name in kept] or [np.empty(0)]), list(kept)


def _iteratively_reweighted(x: np.ndarray, y: np.ndarray, ridge: float) -> np.ndarray | None:
    """The coefficients, or None where they do not settle at finite values (separated votes)."""
    beta = np.zeros(x.shape[1])
    for _ in range(MOST_STEPS):
        chance = _sigmoid(x @ beta)
        hessian = _information(x, chance, ridge)
        if np.linalg.cond(hessian) > 1e12:
            return None
        step = np.linalg.solve(hessian, x.T @ (y - chance) - ridge * beta)
        step *= min(1.0, 2.0 / max(np.abs(step).max(), 1e-12))
        beta = beta + step
        if not ridge and np.abs(beta).max() > SEPARATED:
            return None
        if np.abs(step).max() < 1e-8:
            return beta
    return beta if ridge else None


def _information(x: np.ndarray, chance: np.ndarray, ridge: float) -> np.ndarray:
    return (x * (chance * (1 - chance))[:, None]).T @ x + ridge * np.eye(x.shape[1])


def _errors(x: np.ndarray, y: np.ndarray, beta: np.ndarray, ridge: float, comparison: np.ndarray) -> np.ndarray:
    """(coefficients,): the larger of the standard errors of the model and of the sandwich clustered by comparison."""
    chance = _sigmoid(x @ beta)
    bread = np.linalg.inv(_information(x, chance, ridge))
    _, cluster = np.unique(comparison, return_inverse=True)
    scores = np.column_stack([np.bincount(cluster, column * (y - chance)) for column in x.T])
    clustered = bread @ (scores.T @ scores) @ bread * len(scores) / max(1, len(scores) - 1)
    return np.sqrt(np.maximum(np.diag(bread), np.diag(clustered)))


def _sigmoid(x):
    return 0.5 * (1 + np.tanh(0.5 * x))
