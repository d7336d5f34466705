"""Agreement coefficients against published tables and numbers worked out by hand."""

import gzip
import json
from pathlib import Path

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
from annotate.quality.votes import NotDefined, Votes

PANDALM = Path(__file__).resolve().parents[2] / "../shared/data/pandalm_three_annotators.jsonl.gz"

# Krippendorff (2011): four observers by twelve units, values 1 to 5, a dot where one is missing.
KRIPPENDORFF = [
    "1 2 3 3 2 1 4 1 2 . . .",
    "1 2 3 3 2 2 4 1 2 5 . 3",
    ". 3 3 3 2 3 4 2 2 5 1 .",
    "1 2 3 3 2 4 4 1 2 5 1 .",
]


def votes(rows: list[str], labels: int) -> Votes:
    """A row an annotator, a column an item, labels from 1, a dot for none."""
    found = [
        (item, annotator, int(label) - 1)
        for annotator, row in enumerate(rows)
        for item, label in enumerate(row.split())
        if label != "."
    ]
    item, annotator, label = np.array(found, dtype=int).reshape(-1, 3).T
    return Votes(item, annotator, label, labels)


@pytest.mark.parametrize(("level", "alpha"), [("nominal", 0.743), ("ordinal", 0.815), ("interval", 0.849)])
def test_krippendorffs_own_example(level, alpha):
    found = krippendorff_alpha(votes(KRIPPENDORFF, 5), level)
    assert found.value == pytest.approx(alpha, abs=5e-4)
    assert found.items == 11, "the unit with a single value takes no part"
    assert found.interval is None, "eleven units are too few to resample"
    # The same units twenty times over: D_e then divides by n − 1 of a larger n, so α hardly moves.
    often = krippendorff_alpha(votes([f"{row} " * 20 for row in KRIPPENDORFF], 5), level)
    assert often.value == pytest.approx(alpha, abs=0.01)
    assert often.low < often.value < often.high < 1


def test_pandalms_published_kappas():
    if not PANDALM.exists():
        pytest.skip("the folder of real data, ../shared/data, is not here")
    with gzip.open(PANDALM, "rt", encoding="utf-8") as file:
        rows = [json.loads(line) for line in file]
    table = np.array([[row[f"annotator{n}"] for n in (1, 2, 3)] for row in rows])
    item, annotator = np.indices(table.shape)
    all_votes = Votes(item.ravel(), annotator.ravel(), table.ravel(), 3)
    kappas = [cohen_kappa(all_votes, *pair) for pair in [(0, 1), (0, 2), (1, 2)]]
    assert [round(kappa.value, 2) for kappa in kappas] == [0.85, 0.88, 0.86]
    assert krippendorff_alpha(all_votes).value == pytest.approx(0.864, abs=5e-4)
    # 999 pairs put κ within a few hundredths.
    assert all(0.04 < kappa.high - kappa.low < 0.08 and kappa.items == 999 for kappa in kappas)


def test_cohens_kappa_by_hand():
    # Both 1: 20, both 2: 15, they differ 5 and 10 times. p_o = 35/50, p_e = (25·30 + 25·20)/2500 = 0.5, κ = 0.2/0.5.
    one = "1 " * 20 + "1 " * 5 + "2 " * 10 + "2 " * 15
    other = "1 " * 20 + "2 " * 5 + "1 " * 10 + "2 " * 15
    assert cohen_kappa(votes([one, other], 2), 0, 1).value == pytest.approx(0.4)


def test_cohens_kappa_looks_only_at_what_both_judged():
    # In common: 1 1, 2 2, 1 2, 2 2. p_o = 3/4, p_e = (2·1 + 2·3)/16 = 1/2, κ = 1/2.
    both = votes(["1 2 1 2 1 1 .", "1 2 2 2 . . 2"], 2)
    found = cohen_kappa(both, 0, 1)
    assert found.value == pytest.approx(0.5)
    assert found.items == 4


def test_fleiss_kappa_by_hand():
    # Votes for label 1: 3, 1, 0, 3 of 3. P̄ = (1 + 1/3 + 1 + 1)/4 = 5/6; P̄_e = (7/12)² + (5/12)² = 74/144; κ = 46/70.
    assert fleiss_kappa(votes(["1 1 2 1", "1 2 2 1", "1 2 2 1"], 2)).value == pytest.approx(46 / 70)


def test_percent_agreement_by_hand():
    # Item 1: of three pairs of votes one agrees; item 2: its only pair agrees; item 3 has one vote and counts nothing.
    found = percent_agreement(votes(["1 2 1", "1 2 .", "2 . ."], 2))
    assert found.value == pytest.approx((1 / 3 + 1) / 2)
    assert found.items == 2


