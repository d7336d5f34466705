"""Who is right and who is reliable, on votes whose truth is known and on the real crowd's."""

from pathlib import Path

import numpy as np
import pytest

from annotate.quality.reliability import dawid_skene, mace, majority, one_coin
from annotate.quality.votes import NotDefined, Votes
from benchmarks.aggregation import DATA, FIRST, correlations, gold_agreement, put_one_aside, read_corpus

LEFT, EQUAL, RIGHT = range(3)


def simulated(reads: list[float], items: int = 300, labels: int = 3, seed: int = 0) -> tuple[Votes, np.ndarray]:
    """Everybody votes on everything: right with the chance in `reads`, else any label alike. And the right labels."""
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, labels, items)
    item, annotator = (index.ravel() for index in np.indices((items, len(reads))))
    knows = rng.random(item.size) < np.array(reads)[annotator]
    label = np.where(knows, truth[item], rng.integers(0, labels, item.size))
    return Votes(item, annotator, label, labels), truth


def test_majority_leaves_ties_undecided():
    # 2:1, 1:1, and 1:0.
    votes = Votes(np.array([0, 0, 0, 1, 1, 2]), np.array([0, 1, 2, 0, 1, 0]), np.array([1, 1, 0, 0, 1, 1]), 2)
    assert majority(votes).tolist() == [1, -1, 1]


def test_mace_recovers_how_often_people_read():
    reads = [0.9, 0.75, 0.5, 0.1, 0.8]
    votes, truth = simulated(reads)
    found = mace(votes)
    assert found.converged
    assert found.competence == pytest.approx(reads, abs=0.1)
    assert (found.label == truth).mean() > (majority(votes) == truth).mean()
    bounds = found.competence_interval(np.arange(5))
    assert ((bounds[:, 0] < found.competence) & (found.competence < bounds[:, 1])).all()


def test_competence_intervals_hold_the_truth_as_often_as_they_say():
    """Of 240 intervals 95 % are 228, σ = 3.4. Taking the right labels as known, they would hold it in about 140."""
    held = 0
    for seed in range(40):
        reads = np.random.default_rng(seed).uniform(0.1, 0.95, 6)
        votes, _truth = simulated(reads.tolist(), items=200, labels=2, seed=seed)
        some = votes.where(np.random.default_rng(seed).random(votes.item.size) < 0.6)
        bounds = mace(some).competence_interval(np.arange(6))
        held += int(((bounds[:, 0] <= reads) & (reads <= bounds[:, 1])).sum())
    assert 217 <= held <= 239


def test_who_always_clicks_left_is_known_by_the_side():
    """Sides are exchanged at random, so the same clicks are a coin between the responses."""
    votes, truth = simulated([0.85, 0.85, 0.85, 0.0], labels=2)
    label = np.where(votes.label == 1, RIGHT, LEFT)
    swapped = np.random.default_rng(1).random(label.size) < 0.5
    clicker = votes.annotator == 3
    label[clicker] = np.where(swapped[clicker], RIGHT, LEFT)
    shown = np.where(swapped, RIGHT - label, label)
    assert (shown[clicker] == LEFT).all()
    found = mace(Votes(votes.item, votes.annotator, label, 3, shown))
    assert found.competence[3] < 0.1
    assert found.competence[:3].min() > 0.75
    assert (found.label == np.where(truth == 1, RIGHT, LEFT)).mean() > 0.9


def test_a_label_that_nobody_gave_is_never_right():
    votes = Votes(np.array([0, 0]), np.array([0, 1]), np.array([LEFT, RIGHT]), 3)
    for found in (mace(votes), dawid_skene(votes), one_coin(votes)):
        assert found.probabilities[0, EQUAL] == 0
        assert found.probabilities[0, [LEFT, RIGHT]] == pytest.approx([0.5, 0.5])


