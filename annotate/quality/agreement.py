"""Agreement between annotators beyond chance, with bootstrap intervals.

Every coefficient here is a function of sums over items. Comparisons are resampled, with all their items (the cluster
bootstrap: Field & Welsh 2007, Bootstrapping Clustered Data), so a resampled coefficient needs only the sums of each
comparison. That makes a thousand resamples of ten thousand comparisons a single small matrix product.
"""

from collections.abc import Callable
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from django.utils.translation import gettext_noop

from annotate.quality.votes import NotDefined, Votes, firsts

RESAMPLES = 1000
CONFIDENCE = 0.95
# A share of undefined resamples above this leaves too few to speak of an interval.
MOST_UNDEFINED = 0.1
# Fewer comparisons are too few to resample: what has not happened among them yet happens in no resample.
FEWEST_COMPARISONS = 20
# Cells of a block of resamples, which bounds its memory: sums of rankings are nearly all different.
MOST_CELLS = 10_000_000

_NORMAL = NormalDist()

ONE_LABEL = gettext_noop("Everybody gave the same verdict everywhere, so chance alone would agree as much.")
NO_OVERLAP = gettext_noop("No comparison was judged by two people.")


@dataclass(frozen=True)
class Estimate:
    """A coefficient with its interval over `items` independent comparisons; the bounds are None where there is none."""

    value: float
    low: float | None
    high: float | None
    items: int

    @property
    def interval(self) -> tuple[float, float] | None:
        return None if self.low is None else (self.low, self.high)


@dataclass(frozen=True)
class _Coefficient:
    """`rows`, (items, sums): what each item adds; `comparison`, (items,): the one it is in.

    `value`: sums (…, sums) to coefficients (…), nan where undefined.
    """

    rows: np.ndarray
    comparison: np.ndarray
    value: Callable[[np.ndarray], np.ndarray]
    undefined: str

    def estimate(self, seed: int) -> Estimate:
        if not len(self.rows):
            raise NotDefined(NO_OVERLAP)
        value = float(self.value(self.rows.sum(0)))
        if np.isnan(value):
            raise NotDefined(self.undefined)
        rows = self._by_comparison()
        low, high = _bootstrap(rows, self.value, seed)
        return Estimate(value, low, high, len(rows))

    def _by_comparison(self) -> np.ndarray:
        """(comparisons, sums)."""
        numbers, place = np.unique(self.comparison, return_inverse=True)
        summed = np.zeros((len(numbers), self.rows.shape[1]))
        np.add.at(summed, place, self.rows)
        return summed


def percent_agreement(votes: Votes, *, seed: int = 0) -> Estimate:
    """The share of two votes on one item that agree, averaged over items with at least two votes.

    Raises NotDefined where no item has two votes.
    """
    counts, comparison = _overlapping(votes)
    agreeing = _agreeing_share(counts)
    rows = np.stack([agreeing, np.ones_like(agreeing)], axis=1)
    return _Coefficient(rows, comparison, lambda sums: _divide(sums[..., 0], sums[..., 1]), NO_OVERLAP).estimate(seed)


def cohen_kappa(votes: Votes, one: int, other: int, *, seed: int = 0) -> Estimate:
    """κ = (p_o − p_e) / (1 − p_e) of annotators `one` and `other` on the items both judged (Cohen 1960).

    Raises NotDefined where they share no item, or where both always gave one and the same label.
    """
    labels = votes.labels
    mine, theirs = votes.where(votes.annotator == one), votes.where(votes.annotator == other)
    _, at_mine, at_theirs = np.intersect1d(mine.item, theirs.item, return_indices=True)
    if not at_mine.size:
        raise NotDefined(gettext_noop("They judged no comparison in common."))
    rows = np.eye(labels * labels)[mine.label[at_mine] * labels + theirs.label[at_theirs]]
    comparison = mine.judged_in[at_mine]
    return _Coefficient(rows, comparison, lambda sums: _kappa_of_table(sums, labels), ONE_LABEL).estimate(seed)


