"""When answers to gold questions are evidence enough to pause: single records, and looks after every answer."""

import pytest

from annotate.quality.gold import Record


@pytest.mark.parametrize(
    ("matched", "answered", "threshold", "below"),
    [
        (1, 4, 0.7, False),  # 0.3⁴ + 4 · 0.7 · 0.3³ = 0.084
        (1, 5, 0.7, True),  # 0.3⁵ + 5 · 0.7 · 0.3⁴ = 0.031
        (0, 4, 0.5, False),  # 0.5⁴ = 0.0625
        (0, 5, 0.5, True),  # 0.5⁵ = 0.031
        (0, 3, 0.7, False),  # 0.3³ = 0.027, but three answers are too few
        (2, 4, 0.6, False), (4, 4, 1.0, False), (3, 4, 1.0, True), (0, 0, 0.7, False),
        (5900, 10000, 0.6, True),  # two standard errors of 0.0049
        (5950, 10000, 0.6, False),
    ],
)  # fmt: skip
def test_single_records(matched, answered, threshold, below):
    assert Record(matched, answered).is_below(threshold) == below


def ever_paused(share: float, threshold: float, answers: int = 40) -> list[float]:
    """The chance that somebody with this true share has been paused after 1, 2, … answers, exactly."""
    going, paused, after = {0: 1.0}, 0.0, []
    for answered in range(1, answers + 1):
        coming = dict.fromkeys(range(answered + 1), 0.0)
        for matched, chance in going.items():
            coming[matched + 1] += chance * share
            coming[matched] += chance * (1 - share)
        stopped = {matched for matched in coming if Record(matched, answered).is_below(threshold)}
        paused += sum(coming[matched] for matched in stopped)
        going = {matched: chance for matched, chance in coming.items() if matched not in stopped}
        after.append(paused)
    return after


@pytest.mark.parametrize("threshold", [0.5, 0.6, 0.7, 0.8, 0.85])
def test_good_people_are_hardly_ever_paused(threshold):
    assert ever_paused(threshold + 0.15, threshold)[-1] < 0.012
    assert ever_paused(threshold + 0.05, threshold)[-1] < 0.07
    assert ever_paused(threshold, threshold)[-1] < 0.15


def test_who_tosses_a_coin_is_found_soon():
    strict, usual = ever_paused(0.5, 0.8), ever_paused(0.5, 0.7)
    assert strict[6] > 0.5 and strict[19] > 0.9
    assert usual[13] > 0.5 and usual[-1] > 0.88
