"""A comparison is what is independent: the pairs that a ranking implies make no interval narrower than they are worth.

benchmarks/coverage.py counts how often the intervals hold the truth.
"""

import itertools

import numpy as np
import pytest

from annotate.quality.agreement import (
    agreement_with_others,
    cohen_kappa,
    fleiss_kappa,
    krippendorff_alpha,
    most_shared,
    percent_agreement,
)
from annotate.quality.bias import FEWEST_JUDGMENTS, POSITION, Choices, fit
from annotate.quality.reliability import mace
from annotate.quality.strengths import RIDGE, Duels, bradley_terry
from annotate.quality.votes import NotDefined, Votes
from benchmarks.coverage import ranked


def two_people(comparisons: int = 40) -> Votes:
    """Label 0 or 1 in turns, the second person differs on every fifth."""
    item = np.repeat(np.arange(comparisons), 2)
    person = np.tile([0, 1], comparisons)
    label = item % 2
    return Votes(item, person, np.where((person == 1) & (item % 5 == 0), 1 - label, label), 2)


def copied(votes: Votes, times: int) -> Votes:
    """Every item `times` over, within its comparison: nothing is known that was not known before."""
    item = np.concatenate([votes.item + number * votes.items for number in range(times)])
    person, label, comparison = (np.tile(of, times) for of in (votes.annotator, votes.label, votes.item))
    return Votes(item, person, label, votes.labels, comparison=comparison)


@pytest.mark.parametrize(
    "figure",
    [percent_agreement, fleiss_kappa, lambda votes: cohen_kappa(votes, 0, 1),
     lambda votes: agreement_with_others(votes, 1)],
)  # fmt: skip
def test_copies_within_a_comparison_change_no_interval(figure):
    once, often = figure(two_people()), figure(copied(two_people(), 3))
    assert once.items == often.items == 40
    assert once.low < once.value < once.high
    assert (often.value, often.low, often.high) == pytest.approx((once.value, once.low, once.high))


def test_alpha_of_copies_differs_by_its_own_small_sample_correction_alone():
    # D_e divides by n − 1 of n votes: 80 votes or 240 differ by less than a hundredth.
    once, often = krippendorff_alpha(two_people()), krippendorff_alpha(copied(two_people(), 3))
    assert often.value == pytest.approx(once.value, abs=0.01)
    assert often.high - often.low == pytest.approx(once.high - once.low, rel=0.02)


def test_two_rankings_of_nine_are_two_comparisons_and_too_few():
    votes = ranked(rankings=2, length=9, people=3, noise=(1.0,), rng=np.random.default_rng(0))
    found = percent_agreement(votes)
    assert len(votes.item) == 2 * 36 * 3 and len(votes.judgments) == 6
    assert (found.items, found.interval) == (2, None)


def test_people_meet_in_comparisons_not_in_their_pairs():
    """0 and 1 share one ranking of three, 1 and 2 two pairs: two comparisons are more than one."""
    item = np.array([0, 1, 2, 0, 1, 2, 3, 3, 4, 4])
    person = np.array([0, 0, 0, 1, 1, 1, 1, 2, 1, 2])
    comparison = np.array([0, 0, 0, 0, 0, 0, 1, 1, 2, 2])
    votes = Votes(item, person, np.zeros(10, int), 3, comparison=comparison)
    assert most_shared(votes, 2) == [(1, 2), (0, 1)]
    assert np.bincount(person[votes.judgments]).tolist() == [1, 3, 2]


def sides(judgments: int, times: int) -> Choices:
    """Of so many judgments three in four go left, each of `times` pairs alike."""
    n = judgments * times
    comparison = np.repeat(np.arange(judgments), times)
    return Choices(
        chose_left=comparison % 4 > 0, order_known=np.ones(n, bool), length=np.full((n, 2), 9),
        markdown=np.zeros((n, 2), int), seconds=np.full(n, np.nan), annotator=np.zeros(n, int), comparison=comparison,
    )  # fmt: skip


def test_a_pull_counts_judgments():
    with pytest.raises(NotDefined, match="Too few"):
        fit(sides(FEWEST_JUDGMENTS - 1, 3))
    found = fit(sides(80, 3))
    assert found.judgments == 80
    # 80 observations of p = 3/4: 1/√(80 · 3/16), and n / (n − 1) of the sandwich.
    assert found.pulls[POSITION].log_odds == pytest.approx(np.log(3))
    assert found.pulls[POSITION].error == pytest.approx(np.sqrt(1 / (80 * 3 / 16) * 80 / 79))


def test_strengths_have_the_sandwich_of_whole_rankings():
    """Against the matrices written out ranking by ranking."""
    rng = np.random.default_rng(3)
    pairs = np.array(list(itertools.combinations(range(4), 2)))
    scores = rng.normal([0.6, 0.2, -0.2, -0.6], 1, (60, 4))
    won = (scores[:, pairs[:, 0]] > scores[:, pairs[:, 1]]).astype(float)
    one, other = (np.tile(pairs[:, side], 60) for side in (0, 1))
    comparison = np.repeat(np.arange(60), len(pairs))
    found = bradley_terry(Duels(one, other, np.zeros(360, int), comparison, won.ravel()), prior=None)

    chance = 1 / (1 + np.exp(found.strength[other] - found.strength[one]))
    towards = np.eye(4)[one] - np.eye(4)[other]
    bread = np.linalg.inv((towards * (chance * (1 - chance))[:, None]).T @ towards + RIDGE * np.eye(4))
    gradients = np.array([((won.ravel() - chance)[comparison == n]) @ towards[comparison == n] for n in range(60)])
    centre = np.eye(4) - 1 / 4
    alone, clustered = (np.diag(centre @ of @ centre) for of in (bread, bread @ gradients.T @ gradients @ bread))
    # Which end of a ranking errs, errs in three pairs at once.
    assert (clustered > 1.2 * alone)[[0, 3]].all()
    assert found.error == pytest.approx(np.sqrt(np.maximum(alone, clustered)), rel=1e-3)


def test_competence_from_copies_is_less_certain_than_from_as_many_comparisons():
    rng = np.random.default_rng(1)
    item = np.repeat(np.arange(150), 4)
    person = np.tile(np.arange(4), 150)
    truth = rng.integers(0, 2, 150)[item]
    votes = Votes(item, person, np.where(rng.random(600) < 0.8, truth, rng.integers(0, 2, 600)), 2)
    together = copied(votes, 4)
    apart = Votes(together.item, together.annotator, together.label, 2)
    widths = [np.diff(mace(of).competence_interval(np.arange(4)), axis=1) for of in (votes, together, apart)]
    # Four copies of a vote taken as four votes would halve the intervals.
    assert widths[2] / widths[0] == pytest.approx(0.5, abs=0.1)
    assert widths[1] / widths[2] == pytest.approx(2, abs=0.15)
