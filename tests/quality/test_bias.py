"""What pulls votes: closed forms, known pulls found again, and one-sided votes."""

import time

import numpy as np
import pytest

from annotate.quality.appearance import markdown_marks
from annotate.quality.bias import FEWEST_JUDGMENTS, HURRY, HURRY_LENGTH, LENGTH, MARKDOWN, POSITION, Choices, fit
from annotate.quality.votes import NotDefined


def alike(chose_left: np.ndarray, *, comparison: np.ndarray | None = None, order_known: bool = True) -> Choices:
    """Votes between responses of equal length and format, at an unknown speed."""
    n = len(chose_left)
    return Choices(
        chose_left=chose_left, order_known=np.full(n, order_known), length=np.full((n, 2), 100),
        markdown=np.zeros((n, 2), dtype=int), seconds=np.full(n, np.nan), annotator=np.zeros(n, dtype=int),
        comparison=np.arange(n) if comparison is None else comparison,
    )  # fmt: skip


def simulated(n: int, beta: dict[str, float], annotators: int = 5, seed: int = 0) -> Choices:
    rng = np.random.default_rng(seed)
    length = np.exp(rng.normal(5, 0.6, (n, 2))).astype(int) + 1
    markdown = rng.poisson(3, (n, 2))
    annotator = rng.integers(0, annotators, n)
    hurry = rng.normal(0, 0.7, n)
    seconds = 30 * (1 + annotator) * 2.0**-hurry
    x1 = np.log2(length[:, 0] / length[:, 1])
    x2 = np.log2((1 + markdown[:, 0]) / (1 + markdown[:, 1]))
    names = {POSITION: 1, LENGTH: x1, MARKDOWN: x2, HURRY: hurry, HURRY_LENGTH: hurry * x1}
    chance = 1 / (1 + np.exp(-sum(beta.get(name, 0) * x for name, x in names.items())))
    return Choices(rng.random(n) < chance, np.ones(n, bool), length, markdown, seconds, annotator, np.arange(n))


def test_position_alone_by_hand():
    # 60 of 80: log-odds log 3, standard error 1/√(80 · 0.75 · 0.25).
    found = fit(alike(np.arange(80) < 60))
    assert list(found.pulls) == [POSITION]
    pull = found.pulls[POSITION]
    assert pull.log_odds == pytest.approx(np.log(3))
    assert pull.error == pytest.approx(1 / np.sqrt(15), rel=0.01)
    assert pull.chance == pytest.approx(0.75)
    assert pull.interval == pytest.approx((0.644, 0.833), abs=0.002)
    assert pull.is_seen
    assert not found.ridge


def test_an_even_split_is_no_pull():
    assert not fit(alike(np.arange(80) < 43)).pulls[POSITION].is_seen


def test_five_equal_votes_on_one_pair_are_one_observation():
    chose = np.repeat(np.arange(80) < 60, 5)
    found = fit(alike(chose, comparison=np.repeat(np.arange(80), 5))).pulls[POSITION]
    assert found.log_odds == pytest.approx(np.log(3))
    assert found.error == pytest.approx(1 / np.sqrt(15), rel=0.02), "not √5 times smaller"


def test_known_pulls_are_found_within_their_intervals():
    beta = {POSITION: 0.3, LENGTH: 0.6, MARKDOWN: -0.2, HURRY: 0.4, HURRY_LENGTH: 0.25}
    found = fit(simulated(20_000, beta))
    for name, true in beta.items():
        assert abs(found.pulls[name].log_odds - true) < 3 * found.pulls[name].error, name
        assert found.pulls[name].error < 0.05
        assert found.pulls[name].is_seen


def test_intervals_hold_the_truth_as_often_as_they_say():
    """Of 200 samples without any pull, 95 % of the intervals hold 50 %: between 180 and 199 is within three sigma."""
    held = [not fit(simulated(200, {}, seed=seed)).pulls[LENGTH].is_seen for seed in range(200)]
    assert 180 <= sum(held) <= 199


