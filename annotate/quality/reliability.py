"""Which verdict is right and who can be relied on, estimated together from the votes alone.

No answer key is needed: whoever agrees with the others where the others agree is believed more, and so on until nothing
changes (expectation–maximization). `mace` is what the site shows; benchmarks/aggregation.py compares it with the rest.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from django.utils.translation import gettext_noop

from annotate.quality.votes import NotDefined, Votes, numbered, pairs_within

MOST_STEPS = 200
# The largest change of any probability that still counts as a change.
TOLERANCE = 1e-3
CONFIDENCE = 0.95
DRAWS = 2000


@dataclass(frozen=True)
class Truth:
    """What a model of the votes concludes.

    `probabilities`: (items, labels), how likely each label is the right one. `competence`: (annotators,), 0 to 1, nan
    for people whose votes say nothing about them. `steps` EM steps were taken; `converged` if they ended by themselves.
    """

    probabilities: np.ndarray
    competence: np.ndarray
    steps: int
    converged: bool

    @property
    def label(self) -> np.ndarray:
        """(items,): the most probable label."""
        return self.probabilities.argmax(1)


@dataclass(frozen=True)
class Mace(Truth):
    """`votes` it was made of; `scores`, (votes, 1 + labels): what a vote says about its annotator's log-odds of θ and
    logits of ξ, the gradient of its part of the likelihood; `prior`, (annotators, 1 + labels, 1 + labels): the
    information of the pseudo-counts about them.
    """

    votes: Votes
    scores: np.ndarray
    prior: np.ndarray

    def competence_interval(self, annotators: np.ndarray, seed: int = 0) -> np.ndarray:
        """(len(annotators), 2): 95 % intervals of their competences, all of theirs estimated together.

        Of a Beta distribution (by seeded draws) whose variance comes from the outer products of the items' gradients
        (Louis 1982; Berndt et al. 1974): so it knows that which labels are right, and who guessed how, was estimated
        from the same votes. Items of one comparison are alike: where there are several, those products summed by
        comparison stand between two inverses of the information, a sandwich.
        """
        place = np.full(self.votes.annotators, -1)
        place[annotators] = np.arange(len(annotators))
        theirs = place[self.votes.annotator] >= 0
        votes, scores = self.votes.where(theirs), self.scores[theirs]
        person, size = place[votes.annotator], scores.shape[1]
        prior = np.zeros((len(annotators), size, len(annotators), size))
        prior[np.arange(len(annotators)), :, np.arange(len(annotators)), :] = self.prior[annotators]
        prior = prior.reshape(len(annotators) * size, -1)
        information = _outer_products(votes.item, person, scores, len(annotators)) + prior
        variance = np.linalg.inv(information + 1e-9 * np.eye(len(information)))
        if votes.comparison is not None:
            meat = _outer_products(votes.comparison, person, scores, len(annotators)) + prior
            variance = variance @ meat @ variance
        error = np.sqrt(np.diag(variance)[::size])
        mean = self.competence[annotators]
        # The error of θ itself is that of its log-odds times θ(1 − θ); a Beta of that variance has so many votes.
        count = 1 / np.maximum(mean * (1 - mean) * error**2, 1e-12)
        draws = np.random.default_rng(seed).beta(
            np.nan_to_num(mean, nan=0.5) * count, np.nan_to_num(1 - mean, nan=0.5) * count,
            size=(DRAWS, len(annotators)),
        )  # fmt: skip
        tail = (1 - CONFIDENCE) / 2
        return np.quantile(draws, [tail, 1 - tail], axis=0).T


def majority(votes: Votes) -> np.ndarray:
    """(items,): the label with the most votes, −1 where two share the first place or nobody voted."""
    counts = votes.counts
    most = counts.max(1)
    alone = (counts == most[:, None]).sum(1) == 1
    return np.where(alone, counts.argmax(1), -1)


def mace(votes: Votes, *, prior: tuple[float, float] = (1.0, 1.0), strategy_prior: float = 0.5) -> Mace:
    """MACE (Hovy et al. 2013, Learning Whom to Trust with MACE): a vote is read, or it is guessed.

    With probability θ_j annotator j gives the right label, else one of a personal strategy ξ_j over the labels *as
    shown*: so it recognizes a person who always takes the left response although sides are exchanged at random. Labels
    that nobody ever gave cannot be right; all others are equally likely beforehand. Pseudo-counts: `prior` (knows,
    guesses) for θ, `strategy_prior` for every entry of ξ. Only items with two votes or more tell anything about people.
    Raises NotDefined without votes.
    """
    probabilities, (theta, strategy, was_read, tells), steps, converged = _settle(
        _mace_steps(_some(votes), prior, strategy_prior)
    )
    heard = np.bincount(votes.annotator, tells, votes.annotators) > 0
    clicked = np.eye(votes.labels)[votes.clicked]
    scores = np.column_stack(
        [was_read - theta[votes.annotator], (1 - was_read)[:, None] * (clicked - strategy[votes.annotator])]
    )
    known = np.zeros((votes.annotators, 1 + votes.labels, 1 + votes.labels))
    known[:, 0, 0] = sum(prior) * theta * (1 - theta)
    spread = strategy[:, :, None] * (np.eye(votes.labels) - strategy[:, None, :])
    known[:, 1:, 1:] = strategy_prior * votes.labels * spread
    return Mace(
        probabilities, np.where(heard, theta, np.nan), steps, converged, votes, scores * tells[:, None], known
    )


def dawid_skene(votes: Votes, *, right: float = 1.0, wrong: float = 0.5) -> Truth:
    """Dawid and Skene (1979): each annotator has a confusion matrix, and each label a frequency.

    Pseudo-counts: `wrong` everywhere in a confusion matrix and `right` more on its diagonal. Competence is the chance
    of giving the right label, over the labels' frequencies. Raises NotDefined without votes.
    """
    probabilities, confusion, steps, converged = _settle(_dawid_skene_steps(_some(votes), right, wrong))
    competence = np.einsum("c,cac->a", probabilities.mean(0), confusion)
    return Truth(probabilities, _of_voters(competence, votes), steps, converged)


def one_coin(votes: Votes, *, prior: tuple[float, float] = (2.0, 1.0)) -> Truth:
    """Dawid–Skene with one number a person: right with probability p_j, else any other label alike.

    `prior`: pseudo-counts of right and wrong votes. Raises NotDefined without votes.
    """
    probabilities, accuracy, steps, converged = _settle(_one_coin_steps(_some(votes), prior))
    return Truth(probabilities, _of_voters(accuracy, votes), steps, converged)


def _mace_steps(votes: Votes, prior: tuple[float, float], strategy_prior: float) -> Iterator:
    """Yields the labels' posterior, and θ, ξ, the chance that each vote was read, and whether it tells about people."""
    given = np.unique(votes.label)
    annotator, annotators, clicked = votes.annotator, votes.annotators, votes.clicked
    per_item = np.bincount(votes.item)
    tells = (per_item[votes.item] >= 2).astype(float)
    n = np.bincount(annotator, tells, annotators)
    theta = np.full(annotators, prior[0] / sum(prior))
    strategy = np.full((annotators, votes.labels), 1 / votes.labels)
    while True:
        read, guessed = theta[annotator], (1 - theta[annotator]) * strategy[annotator, clicked]
        # A vote adds log(read + guessed) to its own label and log(guessed) to all others; what they share falls out.
        gain = np.log(read + guessed) - np.log(guessed)
        probabilities = _posterior(_sums(votes.item, votes.label, gain, votes.items, votes.labels), given)
        # A vote can only have been read if its label is the right one.
        was_read = probabilities[votes.item, votes.label] * read / (read + guessed)
        reads = np.bincount(annotator, tells * was_read, annotators)
        theta = (reads + prior[0]) / (n + sum(prior))
        strategy = _sums(annotator, clicked, tells * (1 - was_read), annotators, votes.labels) + strategy_prior
        strategy /= strategy.sum(1, keepdims=True)
        yield probabilities, (theta, strategy, was_read, tells)


