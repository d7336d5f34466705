"""Means with bootstrap intervals: accuracies, and how often one policy beats another by the gold score."""

from dataclasses import dataclass

import numpy


@dataclass(frozen=True)
class Rate:
    """A share from 0 to 1 with its 95 % interval."""

    mean: float
    low: float
    high: float

    def __str__(self):
        return f"{self.mean:.1%} [{self.low:.1%}, {self.high:.1%}]"


def rate(values, groups=None, *, draws: int = 2000, seed: int = 0) -> Rate:
    """The mean of `values` (units,) with a percentile bootstrap interval (Efron 1979).

    Where units are alike within `groups` (units,), whole groups are drawn instead of units.
    """
    values = numpy.asarray(values, float)
    _, group_of = numpy.unique(numpy.arange(len(values)) if groups is None else groups, return_inverse=True)
    sums, counts = numpy.bincount(group_of, values), numpy.bincount(group_of)
    chosen = numpy.random.default_rng(seed).integers(len(sums), size=(draws, len(sums)))
    low, high = numpy.percentile(sums[chosen].sum(axis=1) / counts[chosen].sum(axis=1), [2.5, 97.5])
    return Rate(float(values.mean()), float(low), float(high))


def win_rate(scores, baseline) -> Rate:
    """Share of pairs in which `scores` beats `baseline`, both (prompts, samples), ties as halves.

    Every sample meets every baseline sample of its prompt; prompts are the units, since one prompt's samples are alike.
    """
    difference = numpy.asarray(scores, float)[:, :, None] - numpy.asarray(baseline, float)[:, None, :]
    # Sums of the same penalties in another order differ in the last bits: that is a tie.
    wins = numpy.where(abs(difference) < 1e-9, 0.5, difference > 0)
    return rate(wins.mean(axis=(1, 2)))
