"""A policy-gradient run that is stopped at any moment ends where an uninterrupted one does, bit for bit."""

import contextlib
import json
from itertools import count

import pytest
import torch

from tests.training.policies import PROMPTS, count_rewarded, learn, make_actors, quiet, scored, settings_of
from training import stopping
from training.batching import Example
from training.curves import describe
from training.events import EventLog
from training.pretraining_mix import PretrainingMix
from training.recipes import policy_gradient
from training.recipes.policy_gradient import improve
from training.rewards.combine import Failures, Scores
from training.runtime import start

OPTIONS = {
    "steps": 2, "epochs": 2, "minibatches": 2, "learning_rate": 1e-2, "value_learning_rate": 1e-2, "warmup": 0,
    "kl_target": 1.0, "reward_scale": "running", "ptx_data": "demonstrations.jsonl", "ptx_batch": 2,
}  # fmt: skip
# A round asks once after sampling, after each of four optimizer steps, and at its end.
QUESTIONS = 6


def run(settings, log=None):
    actors = make_actors()
    demonstrations = [Example((10, 11), ((7, 8, 1),), 0), Example((12,), ((9, 1),), 1), Example((13,), ((6, 1),), 2)]
    mix = PretrainingMix(demonstrations, pad_id=0, shared=actors.shared, device="cpu")
    log = log or EventLog(settings.output)
    metrics = improve(actors, PROMPTS, scored(count_rewarded), settings, start(settings, quiet(settings)), log, mix=mix)
    return actors, metrics


def curves(directory):
    lines = [json.loads(line) for line in (directory / "events.jsonl").read_text().splitlines()]
    unsteady = {"completions_per_second", "tokens_per_second"}
    return [
        {name: value for name, value in line["values"].items() if name not in unsteady}
        for line in lines
        if line["kind"] == "metrics"
    ]


def stop_at(monkeypatch, question):
    asked = 0

    def requested():
        nonlocal asked
        asked += 1
        return asked >= question

    monkeypatch.setattr(stopping, "requested", requested)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    directory = tmp_path_factory.mktemp("whole")
    actors, _ = run(settings_of("ppo", directory, **OPTIONS))
    return actors.trained().state_dict(), curves(directory)


@pytest.mark.parametrize("question", range(1, 2 * QUESTIONS, 2))
def test_stopped_after_any_optimizer_step(question, whole, tmp_path, monkeypatch):
    weights, expected = whole
    settings = settings_of("ppo", tmp_path, **OPTIONS)
    with monkeypatch.context() as patch:
        stop_at(patch, question)
        with pytest.raises(stopping.Cancelled):
            run(settings)
    actors, _ = run(settings)
    for name, tensor in weights.items():
        assert torch.equal(actors.trained().state_dict()[name], tensor), name
    assert curves(tmp_path) == expected


def test_stopped_again_and_again(whole, tmp_path, monkeypatch):
    weights, expected = whole
    settings = settings_of("ppo", tmp_path, **OPTIONS)
    for _ in range(4):
        with monkeypatch.context() as patch:
            stop_at(patch, 2)
            with pytest.raises(stopping.Cancelled):
                run(settings)
    actors, _ = run(settings)
    for name, tensor in weights.items():
        assert torch.equal(actors.trained().state_dict()[name], tensor), name
    assert curves(tmp_path) == expected


def test_completions_under_way_are_not_sampled_or_scored_again(tmp_path, monkeypatch):
    settings = settings_of("ppo", tmp_path, **{**OPTIONS, "ptx_data": None, "steps": 1})
    with monkeypatch.context() as patch:
        stop_at(patch, 3)
        with pytest.raises(stopping.Cancelled):
            learn(settings, make_actors())

    def refuse(indices, groups):
        raise AssertionError("scored again")

    assert learn(settings, make_actors(), refuse)["optimizer_steps"] == 4


@pytest.mark.parametrize("stops", [(20,), (1, 15, 15)])
def test_what_is_said_of_a_run_does_not_depend_on_where_it_was_stopped(stops, tmp_path, monkeypatch):
    """Here completions that double in 19 steps, too slowly for ten of them to tell, and a source that always fails."""

    def growing(rollout, targets):
        return describe(rollout, targets) | {"length": 10 * 1.04 ** next(steps_done), "reward": next(rewards)}

    def failing(indices, groups):
        scores = count_rewarded(indices, groups)
        scores[0, 0] = torch.nan
        return Scores(scores, failures={"rule": Failures("my rule is away", scores.isnan())})

    def said(name, stops=()):
        settings = settings_of("grpo", tmp_path / name, steps=20, learning_rate=0)
        for question in (*stops, None):
            machine, log = start(settings, quiet(settings)), EventLog(settings.output)
            with monkeypatch.context() as patch, contextlib.suppress(stopping.Cancelled):
                if question:
                    stop_at(patch, question)
                improve(make_actors(value=False), PROMPTS, failing, settings, machine, log)
        events = [json.loads(line) for line in log.path.read_text().splitlines()]
        assert sum(event["kind"] == "start" for event in events) == len(stops) + 1
        return [event["text"] for event in events if event["kind"] == "message"]

    monkeypatch.setattr(policy_gradient, "describe", growing)
    for name in ("whole", "stopped"):
        (tmp_path / name).mkdir()
    steps_done, rewards = count(), count(0.0)
    expected = said("whole")
    assert [text.split(";")[0] for text in expected if "my rule" in text] == ["my rule is away"]
    assert sum("from 10 to 20 tokens in 19 steps" in text for text in expected) == 1
    steps_done, rewards = count(), count(0.0)
    assert said("stopped", stops) == expected


def test_a_round_left_early_for_its_kl_stays_left(tmp_path, monkeypatch):
    settings = settings_of("ppo", tmp_path, **{**OPTIONS, "ptx_data": None, "steps": 1, "stop_kl": 1e-9})
    (tmp_path / "whole").mkdir()
    assert (
        learn(
            settings_of("ppo", tmp_path / "whole", **{**OPTIONS, "ptx_data": None, "steps": 1, "stop_kl": 1e-9}),
            make_actors(),
        )["optimizer_steps"]
        == 2
    )  # the first step starts at the old policy itself
    with monkeypatch.context() as patch:
        stop_at(patch, 3)
        with pytest.raises(stopping.Cancelled):
            learn(settings, make_actors())
    assert learn(settings, make_actors())["optimizer_steps"] == 2
