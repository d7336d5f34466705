"""The benchmarks' win rate and its interval, on numbers worked out by hand."""

import numpy
import pytest

from benchmarks.intervals import rate, win_rate


def test_every_sample_meets_every_baseline_sample_and_ties_are_halves():
    # Prompt 1: 3 beats 1 and 2, 2 beats 1 and ties 2: (1 + 1 + 1 + ½) / 4. Prompt 2: 0 loses twice: 0.
    found = win_rate([[3, 2], [0, 0]], [[1, 2], [5, 6]])
    assert found.mean == pytest.approx((3.5 / 4 + 0) / 2)


def test_the_same_penalties_in_another_order_tie():
    assert win_rate([[0.1 + 0.2 + 0.3]], [[0.3 + 0.2 + 0.1]]).mean == 0.5


def test_interval_has_the_width_of_the_normal_one():
    """400 coins, 240 heads: 0.6 ± 1.96 √(0.6 · 0.4 / 400) = 0.6 ± 0.048."""
    found = rate([1] * 240 + [0] * 160)
    assert found.mean == 0.6
    assert [found.low, found.high] == pytest.approx([0.552, 0.648], abs=0.006)


def test_prompts_are_the_units_not_their_samples():
    """50 prompts that are won or lost as a whole: 16 samples each make the interval no narrower."""
    won = numpy.repeat([[1.0], [0.0]], 25, axis=0)
    one, many = win_rate(won, won * 0 + 0.5), win_rate(numpy.repeat(won, 16, axis=1), numpy.full((50, 16), 0.5))
    assert (one.low, one.high) == (many.low, many.high)
    assert one.high - one.low == pytest.approx(2 * 1.96 * (0.25 / 50) ** 0.5, abs=0.04)


def test_units_that_are_alike_are_drawn_together():
    """10 groups of 30 pairs, all right or all wrong: the interval is that of 10 draws, not of 300."""
    values, groups = [1] * 150 + [0] * 150, [place // 30 for place in range(300)]
    found = rate(values, groups)
    assert found.mean == 0.5
    assert found.high - found.low == pytest.approx(2 * 1.96 * (0.25 / 10) ** 0.5, abs=0.1)
    assert rate(values).high - rate(values).low == pytest.approx(2 * 1.96 * (0.25 / 300) ** 0.5, abs=0.02)