def test_nobody_can_be_called_reliable_alone():
    # Annotator 2 judged only what nobody else judged.
    votes = Votes(np.array([0, 0, 1, 1, 2]), np.array([0, 1, 0, 1, 2]), np.array([0, 0, 1, 1, 0]), 2)
    found = mace(votes)
    assert np.isnan(found.competence).tolist() == [False, False, True]
    assert found.label.tolist() == [0, 1, 0]


@pytest.mark.parametrize("model", [mace, dawid_skene, one_coin])
def test_no_votes(model):
    empty = np.empty(0, dtype=int)
    with pytest.raises(NotDefined, match="no judgments yet"):
        model(Votes(empty, empty, empty, 3))


@pytest.mark.parametrize("model", [mace, dawid_skene, one_coin])
def test_many_unanimous_votes_stay_finite(model):
    with np.errstate(divide="raise", over="raise", invalid="raise"):
        item, annotator = (index.ravel() for index in np.indices((2, 3000)))
        found = model(Votes(item, annotator, item, 3))
    assert found.probabilities[[0, 1], [0, 1]] == pytest.approx([1, 1])
    assert np.isfinite(found.competence).all()


def test_one_coin_by_hand():
    # Three people agree on ten items. With probabilities 1: accuracy (10 + 2)/(10 + 3); a vote then counts
    # log(12/13 · 1/(1/13)) = log 12, three of them 12³ : 1.
    item, annotator = (index.ravel() for index in np.indices((10, 3)))
    found = one_coin(Votes(item, annotator, item % 2, 2))
    assert found.competence == pytest.approx([12 / 13] * 3, abs=1e-3)
    assert found.probabilities[0] == pytest.approx([1728 / 1729, 1 / 1729], abs=2e-5)


def test_dawid_and_skene_learn_a_habit_that_one_number_cannot_say():
    """A person who calls everything of kind 2 kind 1 is still right about the others."""
    votes, truth = simulated([0.9, 0.9, 0.9, 1.0])
    confused = (votes.annotator == 3) & (truth[votes.item] == 2)
    label = np.where(confused, 1, votes.label)
    found = dawid_skene(Votes(votes.item, votes.annotator, label, 3))
    assert (found.label == truth).mean() > 0.97
    assert found.competence[3] == pytest.approx(2 / 3, abs=0.06)


@pytest.fixture(scope="module")
def corpus():
    if not Path(DATA).exists():
        pytest.skip("the folder of real data, ../shared/data, is not here")
    return read_corpus(DATA)


def test_the_crowds_votes_make_better_verdicts_than_their_majority(corpus):
    """Over all 11,305 pairs with a gold label; a tie of the majority counts as wrong."""
    plain, ours = majority(corpus.votes), mace(corpus.votes)
    assert gold_agreement(plain, corpus.gold) == pytest.approx(0.8278, abs=5e-5)
    assert gold_agreement(ours.label, corpus.gold) > 0.95
    # Where the majority does decide, and the gold is one of the two sides, MACE is no worse either.
    decided = np.where((plain >= 0) & (corpus.gold != 1), corpus.gold, -1)
    assert gold_agreement(ours.label, decided) > gold_agreement(plain, decided)


def test_competence_goes_with_the_published_one(corpus):
    found = mace(corpus.votes).competence
    pearson, spearman = correlations(found, corpus.published)
    assert pearson > 0.65
    assert spearman > 0.68
    busy = np.bincount(corpus.votes.annotator) >= 10
    assert min(correlations(found[busy], corpus.published[busy])) > 0.77


def test_one_vote_of_each_pair_is_put_aside(corpus):
    kept, aside = put_one_aside(corpus.votes)
    assert aside.item.tolist() == list(range(corpus.gold.size))
    assert kept.item.size + aside.item.size == corpus.votes.item.size
    assert np.array_equal(kept.counts + aside.counts, corpus.votes.counts)


def test_sides_of_the_corpus(corpus):
    """The gold label and the votes speak of the same side."""
    unanimous = corpus.votes.counts[:, FIRST] == corpus.votes.counts.sum(1)
    assert (corpus.gold[unanimous & (corpus.gold >= 0)] == FIRST).mean() > 0.98
