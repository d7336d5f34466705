"""Several sources as one reward: weights, names, own functions, and what a source that fails ends."""

import json
import math
import sys

import pytest
import torch

from tests.training.policies import first_round, learn, make_actors, settings_of
from tests.training.runs import train, write_lines
from tests.training.tiny import save_tiny
from training import runtime
from training.actors import make_optimizer
from training.config import BaseConfig, ConfigError
from training.curves import describe
from training.errors import TrainingError
from training.events import EventLog
from training.models import load_reward_model, load_tokenizer, save_model
from training.recipes.policy_gradient import assign_credit, update
from training.records import Prompt
from training.rewards.combine import Binary, Rewards, Scores, Weighted
from training.rewards.functions import load_function
from training.rewards.source import Failure, checked_scores

ASK = Prompt([{"role": "user", "content": "?"}])


class Rule:
    """Scores by a function of the text."""

    def __init__(self, function, name="my rule"):
        self.function, self.name = function, name

    def score(self, prompts, completions):
        return [self.function(text) for text in completions]


class Whole(Rule):
    def score(self, prompts, completions):
        return self.function(completions)


def make(tmp_path, sources, **settings):
    config = BaseConfig(output=str(tmp_path), device="cpu", precision="fp32")
    log = EventLog(tmp_path)
    return Rewards(sources, runtime.start(config, log), log=log, **settings)


def messages(tmp_path):
    events = [json.loads(line) for line in (tmp_path / "events.jsonl").read_text().splitlines()]
    return [event["text"] for event in events if event["kind"] == "message"]


# --- the sum ----------------------------------------------------------------------------------------------------------


def test_a_weighted_sum_with_every_part_by_its_name(tmp_path):
    rewards = make(tmp_path, {"long": Weighted(Rule(len), 0.5), "x": Weighted(Rule(lambda t: t.count("x")), -2)})
    scores = rewards.groups([ASK, ASK], [["ab", "x"], ["xxxx", ""]])
    assert scores.total.tolist() == [[1.0, -1.5], [-6.0, 0.0]]
    assert scores.parts["long"].tolist() == [[2, 1], [4, 0]] and scores.parts["x"].tolist() == [[0, 1], [4, 0]]
    assert scores.described() == pytest.approx({"reward": -1.625, "reward_long": 1.75, "reward_x": 1.25})
    assert rewards([ASK], ["abcd"]).tolist() == [2.0]


def test_judges_pass_or_fail_and_add_nothing(tmp_path):
    judges = {"short": Binary(Rule(lambda t: -len(t)), -3), "kind": Binary(Rule(lambda t: "please" in t))}
    rewards = make(tmp_path, {"long": Weighted(Rule(len))}, judges=judges)
    scores = rewards.scores([ASK] * 3, ["abc", "please", "a"])
    assert scores.total.tolist() == [3, 6, 1]
    assert scores.verdicts["short"].tolist() == [True, False, True] and scores.passed.tolist() == [False] * 3
    assert scores.described() == pytest.approx(
        {"reward": 10 / 3, "passed": 0, "passed_short": 2 / 3, "passed_kind": 1 / 3}
    )


def test_scores_of_prompts_stack():
    scores = Scores(torch.tensor([[1.0, 2.0], [3.0, 4.0]]), {"a": torch.tensor([[5.0, 6.0], [7.0, 8.0]])})
    again = Scores.stack([scores[1], scores[0]])
    assert again.total.tolist() == [[3, 4], [1, 2]] and again.parts["a"].tolist() == [[7, 8], [5, 6]]


# --- failures ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("source", "words"),
    [
        (Rule(lambda t: 1 / (len(t) - 3)), "failed with ZeroDivisionError: division by zero for the completion 'bad'"),
        (Rule(lambda t: math.nan if t == "bad" else 1), "my rule gave nan for the completion 'bad'"),
        (Rule(lambda t: math.inf if t == "bad" else 1), "my rule gave inf for the completion 'bad'"),
        (Rule(lambda t: None if t == "bad" else 1), "my rule gave None, which is no number, for the completion 'bad'"),
        (Rule(lambda t: Failure("slept") if t == "bad" else 1), "my rule slept for the completion 'bad'"),
        (Whole(lambda texts: [1.0 for t in texts if t != "bad"]), "gave 0 scores for 1 completions for the"),
    ],
)  # fmt: skip
def test_the_completion_at_fault_is_found_and_named(source, words, tmp_path):
    texts = ["good", "fine", "bad", "x" * 9]
    scores, failed = checked_scores(source, [ASK] * 4, texts)
    assert list(failed) == [2] and words in failed[2]
    assert scores.isnan().tolist() == [False, False, True, False]
    with pytest.raises(TrainingError) as error:
        make(tmp_path, {"rule": Weighted(source)})([ASK] * 4, texts)
    assert words in str(error.value)


