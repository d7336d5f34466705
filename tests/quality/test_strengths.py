"""Bradley–Terry against its closed form, and what weights of annotators add."""

import numpy as np
import pytest

from annotate.quality.strengths import RIDGE, WIDTH, Duels, bradley_terry
from annotate.quality.votes import NotDefined


def duels(won: int, lost: int, *, votes_per_item: int = 1) -> Duels:
    """Contestant 0 against 1."""
    n = won + lost
    zeros = np.zeros(n, dtype=int)
    return Duels(zeros, zeros + 1, zeros, np.arange(n) // votes_per_item, np.r_[np.ones(won), np.zeros(lost)])


def test_two_contestants_by_hand():
    found = bradley_terry(duels(300, 100), prior=None)
    ahead = found.strength[0] - found.strength[1]
    # At the top of the posterior Σ wins − n σ(d) = RIDGE · s with s = d/2.
    assert 300 - 400 / (1 + np.exp(-ahead)) == pytest.approx(RIDGE * ahead / 2, abs=0.1)
    assert ahead == pytest.approx(np.log(3), abs=0.01)
    # Var d = 1/(400 · 0.75 · 0.25), and each strength is half of d from the mean.
    assert found.error == pytest.approx([np.sqrt(1 / 75) / 2] * 2, rel=0.02)
    chance, low, high = found.chances(0)
    assert chance == pytest.approx(0.75, abs=0.002)
    assert (low, high) == pytest.approx((0.705, 0.790), abs=0.003)


def test_four_votes_on_one_pair_of_texts_tell_less_than_votes_on_four():
    alone, together = bradley_terry(duels(300, 100)), bradley_terry(duels(300, 100, votes_per_item=4))
    assert together.strength == pytest.approx(alone.strength)
    # All four votes on an item agree, so there are a quarter as many observations: twice the error.
    assert together.error == pytest.approx(2 * alone.error, rel=0.05)


def test_who_wins_every_time_stays_finite():
    found = bradley_terry(duels(50, 0))
    assert 2 < found.strength[0] < 10
    assert np.isfinite(found.error).all()


def test_a_tie_is_half_a_win():
    tied = duels(10, 0)
    tied.wins[:] = 0.5
    assert bradley_terry(tied).strength == pytest.approx([0, 0])


def test_nobody_met():
    empty = np.empty(0, dtype=int)
    with pytest.raises(NotDefined):
        bradley_terry(Duels(empty, empty, empty, empty, empty))


def test_guessers_are_found_out_and_count_less():
    """Three readers and three who toss a coin, over eight contestants of known strength."""
    rng = np.random.default_rng(0)
    truth = np.linspace(-2, 2, 8)
    n = 4000
    one, other = rng.integers(0, 8, n), rng.integers(0, 7, n)
    other += other >= one
    annotator = rng.integers(0, 6, n)
    chance = np.where(annotator < 3, 1 / (1 + np.exp(truth[other] - truth[one])), 0.5)
    votes = Duels(one, other, annotator, np.arange(n), (rng.random(n) < chance).astype(float))
    weighted, plain = bradley_terry(votes), bradley_terry(votes, prior=None)
    assert weighted.reading[:3].min() > weighted.reading[3:].max() + 0.3
    miss = [np.abs(found.strength - truth).max() for found in (weighted, plain)]
    assert miss[0] < 0.5 < 0.9 < miss[1]
    # The truth lies within three standard errors, which are not needlessly wide.
    assert (np.abs(weighted.strength - truth) < 3 * weighted.error).all()
    assert weighted.error.max() < 0.25


@pytest.mark.parametrize("reads", [[1.0] * 5, [1.0, 0.9, 0.8, 0.5, 0.1]])
def test_intervals_hold_the_truth_about_as_often_as_they_say(reads):
    """Five contestants, 2000 votes, 60 times: 95 % of 300 are 285, σ = 3.8 if they were independent.

    Taking the shares of reading as known they would hold 205 of them, for those and the strengths are told apart badly.
    """
    held = 0
    for seed in range(60):
        rng = np.random.default_rng(seed)
        truth = rng.normal(0, 1, 5)
        one, other = rng.integers(0, 5, 2000), rng.integers(0, 4, 2000)
        other += other >= one
        annotator = rng.integers(0, 5, 2000)
        read = np.array(reads)[annotator]
        chance = read / (1 + np.exp(truth[other] - truth[one])) + (1 - read) / 2
        found = bradley_terry(Duels(one, other, annotator, np.arange(2000), (rng.random(2000) < chance).astype(float)))
        held += int((np.abs(found.strength - truth + truth.mean()) <= WIDTH * found.error).sum())
    assert 270 <= held <= 300
