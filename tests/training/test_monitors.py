"""Each trouble that policy training is known for is said in words once, and a calm run hears nothing."""

import dataclasses
import json

import pytest

from tests.training.policies import PROMPTS, count_rewarded, make_actors, quiet, scored, settings_of
from training.diversity import distinct_n, self_similarity
from training.events import EventLog
from training.monitors import Monitor, Watched
from training.recipes.policy_gradient import improve
from training.runtime import start

CALM = {
    "truncated": 0.1, "equal_groups": 0.0, "kl": 2.0, "reward": 1.0, "length": 20.0, "entropy": 2.0,
    "self_similarity": 0.3, "sampler_gap": 1e-3, "clip_fraction": 0.1, "explained_variance": 0.4,
}  # fmt: skip


def said(tmp_path, rounds):
    log = EventLog(tmp_path)
    monitor = Monitor(log, settings_of("ppo", tmp_path, kl_target=3.0), Watched())
    for metrics in rounds:
        monitor.watch(CALM | metrics)
    return [json.loads(line)["text"] for line in log.path.read_text().splitlines()] if log.path.exists() else []


@pytest.mark.parametrize(
    ("rounds", "words"),
    [
        ([{"truncated": 1.0}] * 3, "max_tokens=8"),
        ([{"equal_groups": 1.0}] * 3, "earned the same"),
        ([{"kl": 2.0}, {"kl": 6.5}, {"kl": 9.0}], "twice kl_target"),
        ([{"reward": i, "length": 20 + 3 * i} for i in range(12)], "paying for length"),
        ([{"entropy": 2 * 0.85**i} for i in range(12)], "entropy fell"),
        # Too slowly for ten steps to tell: by 4 % and 5 % a step, 3.2-fold and to a thirteenth in the end.
        ([{"reward": i, "length": 20 * 1.04**i} for i in range(31)], "paying for length"),
        ([{"entropy": 3 * 0.95**i} for i in range(51)], "entropy fell from 3.00"),
        ([{"self_similarity": 0.95}] * 2, "collapsed to one answer"),
        ([{"sampler_gap": 0.4}] * 2, "not what was sampled"),
        ([{"clip_fraction": 0.7}] * 2, "were clipped"),
        ([{"explained_variance": -0.5}] * 12, "worse than their mean"),
    ],
)
def test_a_trouble_is_said_once(rounds, words, tmp_path):
    texts = said(tmp_path, rounds)
    assert len(texts) == 1 and words in texts[0]


def test_a_calm_run_hears_nothing_and_a_trouble_that_passed_may_be_said_again(tmp_path):
    assert said(tmp_path, [{}] * 15) == []
    assert len(said(tmp_path, [{"truncated": 1.0}, {}, {"truncated": 1.0}])) == 2


def test_a_constrained_policy_beyond_its_bound_is_told(tmp_path):
    log = EventLog(tmp_path)
    settings = settings_of("cgpo", tmp_path, kl_max=3.0, judges='{"source": "json"}')
    monitor = Monitor(log, settings, Watched())
    for kl in (2.0, 3.5, 4.0):
        monitor.watch(CALM | {"kl": kl, "passed": 0.5})
    (line,) = log.path.read_text().splitlines()
    assert "3.5 nats, more than kl_max=3.0" in json.loads(line)["text"]


def test_learning_is_no_trouble(tmp_path):
    """Forty steps in which reward, length, KL and sharpness change as they do where all is well."""
    rounds = [
        {"reward": i / 10, "length": 20 + i / 3, "entropy": 2 * 0.98**i, "kl": 5 * i / 40, "clip_fraction": 0.2}
        for i in range(40)
    ]
    assert said(tmp_path, rounds) == []


def test_a_run_that_learns_hears_nothing(tmp_path):
    settings = settings_of(
        "ppo", tmp_path, steps=14, prompts_per_step=8, samples=8, learning_rate=1e-3, value_learning_rate=1e-2,
        warmup=0, kl_target=6.0,
    )  # fmt: skip
    log = EventLog(tmp_path)
    metrics = improve(make_actors(), PROMPTS, scored(count_rewarded), settings, start(settings, quiet(settings)), log)
    lines = [json.loads(line) for line in log.path.read_text().splitlines()]
    assert [line["text"] for line in lines if line["kind"] == "message"] == []
    curve = [line["values"]["reward"] for line in lines if line["kind"] == "metrics"]
    assert len(curve) == 14 and metrics["reward"] > curve[0]


def test_a_run_whose_completions_are_all_cut_off_says_it(tmp_path):
    settings = settings_of("rloo", tmp_path, steps=2, max_tokens=1)
    log = EventLog(tmp_path)
    never = dataclasses.replace(make_actors(value=False), eos_id=-1)
    improve(never, PROMPTS, scored(count_rewarded), settings, start(settings, quiet(settings)), log)
    texts = [line["text"] for line in map(json.loads, log.path.read_text().splitlines()) if line["kind"] == "message"]
    assert sum("every completion was cut off at max_tokens=1" in text for text in texts) == 1


def test_short_growth_of_length_without_reward_is_no_trouble(tmp_path):
    assert said(tmp_path, [{"reward": -i, "length": 20 + 3 * i} for i in range(12)]) == []


def test_distinct_n_by_hand():
    completions = [(1, 2, 3), (1, 2, 2)]
    assert distinct_n(completions, 1) == 3 / 6
    assert distinct_n(completions, 2) == 3 / 4  # 12 23 | 12 22
    assert distinct_n([(1,)], 2) == 1.0


def test_self_similarity_by_hand():
    assert self_similarity([(1, 2, 3)] * 4 + [(5,)] * 4, 4) == 1.0
    assert self_similarity([(1, 2), (3, 4), (1, 2), (5, 6)], 2) == 0.0
    # Bigrams with the start: .1 12 23 and .1 12 22, so 2·2/(3 + 3); the other prompt's share nothing.
    assert self_similarity([(1, 2, 3), (1, 2, 2), (7,), (8,)], 2) == pytest.approx((2 / 3 + 0) / 2)
    assert self_similarity([(1, 2), (1, 2)], 1) == 0.0


def test_a_run_that_collapses_logs_it_and_says_it(tmp_path):
    """A policy told apart from nothing: rewards all the same, one token far ahead of the others."""
    import torch

    settings = settings_of("grpo", tmp_path, steps=1, learning_rate=0, temperature=0.01)
    log = EventLog(tmp_path)
    same = lambda indices, groups: torch.zeros(len(groups), settings.samples)  # noqa: E731
    actors = make_actors(value=False)
    metrics = improve(actors, [[10, 11, 12], [13]], scored(same), settings, start(settings, quiet(settings)), log)
    assert metrics["self_similarity"] > 0.9 and metrics["distinct_2"] < 0.5
    texts = [line["text"] for line in map(json.loads, log.path.read_text().splitlines()) if line["kind"] == "message"]
    assert any("collapsed to one answer" in text for text in texts)
    assert any("earned the same" in text for text in texts)