def test_a_source_that_fails_on_the_whole_only_is_still_named():
    def whole(texts):
        if len(texts) > 1:
            raise OSError("too many")
        return [1.0]

    scores, failed = checked_scores(Whole(whole), [ASK] * 2, ["a", "b"])
    assert scores.isnan().all() and "my rule failed with OSError: too many" in failed[0]


def test_running_out_of_memory_is_no_completions_fault():
    def whole(texts):
        raise MemoryError

    with pytest.raises(MemoryError):
        checked_scores(Whole(whole), [ASK] * 2, ["a", "b"])


def test_masked_completions_are_counted_and_said_once(tmp_path):
    rule = Rule(lambda t: math.nan if t == "bad" else 2.0)
    rewards = make(tmp_path, {"rule": Weighted(rule), "long": Weighted(Rule(len))}, on_error="mask")
    scores = rewards.scores([ASK] * 4, ["bad", "good", "bad", "ab"])
    assert scores.total.isnan().tolist() == [True, False, True, False] and scores.total[1] == 6
    assert scores.described() == pytest.approx(
        {"reward": 5, "reward_rule": 2, "reward_long": 3, "reward_failures": 0.5}
    )  # fmt: skip
    rewards.scores([ASK] * 2, ["bad", "good"])
    (said,) = messages(tmp_path)
    assert "my rule gave nan for the completion 'bad'" in said and "2 of 4 completions" in said
    with pytest.raises(TrainingError, match="no completion has a reward: my rule gave nan"):
        rewards.scores([ASK], ["bad"])
    assert rewards([ASK], ["bad"]).isnan().all()  # a sample to look at ends no run


def test_a_judge_that_fails_masks_too(tmp_path):
    judge = Binary(Rule(lambda t: Failure("is silent") if t == "bad" else 1))
    rewards = make(tmp_path, {"long": Weighted(Rule(len))}, judges={"judge": judge}, on_error="mask")
    scores = rewards.scores([ASK] * 2, ["bad", "good"])
    assert scores.total.isnan().tolist() == [True, False] and scores.passed.tolist() == [False, True]


# --- own functions ----------------------------------------------------------------------------------------------------


