"""Rejection sampling and best-of-n: which completions are kept, what they cost in KL, and the recipe as a whole."""

import json
import math
from itertools import combinations

import pytest
import torch
from safetensors.torch import load_file

from tests.training.tiny import save_tiny
from training.answering import Answer
from training.config import resolve
from training.errors import TrainingError
from training.models import load_reward_model, load_tokenizer, save_model
from training.recipes.rejection import select
from training.records import Prompt
from training.selection import best_of_n_kl, best_overall, best_per_prompt, expected_best

# Five prompts with four completions each.
TABLE = torch.tensor(
    [[0.7, 0.3, 0.5, 0.2], [0.4, 0.8, 0.6, 0.5], [0.9, 0.3, 0.4, 0.7], [0.2, 0.5, 0.8, 0.6], [0.5, 0.4, 0.3, 0.6]]
)


def test_the_best_of_each_prompt():
    assert [completion + 1 for _, completion in best_per_prompt(TABLE)] == [1, 2, 1, 3, 4]


def test_the_best_of_all_may_leave_a_prompt_out():
    chosen = best_overall(TABLE, 5)
    assert chosen[0] == (2, 0)
    assert set(chosen) == {(2, 0), (1, 1), (3, 2), (0, 0), (2, 3)}  # prompt 3 twice, prompt 5 not at all


def test_a_forbidden_completion_is_never_chosen():
    scores = torch.tensor([[1.0, -math.inf], [-math.inf, -math.inf]])
    assert best_per_prompt(scores) == [(0, 0)]
    assert best_overall(scores, 4) == [(0, 0)]


def test_best_of_n_costs_at_most_so_much_kl():
    assert best_of_n_kl(1) == 0
    assert best_of_n_kl(4) == pytest.approx(1.3862943611 - 0.75)


def test_expected_best_is_the_mean_over_all_subsets():
    for k in (1, 2, 3, 4):
        by_hand = [sum(max(subset) for subset in combinations(row, k)) / math.comb(4, k) for row in TABLE.tolist()]
        assert expected_best(TABLE, k).tolist() == pytest.approx(by_hand)


# --- what of the answers is learned -----------------------------------------------------------------------------------

PROMPTS = [Prompt([{"role": "user", "content": text}]) for text in "ab"]


def config(**settings):
    return resolve(
        "rejection",
        None,
        {"output": "x", "model": "m", "reward_model": "r", "prompts": "p", **settings},
    )


def answers(*groups):
    return [[Answer(text.rstrip("…"), len(text), text.endswith("…")) for text in group] for group in groups]


def test_cut_off_empty_and_repeated_answers_are_not_learned():
    groups = answers(["long…", "good", "good"], ["", "fine", "bad"])
    scores = torch.tensor([[9.0, 2.0, 2.0], [8.0, 1.0, 0.0]])
    kept, metrics = select(PROMPTS, groups, scores, config())
    assert [row.completion for row in kept] == ["good", "fine"]
    assert metrics["reward_kept"] == 1.5 and metrics["kept"] == 2 and metrics["truncated"] == pytest.approx(1 / 6)
    kept, _ = select(PROMPTS, groups, scores, config(keep="overall", keep_count=3))
    assert [(row.messages[0]["content"], row.completion) for row in kept] == [
        ("a", "good"),
        ("b", "fine"),
        ("b", "bad"),
    ]


def test_nothing_to_learn_from_is_said():
    with pytest.raises(TrainingError, match="max_tokens=64"):
        select(PROMPTS, answers(["x…"], [""]), torch.zeros(2, 1), config())


# --- the recipe -------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    root = tmp_path_factory.mktemp("models")
    policy = save_tiny(root / "policy")
    save_model(load_reward_model(policy, seed=1), load_tokenizer(policy), root / "reward")
    prompts = root / "prompts.jsonl"
    prompts.write_text("".join(json.dumps({"prompt": f"say {i}"}) + "\n" for i in range(6)))
    return {"model": policy, "reward_model": str(root / "reward"), "prompts": str(prompts), "device": "cpu"}


def run(recipe, output, settings):
    from training.__main__ import execute
    from training.events import EventLog

    output.mkdir(parents=True, exist_ok=True)
    log = EventLog(output)
    code = execute(recipe, resolve(recipe, None, {**settings, "output": str(output), "precision": "fp32"}), log)
    return code, [json.loads(line) for line in (output / "events.jsonl").read_text().splitlines()]


SETTINGS = {"samples": 6, "max_tokens": 150, "learning_rate": 1e-2, "batch_size": 3, "rounds": 2, "seed": 1}


def test_two_rounds_learn_the_kept_answers_and_leave_a_model(models, tmp_path):
    code, events = run("rejection", tmp_path / "run", {**models, **SETTINGS})
    assert code == 0, events[-1]
    curves = [event["values"] for event in events if event["kind"] == "metrics"]
    losses = [values["loss"] for values in curves if "loss" in values]
    assert losses[-1] < losses[0]
    selections = [values for values in curves if "reward_kept" in values]
    assert len(selections) == 2
    assert all(values["reward_kept"] > values["reward"] for values in selections)
    rows = [event["rows"] for event in events if event["kind"] == "samples"][-1]
    assert {"prompt", "before", "after", "reward_before", "reward_after"} <= rows[0].keys()
    assert (tmp_path / "run" / "model" / "model.safetensors").is_file()
    assert [event["step"] for event in events] == sorted(event["step"] for event in events)


def test_low_rank_updates_of_every_round_are_merged(models, tmp_path):
    """Two rounds of rank 1, merged one after the other: matrices move by a rank of two at most."""
    code, events = run("rejection", tmp_path / "run", {**models, **SETTINGS, "lora_rank": 1})
    assert code == 0, events[-1]
    before = load_file(f"{models['model']}/model.safetensors")
    after = load_file(tmp_path / "run" / "model" / "model.safetensors")
    assert after.keys() == before.keys()
    moved = [torch.linalg.svdvals(after[name] - weight) for name, weight in before.items() if weight.dim() == 2]
    assert max(int((values > 1e-5).sum()) for values in moved) == 2


def test_a_run_goes_on_after_its_last_whole_round(models, tmp_path):
    run("rejection", tmp_path / "whole", {**models, **SETTINGS})
    run("rejection", tmp_path / "again", {**models, **SETTINGS})
    _, events = run("rejection", tmp_path / "again", {**models, **SETTINGS})  # only the checkpoint of round 1 is there
    start = [event for event in events if event["kind"] == "start"][-1]
    assert start["resumed_from"] == 6 + 2
    whole, again = (load_file(tmp_path / name / "model" / "model.safetensors") for name in ("whole", "again"))
    assert whole.keys() == again.keys() and all(torch.equal(whole[name], again[name]) for name in whole)


def test_best_of_n_writes_the_best_answers_with_their_scores(models, tmp_path):
    code, _ = run("best_of_n", tmp_path, {**models, "samples": 4, "max_tokens": 8})
    assert code == 0
    rows = [json.loads(line) for line in (tmp_path / "responses.jsonl").read_text().splitlines()]
    assert len(rows) == 6 and all(len(row["responses"]) == 1 for row in rows)
    metrics = json.loads((tmp_path / "metrics.json").read_text())
    mean = sum(row["responses"][0]["score"] for row in rows) / 6
    assert metrics["reward"] == pytest.approx(mean, rel=1e-5) == pytest.approx(metrics["reward_of_4"], rel=1e-5)
    assert metrics["reward_of_1"] < metrics["reward_of_2"] < metrics["reward_of_4"]
    assert metrics["kl"] == pytest.approx(math.log(4) - 3 / 4)