def fleiss_kappa(votes: Votes, *, seed: int = 0) -> Estimate:
    """κ = (P̄ − P̄_e) / (1 − P̄_e) for many annotators (Fleiss 1971), over items with at least two votes.

    Where items have unequal numbers of votes, each item counts alike in P̄ and each vote alike in P̄_e.
    Raises NotDefined where no item has two votes or only one label was ever given.
    """
    counts, comparison = _overlapping(votes)
    agreeing = _agreeing_share(counts)
    rows = np.column_stack([agreeing, np.ones_like(agreeing), counts])

    def value(sums: np.ndarray) -> np.ndarray:
        observed = _divide(sums[..., 0], sums[..., 1])
        shares = _divide(sums[..., 2:], sums[..., 2:].sum(-1, keepdims=True))
        return _beyond_chance(observed, (shares**2).sum(-1))

    return _Coefficient(rows, comparison, value, ONE_LABEL).estimate(seed)


def krippendorff_alpha(votes: Votes, level: str = "nominal", *, seed: int = 0) -> Estimate:
    """α = 1 − D_o / D_e; votes may be missing anywhere (Krippendorff 2011, Computing Krippendorff's Alpha-Reliability).

    `level` says how far labels lie apart: nominal (equal or not), ordinal (by their order) or interval (as numbers).
    Raises NotDefined where no item has two votes or only one label was ever given.
    """
    counts, comparison = _overlapping(votes)
    labels = votes.labels
    # What one item adds to the table of coincidences: n_c (n_k − [c = k]) / (m − 1).
    together = counts[:, :, None] * (counts[:, None, :] - np.eye(labels)) / (counts.sum(1) - 1)[:, None, None]
    distance = _DISTANCES[level]

    def value(sums: np.ndarray) -> np.ndarray:
        table = sums.reshape(*sums.shape[:-1], labels, labels)
        totals = table.sum(-1)
        square = distance(totals)
        n = totals.sum(-1)
        observed = (table * square).sum((-2, -1))
        expected = _divide((totals[..., :, None] * totals[..., None, :] * square).sum((-2, -1)), n - 1)
        return 1 - _divide(observed, expected)

    rows = together.reshape(len(counts), labels * labels)
    return _Coefficient(rows, comparison, value, ONE_LABEL).estimate(seed)


def agreement_with_others(votes: Votes, annotator: int, *, seed: int = 0) -> Estimate:
    """The chance that somebody else who judged the same item gave the same label, averaged over the items.

    Raises NotDefined where nobody else judged what `annotator` judged.
    """
    mine = votes.annotator == annotator
    given = votes.counts[votes.item[mine]]
    others = given.sum(1) - 1
    same = given[np.arange(len(given)), votes.label[mine]] - 1
    shares = same[others > 0] / others[others > 0]
    rows = np.column_stack([shares, np.ones_like(shares)])
    if not len(rows):
        raise NotDefined(gettext_noop("Nobody else judged the same comparisons."))
    comparison = votes.judged_in[mine][others > 0]
    return _Coefficient(
        rows, comparison, lambda sums: _divide(sums[..., 0], sums[..., 1]), NO_OVERLAP
    ).estimate(seed)  # fmt: skip


def most_shared(votes: Votes, count: int) -> list[tuple[int, int]]:
    """The `count` pairs of annotators with the most comparisons in common, the most first."""
    earlier, later = votes.pairs
    people = votes.annotators
    both = votes.annotator[earlier] * people + votes.annotator[later]
    once = firsts(both, votes.judged_in[earlier])
    codes, shared = np.unique(both[once], return_counts=True)
    return [divmod(int(code), people) for code in codes[np.argsort(-shared, kind="stable")][:count]]


def _nominal(totals: np.ndarray) -> np.ndarray:
    return 1 - np.eye(totals.shape[-1])


def _ordinal(totals: np.ndarray) -> np.ndarray:
    """(Σ of n_g from c to k − (n_c + n_k)/2)²: with middles of the cumulated totals, the difference of the middles."""
    middles = np.cumsum(totals, -1) - totals / 2
    return (middles[..., :, None] - middles[..., None, :]) ** 2


def _interval(totals: np.ndarray) -> np.ndarray:
    values = np.arange(totals.shape[-1], dtype=float)
    return (values[:, None] - values[None, :]) ** 2


_DISTANCES = {"nominal": _nominal, "ordinal": _ordinal, "interval": _interval}


def _overlapping(votes: Votes) -> tuple[np.ndarray, np.ndarray]:
    """Of items with at least two votes: how many each label got, (items, labels), and their comparisons, (items,)."""
    shared = votes.counts.sum(1) >= 2
    return votes.counts[shared], votes.comparison_of[shared]