def test_agreement_with_the_others_by_hand():
    # Annotator 0 meets one agreeing and one differing vote, then one agreeing; nobody else judged the third item.
    found = agreement_with_others(votes(["1 2 1", "1 2 .", "2 . ."], 2), 0)
    assert found.value == pytest.approx((1 / 2 + 1) / 2)
    assert found.items == 2


def test_people_with_most_in_common_come_first():
    assert most_shared(votes(["1 1 1 . .", ". 1 1 1 1", ". . . 1 1"], 2), 2) == [(0, 1), (1, 2)]
    assert most_shared(votes(["1 .", ". 1"], 2), 5) == []


@pytest.mark.parametrize("coefficient", [percent_agreement, fleiss_kappa, krippendorff_alpha])
@pytest.mark.parametrize("rows", [["1 2 1 2"], ["1 2 . .", ". . 1 2"], [". ."]])
def test_without_overlap_nothing_is_defined(coefficient, rows):
    with pytest.raises(NotDefined, match="No comparison was judged by two people"):
        coefficient(votes(rows, 2))


@pytest.mark.parametrize("coefficient", [fleiss_kappa, krippendorff_alpha])
def test_one_label_everywhere_is_not_agreement_beyond_chance(coefficient):
    same = votes(["1 1 1", "1 1 1"], 2)
    assert percent_agreement(same).value == 1
    with pytest.raises(NotDefined, match="same verdict everywhere"):
        coefficient(same)
    with pytest.raises(NotDefined, match="same verdict everywhere"):
        cohen_kappa(same, 0, 1)


def test_no_comparison_in_common():
    apart = votes(["1 2 . .", ". . 1 2"], 2)
    with pytest.raises(NotDefined, match="no comparison in common"):
        cohen_kappa(apart, 0, 1)
    with pytest.raises(NotDefined, match="Nobody else judged"):
        agreement_with_others(apart, 0)


def test_a_single_comparison_has_a_value_but_no_interval():
    found = percent_agreement(votes(["1", "1"], 2))
    assert (found.value, found.low, found.high, found.interval) == (1, None, None, None)


def test_interval_of_a_share_is_the_binomial_one():
    # 300 agreements of 400: 0.75 ± 1.96 √(0.75 · 0.25 / 400) = 0.75 ± 0.0424.
    found = percent_agreement(votes(["1 " * 400, "1 " * 300 + "2 " * 100], 2))
    assert found.value == 0.75
    assert found.low == pytest.approx(0.75 - 0.0424, abs=0.006)
    assert found.high == pytest.approx(0.75 + 0.0424, abs=0.006)


def test_intervals_are_the_same_every_time_and_depend_on_the_seed():
    example = votes([f"{row} " * 4 for row in KRIPPENDORFF], 5)
    assert krippendorff_alpha(example, seed=1) == krippendorff_alpha(example, seed=1)
    assert krippendorff_alpha(example, seed=1).low != krippendorff_alpha(example, seed=2).low


def test_without_disagreement_there_is_no_interval():
    """Every resample of thirty agreeing comparisons agrees as well, which says nothing about the next one."""
    found = percent_agreement(votes(["1 2 " * 15, "1 2 " * 15], 2))
    assert (found.value, found.interval) == (1, None)
    # One disagreement in thirty: the interval reaches further down than up, and below the 0.90 that a plain
    # percentile of resamples says.
    found = percent_agreement(votes(["1 2 " * 15, "1 2 " * 14 + "1 1"], 2))
    assert found.low < 0.9 < found.value < found.high <= 1


def simulated(items: int, seed: int, *, reads: float, shares: list[float], missing: float = 0.3) -> Votes:
    """Four people who give an item's own label with probability `reads`, else any by `shares`; some say nothing."""
    rng = np.random.default_rng(seed)
    own = rng.choice(len(shares), size=items, p=shares)
    given = np.where(rng.random((4, items)) < reads, own, rng.choice(len(shares), size=(4, items), p=shares))
    annotator, item = np.nonzero(rng.random((4, items)) >= missing)
    return Votes(item, annotator, given[annotator, item], len(shares))


@pytest.mark.parametrize("shares", [[0.45, 0.1, 0.45], [0.75, 0.05, 0.2]])
def test_intervals_hold_the_truth_about_as_often_as_they_say(shares):
    """α of the simulation is reads²: two people agree beyond chance where both read. 95 % of 200 is 190, σ = 3.1."""
    held = [krippendorff_alpha(simulated(80, seed, reads=0.7, shares=shares)) for seed in range(200)]
    assert 179 <= sum(found.low <= 0.49 <= found.high for found in held) <= 199


def test_where_most_resamples_are_undefined_there_is_no_interval():
    # A third of the resamples misses the only item with another label, (1 − 1/20)²⁰ ≈ 0.36.
    found = krippendorff_alpha(votes(["1 " * 19 + "2", "1 " * 19 + "2"], 2))
    assert (found.value, found.interval) == (1, None)