def _dawid_skene_steps(votes: Votes, right: float, wrong: float) -> Iterator:
    """Yields the labels' posterior and the confusion matrices, (right label, annotators, label given)."""
    labels, annotators = votes.labels, votes.annotators
    given = np.unique(votes.label)
    cell = votes.annotator * labels + votes.label
    probabilities = _shares(votes)
    while True:
        counted = [np.bincount(cell, probabilities[votes.item, c], annotators * labels) for c in range(labels)]
        confusion = np.stack(counted).reshape(labels, annotators, labels) + wrong + right * np.eye(labels)[:, None, :]
        confusion /= confusion.sum(2, keepdims=True)
        said = np.log(confusion[:, votes.annotator, votes.label])
        scores = np.stack([np.bincount(votes.item, row, votes.items) for row in said], axis=1)
        # A label that nobody gave keeps a frequency of zero; `given` leaves it out of the posterior.
        scores += np.log(np.maximum(probabilities.mean(0), np.finfo(float).tiny))
        probabilities = _posterior(scores, given)
        yield probabilities, confusion


def _one_coin_steps(votes: Votes, prior: tuple[float, float]) -> Iterator:
    """Yields the labels' posterior and each person's chance of being right."""
    given = np.unique(votes.label)
    n = np.bincount(votes.annotator)
    others = max(1, len(given) - 1)
    probabilities = _shares(votes)
    while True:
        hits = np.bincount(votes.annotator, probabilities[votes.item, votes.label])
        accuracy = (hits + prior[0]) / (n + sum(prior))
        gain = np.log(accuracy * others / (1 - accuracy))[votes.annotator]
        probabilities = _posterior(_sums(votes.item, votes.label, gain, votes.items, votes.labels), given)
        yield probabilities, accuracy