@pytest.fixture
def own_functions(tmp_path, monkeypatch):
    (tmp_path / "my_rewards.py").write_text(
        "import pathlib\npathlib.Path(__file__).with_name('imported').touch()\n"
        "def shout(messages, completion, reference):\n    return completion.count('!') / len(messages)\n"
        "def fussy(messages, completion, reference):\n    return {'good': 1.0}[completion]\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    yield tmp_path
    sys.modules.pop("my_rewards", None)


def test_a_function_that_the_machine_does_not_name_is_never_imported(own_functions, monkeypatch):
    for allowed in (None, "", "my_rewards:fussy", "my_rewards", "other:shout, my_rewards.shout"):
        if allowed is None:
            monkeypatch.delenv("PREFLOOP_REWARD_FUNCTIONS", raising=False)
        else:
            monkeypatch.setenv("PREFLOOP_REWARD_FUNCTIONS", allowed)
        with pytest.raises(ConfigError, match="my_rewards:shout is not allowed on this machine"):
            load_function("my_rewards:shout")
    with pytest.raises(ConfigError, match="os:system is not allowed"):
        load_function("os:system")
    assert not (own_functions / "imported").exists()


def test_a_refused_function_ends_the_run_before_anything_is_loaded(tmp_path):
    data = write_lines(tmp_path / "data.jsonl", [{"prompt": "?", "responses": ["a", "b"]}])
    run = train("score", tmp_path / "run", data=data, rewards='{"source": "function", "path": "os:system"}')
    assert run.code == 2 and "os:system is not allowed on this machine" in run.error


def test_an_allowed_function_scores(own_functions, tmp_path, monkeypatch):
    monkeypatch.setenv("PREFLOOP_REWARD_FUNCTIONS", "my_rewards:fussy, my_rewards:shout")
    data = write_lines(tmp_path / "data.jsonl", [{"prompt": "?", "responses": ["good!!", "bad"]}])
    run = train("score", tmp_path / "run", data=data, rewards='{"source": "function", "path": "my_rewards:shout"}')
    assert run.code == 0 and run.metrics["reward"] == 1.0
    run = train("score", tmp_path / "two", data=data, rewards='{"source": "function", "path": "my_rewards:fussy"}')
    assert run.code == 1 and "the function my_rewards:fussy failed with KeyError: 'good!!'" in run.error


# --- recipes ----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    root = tmp_path_factory.mktemp("models")
    policy = save_tiny(root / "policy")
    for name, seed in (("reward", 1), ("other", 2)):
        save_model(load_reward_model(policy, seed=seed), load_tokenizer(policy), root / name)
    prompts = write_lines(root / "prompts.jsonl", [{"prompt": f"say {i}", "answer": i} for i in range(4)])
    return {"policy": policy, "reward": str(root / "reward"), "other": str(root / "other"), "prompts": prompts}


def test_score_by_rules_alone(tmp_path):
    rows = [
        {"prompt": "2+2?", "answer": "4", "responses": [{"text": "It is 4"}, {"text": "It is 5"}]},
        {"prompt": "10/4?", "answer": 2.5, "completion": "So 5/2 it is, I think"},
    ]
    long = {"source": "length_penalty", "words": 3, "penalty": 0.1, "name": "long", "weight": 2}
    rewards = [{"source": "math"}, long]
    data = write_lines(tmp_path / "data.jsonl", rows)
    run = train("score", tmp_path / "run", data=data, rewards=json.dumps(rewards))
    scored = [json.loads(line) for line in (run.output / "scores.jsonl").read_text().splitlines()]
    assert [r["scores"] for row in scored for r in row["responses"]] == [
        {"math": 1, "long": 0}, {"math": 0, "long": 0}, {"math": 1, "long": pytest.approx(-0.3)}
    ]  # fmt: skip
    assert [r["score"] for row in scored for r in row["responses"]] == pytest.approx([1, 0, 0.4])
    assert run.metrics["reward"] == pytest.approx(1.4 / 3) and run.metrics["reward_math"] == pytest.approx(2 / 3)


def test_best_of_n_by_a_rule(models, tmp_path):
    rewards = '{"source": "regex", "pattern": "^[^aeiou]*$"}'
    settings = {"model": models["policy"], "prompts": models["prompts"], "max_tokens": 4, "samples": 8}
    run = train("best_of_n", tmp_path / "run", **settings, rewards=rewards)
    assert run.code == 0 and run.metrics["reward_of_1"] < run.metrics["reward"] == run.metrics["reward_of_8"]


def test_the_rule_decides_which_answers_are_kept(models, tmp_path):
    """The same answers are drawn twice; a rule that likes short ones and its opposite keep different ones."""
    settings = {"model": models["policy"], "prompts": models["prompts"], "seed": 1, "max_tokens": 12, "samples": 6}
    kept = {}
    for name, weight in (("short", 1), ("long", -1)):
        rule = json.dumps({"source": "length_penalty", "characters": 0, "penalty": 1, "weight": weight})
        run = train("best_of_n", tmp_path / name, **settings, rewards=rule)
        rows = [json.loads(line) for line in (run.output / "responses.jsonl").read_text().splitlines()]
        kept[name] = [row["responses"][0] for row in rows]
        assert all(one["score"] == -weight * len(one["text"]) for one in kept[name])
    for short, long in zip(kept["short"], kept["long"], strict=True):
        assert len(short["text"]) < len(long["text"])


def test_the_rule_decides_what_rejection_learns_from(models, tmp_path):
    """As above: of the same answers, drawn until many of an untrained policy's have ended by chance."""
    curves = {}
    for name, weight in (("short", 1), ("long", -1)):
        rule = json.dumps({"source": "length_penalty", "characters": 0, "penalty": 1, "weight": weight})
        run = train(
            "rejection", tmp_path / name, model=models["policy"], prompts=models["prompts"], seed=1, rewards=rule,
            rounds=1, samples=8, max_tokens=100, batch_size=4, sample_prompts=0,
        )  # fmt: skip
        assert run.code == 0, run.error
        curves[name] = run.curve("reward")[0], run.curve("reward_kept")[0]
    (drawn, short), (mean, long) = curves["short"], curves["long"]
    assert drawn == pytest.approx(-mean)  # in characters, of all that were drawn
    assert -short < long  # of those that were kept


def test_a_round_of_online_preferences_on_a_rule(models, tmp_path):
    run = train(
        "online_dpo", tmp_path / "run", model=models["policy"], prompts=models["prompts"], rounds=1, samples=8,
        max_tokens=100, rewards='{"source": "length_penalty", "characters": 0}', sample_prompts=1, batch_size=4,
    )  # fmt: skip
    assert run.code == 0, run.error
    assert run.curve("accuracy") and run.curve("reward")


def test_evaluate_two_policies_by_a_rule(models, tmp_path):
    run = train(
        "evaluate", tmp_path / "run", model=models["policy"], against=models["policy"], prompts=models["prompts"],
        rewards='{"source": "max_length", "characters": 9}', max_tokens=4,
    )  # fmt: skip
    assert run.code == 0 and run.metrics["reward"] == 1 == run.metrics["reward_against"]
    assert run.metrics["win_rate"] == 0.5


@pytest.mark.parametrize("recipe", ["ppo", "grpo", "cgpo"])
def test_a_policy_learns_from_two_reward_models_and_a_rule(recipe, models, tmp_path):
    rewards = [{"source": "model", "path": models["other"], "weight": 0.1, "name": "other"}]
    rules = {"source": "length_penalty", "characters": 3, "penalty": 0.2, "name": "long"}
    settings = {"judges": json.dumps({"source": "max_length", "tokens": 7})} if recipe == "cgpo" else {}
    run = train(
        recipe, tmp_path / "run", model=models["policy"], reward_model=models["reward"], prompts=models["prompts"],
        rewards=json.dumps([*rewards, rules]), steps=3, samples=4, prompts_per_step=4, max_tokens=8, sample_prompts=1,
        sample_every=2, overlong_cache=0, **settings,
    )  # fmt: skip
    assert run.code == 0, run.error
    curves = [run.curve(name) for name in ("reward", "reward_model", "reward_other", "reward_long")]
    for total, model, other, long in zip(*curves, strict=True):
        assert total == pytest.approx(model + 0.1 * other + long, abs=1e-4)
    if recipe == "cgpo":
        assert run.curve("passed") == run.curve("passed_max_length")


def test_best_of_n_and_rejection_pass_over_what_has_no_score(models, tmp_path, own_functions, monkeypatch):
    (own_functions / "odd_rewards.py").write_text(
        "def odd(messages, completion, reference):\n"
        "    return float('nan') if len(completion) % 2 else float(len(completion))\n"
    )
    monkeypatch.setenv("PREFLOOP_REWARD_FUNCTIONS", "odd_rewards:odd")
    settings = {
        "model": models["policy"], "prompts": models["prompts"], "max_tokens": 6, "samples": 8, "batch_size": 4,
        "on_reward_error": "mask", "rewards": '{"source": "function", "path": "odd_rewards:odd"}',
    }  # fmt: skip
    best = train("best_of_n", tmp_path / "best", **{k: v for k, v in settings.items() if k != "batch_size"})
    assert best.code == 0 and 0 < best.metrics["reward_failures"] < 1
    kept = [json.loads(line) for line in (best.output / "responses.jsonl").read_text().splitlines()]
    assert all(row["responses"][0]["score"] == len(row["responses"][0]["text"]) for row in kept)
    scored = train(
        "score", tmp_path / "score", data=str(best.output / "responses.jsonl"), on_reward_error="mask",
        rewards='{"source": "function", "path": "odd_rewards:odd"}',
    )  # fmt: skip
    assert scored.code == 0 and "reward_failures" not in scored.metrics


def test_masked_completions_teach_nothing(models, tmp_path, own_functions, monkeypatch):
    """A source that fails on every completion but those of one prompt leaves the update to that prompt alone."""
    (own_functions / "half_rewards.py").write_text(
        "def only(messages, completion, reference):\n"
        "    return float(len(completion)) if reference['answer'] in '01' else float('nan')\n"
    )
    monkeypatch.setenv("PREFLOOP_REWARD_FUNCTIONS", "half_rewards:only")
    settings = {
        "model": models["policy"], "prompts": models["prompts"], "steps": 2, "samples": 4, "prompts_per_step": 4,
        "max_tokens": 8, "sample_prompts": 2, "rewards": '{"source": "function", "path": "half_rewards:only"}',
    }  # fmt: skip
    failed = train("grpo", tmp_path / "fail", **settings)
    assert failed.code == 1 and "half_rewards:only gave nan for the completion" in failed.error
    run = train("grpo", tmp_path / "mask", **settings, on_reward_error="mask", learning_rate=1e-2)
    assert run.code == 0, run.error
    assert run.curve("reward_failures") == [0.5, 0.5] and all(map(math.isfinite, run.curve("loss")))
    assert "completions are left out" in run.of_kind("message")[0]["text"]


@pytest.mark.parametrize("preset", ["rloo", "ppo", "grpo"])
def test_the_update_does_not_see_a_masked_completion(preset, tmp_path):
    """The same weights and curves come out whatever its advantage, its value and its old probability are."""

    def score(indices, groups):
        scores = torch.tensor([[float(len(c.ids)) for c in group] for group in groups])
        scores[0, 0] = math.nan
        return scores

    settings = settings_of(preset, tmp_path, entropy_bonus=0.1)
    weights, curves = [], []
    for shift in (0.0, 3.0):
        actors = make_actors(value=preset == "ppo")
        machine, position, rollout = first_round(settings, actors, score)
        credit = assign_credit(rollout, settings, position.beta)
        assert rollout.counted.tolist() == [False] + [True] * 15
        assert rollout.rewards[0] == 0
        for table in (credit.advantages, credit.value_targets, rollout.values, rollout.logprobs):
            if table is not None:
                assert table.isfinite().all()
                table[0] += shift
        list(update(actors, make_optimizer(actors, settings), credit, position, settings, machine))
        weights.append(torch.cat([parameter.flatten() for parameter in actors.trained().parameters()]))
        explained = describe(rollout, credit.value_targets).get("explained_variance")
        curves.append(position.round.metrics(machine) | {"explained_variance": explained})
    assert torch.equal(*weights)
    assert curves[0] == curves[1]


def test_a_minibatch_without_any_reward_is_no_optimizer_step(tmp_path):
    """Of four prompts one has no score at all, and each is a minibatch of its own."""

    def score(indices, groups):
        scores = torch.tensor([[float(len(c.ids)) for c in group] for group in groups])
        scores[2] = math.nan
        return scores

    metrics = learn(settings_of("ppo", tmp_path, steps=1, minibatches=4, epochs=2), make_actors(), score)
    assert metrics["optimizer_steps"] == 6


def test_a_reward_model_that_is_none_is_refused_before_anything_is_drawn(models, tmp_path):
    settings = {"model": models["policy"], "prompts": models["prompts"], "max_tokens": 4, "samples": 2}
    run = train("best_of_n", tmp_path / "policy", **settings, reward_model=models["policy"])
    assert run.code == 2 and "is no reward model: it has no head that was trained" in run.error
    save_model(load_reward_model(models["policy"], seed=1), load_tokenizer(models["policy"]), tmp_path / "bare")
    for path in (tmp_path / "bare").glob("*token*"):
        path.unlink()
    run = train("best_of_n", tmp_path / "bare_run", **settings, reward_model=tmp_path / "bare")
    assert run.code == 2 and "there is no tokenizer.json in it" in run.error and "bare" in run.error


def test_another_tokenizer_is_said_once(models, tmp_path):
    tokenizer = load_tokenizer(models["policy"])
    tokenizer.chat_template = "A chat: " + tokenizer.chat_template
    save_model(load_reward_model(models["policy"], seed=1), tokenizer, tmp_path / "reward")
    settings = {"model": models["policy"], "prompts": models["prompts"], "max_tokens": 4, "samples": 2}
    for reward_model, times in ((models["reward"], 0), (tmp_path / "reward", 1)):
        run = train("best_of_n", tmp_path / f"run{times}", **settings, reward_model=reward_model)
        said = [event for event in run.of_kind("message") if "encoded anew by its own tokenizer" in event["text"]]
        assert run.code == 0 and len(said) == times