def test_votes_of_unknown_order_tell_nothing_about_sides_but_all_about_length():
    known = simulated(2000, {LENGTH: 0.5})
    unknown = Choices(**{**known.__dict__, "order_known": np.zeros(2000, bool), "seconds": np.full(2000, np.nan)})
    found = fit(unknown)
    assert list(found.pulls) == [LENGTH, MARKDOWN]
    # Which of the two is called left does not matter.
    exchanged = Choices(
        **{**unknown.__dict__, "chose_left": ~unknown.chose_left, "length": unknown.length[:, ::-1],
           "markdown": unknown.markdown[:, ::-1]}
    )  # fmt: skip
    assert fit(exchanged).pulls[LENGTH].log_odds == pytest.approx(found.pulls[LENGTH].log_odds)
    assert fit(exchanged).pulls[LENGTH].error == pytest.approx(found.pulls[LENGTH].error)


def test_who_always_chooses_left_gets_a_finite_pull_and_the_page_is_told():
    found = fit(alike(np.ones(40, dtype=bool)))
    assert found.ridge
    pull = found.pulls[POSITION]
    assert 0.9 < pull.chance < 1
    assert pull.is_seen
    assert 0.5 < pull.interval[0] < pull.interval[1] < 1


def test_who_always_chooses_the_longer_gets_a_finite_pull():
    choices = simulated(200, {})
    longer = Choices(**{**choices.__dict__, "chose_left": choices.length[:, 0] > choices.length[:, 1]})
    found = fit(longer)
    assert found.ridge
    assert found.pulls[LENGTH].chance > 0.9
    assert all(np.isfinite([pull.log_odds, pull.error]).all() for pull in found.pulls.values())


def test_what_always_goes_together_is_not_told_apart():
    """Where the longer response always has the more Markdown in the same ratio, only one of the two is fitted."""
    choices = simulated(300, {LENGTH: 0.5})
    together = Choices(**{**choices.__dict__, "markdown": choices.length - 1})
    assert MARKDOWN not in fit(together).pulls


def test_too_few_votes():
    with pytest.raises(NotDefined, match="Too few"):
        fit(alike(np.ones(FEWEST_JUDGMENTS - 1, dtype=bool)))


def test_nothing_to_go_by():
    with pytest.raises(NotDefined, match="look alike"):
        fit(alike(np.ones(50, dtype=bool), order_known=False))


def test_hurry_is_measured_against_the_persons_own_usual_speed():
    """A slow and a quick person, each at a constant speed: neither hurries."""
    choices = simulated(200, {}, annotators=2)
    constant = Choices(**{**choices.__dict__, "seconds": np.where(choices.annotator == 0, 5.0, 90.0)})
    assert set(fit(constant).pulls) == {POSITION, LENGTH, MARKDOWN}


def test_sixty_thousand_votes_take_less_than_two_seconds():
    choices = simulated(59_450, {LENGTH: 0.5})
    start = time.process_time()
    fit(choices)
    assert time.process_time() - start < 2


@pytest.mark.parametrize(
    ("text", "marks"),
    [
        ("Plain words, 3 * 4 = 12 and snake_case.", 0),
        ("# Title\n\n- one\n- two\n\n1. first", 4),
        ("**bold** and *emphasis* and `code` and [a link](https://example.org)", 4),
        ("```python\nx = 1\n```", 2),
        ("| a | b |\n| - | - |", 2),
        ("> quoted", 1),
        ("", 0),
    ],
)
def test_marks_of_markdown(text, marks):
    assert markdown_marks(text) == marks


@pytest.mark.parametrize("piece", ["\n", "[", "[a](", "* ", "**a", "`", "| ", " \n"])
def test_a_text_made_to_be_slow_is_looked_at_in_a_moment(piece):
    started = time.process_time()
    markdown_marks(piece * 25_000)
    assert time.process_time() - started < 1