def _settle(states: Iterator) -> tuple:
    """Runs EM until no probability changes any more: the last posterior and parameters, steps, whether it settled."""
    probabilities, parameters = next(states)
    for step in range(2, MOST_STEPS + 1):
        before = probabilities
        probabilities, parameters = next(states)
        if np.abs(probabilities - before).max() <= TOLERANCE:
            return probabilities, parameters, step, True
    return probabilities, parameters, MOST_STEPS, False


def _outer_products(group: np.ndarray, person: np.ndarray, scores: np.ndarray, people: int) -> np.ndarray:
    """(people · size, people · size): Σ over groups g gᵀ, g what the group's votes say of each person's parameters.

    `group` and `person`, (votes,); `scores`, (votes, size).
    """
    first, place = numbered(group, person)
    summed = np.stack([np.bincount(place, column, len(first)) for column in scores.T], axis=1)
    group, person, size = group[first], person[first], scores.shape[1]
    one, other = pairs_within(group, person)
    flat, own = person[one] * people + person[other], np.arange(people)
    products = np.zeros((people, size, people, size))
    for row in range(size):
        for column in range(size):
            shared = np.bincount(flat, summed[one, row] * summed[other, column], people * people)
            shared = shared.reshape(people, people)
            products[:, row, :, column] += shared
            products[:, column, :, row] += shared.T
            products[own, row, own, column] += np.bincount(person, summed[:, row] * summed[:, column], people)
    return products.reshape(people * size, -1)


def _some(votes: Votes) -> Votes:
    if not votes.item.size:
        raise NotDefined(gettext_noop("There are no judgments yet."))
    return votes


def _of_voters(competence: np.ndarray, votes: Votes) -> np.ndarray:
    return np.where(np.bincount(votes.annotator) > 0, competence, np.nan)


def _shares(votes: Votes) -> np.ndarray:
    """(items, labels): the shares of the votes, where the models of Dawid and Skene begin."""
    return votes.counts / np.maximum(votes.counts.sum(1, keepdims=True), 1)


def _sums(row: np.ndarray, column: np.ndarray, weight: np.ndarray, rows: int, columns: int) -> np.ndarray:
    """(rows, columns): the sum of `weight` per cell."""
    return np.bincount(row * columns + column, weight, rows * columns).reshape(rows, columns)


def _posterior(scores: np.ndarray, given: np.ndarray) -> np.ndarray:
    """Normalized exponentials of each row of log-scores, (items, labels), over the labels `given`; 0 elsewhere."""
    weights = np.exp(scores[:, given] - scores[:, given].max(1, keepdims=True))
    posterior = np.zeros_like(scores)
    posterior[:, given] = weights / weights.sum(1, keepdims=True)
    return posterior