def _agreeing_share(counts: np.ndarray) -> np.ndarray:
    """(items,): of all ordered pairs of votes on the item, the share with equal labels."""
    votes = counts.sum(1)
    return (counts * (counts - 1)).sum(1) / (votes * (votes - 1))


def _kappa_of_table(sums: np.ndarray, labels: int) -> np.ndarray:
    table = sums.reshape(*sums.shape[:-1], labels, labels)
    n = table.sum((-2, -1))
    observed = _divide(np.trace(table, axis1=-2, axis2=-1), n)
    return _beyond_chance(observed, _divide((table.sum(-1) * table.sum(-2)).sum(-1), n * n))


def _beyond_chance(observed: np.ndarray, expected: np.ndarray) -> np.ndarray:
    """(p_o − p_e) / (1 − p_e); nan where chance alone already agrees always."""
    return _divide(observed - expected, 1 - expected)


def _divide(above, below):
    """`above / below`, nan where `below` is zero but for rounding."""
    below = np.asarray(below, dtype=float)
    return np.where(np.abs(below) > 1e-12, above / np.where(np.abs(below) > 1e-12, below, 1.0), np.nan)


def _bootstrap(rows: np.ndarray, value: Callable[[np.ndarray], np.ndarray], seed: int):
    """The 95 % interval of `value` under resampling of `rows`, or (None, None) where there is none to speak of.

    Bias-corrected and accelerated (Efron 1987, Better Bootstrap Confidence Intervals), for coefficients of agreement
    are skewed; its tails are those of Student's t (Hesterberg 2015, What Teachers Should Know About the Bootstrap), for
    resamples of few rows vary too little. Without any disagreement resamples do not vary at all: that is no interval.
    """
    n = len(rows)
    if n < FEWEST_COMPARISONS:
        return None, None
    # Rows that are the same are one outcome of a multinomial draw: the same distribution, far fewer columns.
    kinds, times = np.unique(rows, axis=0, return_counts=True)
    rng, together = np.random.default_rng(seed), max(1, MOST_CELLS // len(kinds))
    sizes = [min(together, RESAMPLES - start) for start in range(0, RESAMPLES, together)]
    resampled = np.concatenate([value(rng.multinomial(n, times / n, size=size) @ kinds) for size in sizes])
    resampled = resampled[~np.isnan(resampled)]
    if len(resampled) < (1 - MOST_UNDEFINED) * RESAMPLES:
        return None, None
    total = rows.sum(0)
    here = value(total)
    # How far the estimate lies from the middle of the resamples, those equal to it counted half.
    below = ((resampled < here).mean() + (resampled <= here).mean()) / 2
    bias = _NORMAL.inv_cdf(min(max(below, 0.5 / RESAMPLES), 1 - 0.5 / RESAMPLES))
    width = np.sqrt(n / (n - 1)) * _student(n - 1)
    skew = _acceleration(value(total - kinds), times)
    tails = []
    for edge in (bias - width, bias + width):
        tails.append(_NORMAL.cdf(bias + edge / max(1 - skew * edge, 1e-3)))
    low, high = np.quantile(resampled, tails)
    return (float(low), float(high)) if high - low > 1e-9 else (None, None)


def _acceleration(left_out: np.ndarray, times: np.ndarray) -> float:
    """How fast the error grows with the value: the skewness of the jackknife. `left_out`: without one row a kind."""
    known = ~np.isnan(left_out)
    left_out, times = left_out[known], times[known]
    if not times.size:
        return 0.0
    gap = np.average(left_out, weights=times) - left_out
    spread = (times * gap**2).sum()
    return float((times * gap**3).sum() / (6 * spread**1.5)) if spread > 1e-18 else 0.0


def _student(freedom: int) -> float:
    """The 97.5 % quantile of Student's t, to three digits from 9 degrees on (Abramowitz & Stegun 26.7.5)."""
    z = _NORMAL.inv_cdf((1 + CONFIDENCE) / 2)
    first, second = (z**3 + z) / 4, (5 * z**5 + 16 * z**3 + 3 * z) / 96
    third = (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384
    return z + first / freedom + second / freedom**2 + third / freedom**3
