"""Online DPO: pairs of the policy's own best and worst answers, round after round, up the reward model's slope."""

import math
from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import load_file

from tests.training.runs import train, write_lines
from tests.training.tiny import save_tiny
from training import checkpoints
from training.answering import Answer
from training.recipes import online_preference
from training.recipes.online_preference import best_and_worst
from training.records import Preference, Prompt

ASK = [{"role": "user", "content": "?"}]


def test_the_best_and_the_worst_whole_answers_make_a_pair():
    def answer(text, truncated=False):
        return Answer(text, len(text), truncated)

    answers = [
        [answer("a"), answer("b"), answer("c"), answer("d", truncated=True)],
        [answer("same"), answer("same"), answer(""), answer("cut", truncated=True)],
        [answer("x"), answer("y"), answer("z"), answer("z")],
    ]
    scores = torch.tensor([[0.5, 2.0, -1.0, 9.0], [1.0, 1.0, 5.0, -5.0], [0.0, 0.0, 0.0, 0.0]])
    assert best_and_worst([Prompt(ASK)] * 3, answers, scores) == [Preference(ASK, "b", "c")]


@pytest.fixture(scope="module")
def start(tmp_path_factory):
    """A policy that answers a, b or c and ends, and a reward model that loves a: (policy, reward model, prompts)."""
    root = tmp_path_factory.mktemp("start")
    model = save_tiny(root / "model")
    rows = [{"prompt": f"Say {n}", "completion": letter * 2} for n in range(4) for letter in "abc"]
    policy = train(
        "sft", root / "sft", model=model, data=write_lines(root / "d.jsonl", rows), learning_rate=0.01, epochs=40,
        batch_size=12, heldout=0, sample_prompts=0,
    )  # fmt: skip
    rows = [{"prompt": f"Say {n}", "chosen": "aa", "rejected": other} for n in range(4) for other in ("bb", "cc", "ac")]
    reward = train(
        "reward", root / "reward", model=model, data=write_lines(root / "p.jsonl", rows), learning_rate=0.003,
        epochs=10, heldout=0,
    )  # fmt: skip
    prompts = write_lines(root / "prompts.jsonl", [{"prompt": f"Say {n}"} for n in range(4)] * 4)
    return policy.output / "model", reward.output / "model", prompts


def online(output, start, **settings):
    policy, reward_model, prompts = start
    settings = {"rounds": 3, "samples": 6, "max_tokens": 8, "learning_rate": 0.002, "batch_size": 8} | settings
    return train("online_dpo", output, model=policy, reward_model=reward_model, prompts=prompts, **settings)


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory, start):
    return online(tmp_path_factory.mktemp("online"), start)


def test_the_reward_rises_from_round_to_round(uninterrupted):
    assert uninterrupted.code == 0
    rewards = uninterrupted.curve("reward")
    assert len(rewards) == 3
    assert rewards[0] < rewards[1] < rewards[2]
    last = uninterrupted.of_kind("samples")[-1]["rows"]
    assert all(row["after"].startswith("a") and row["reward_after"] >= row["reward_before"] for row in last)


def test_a_run_goes_on_from_its_last_round(tmp_path, start, uninterrupted, monkeypatch):
    def die(*args):
        raise RuntimeError("killed")

    with monkeypatch.context() as patch:
        save_round = checkpoints.save_round
        patch.setattr(checkpoints, "save_round", lambda *args: (save_round(*args), args[1] == 2 and die()))
        assert online(tmp_path, start).code == 1
    resumed = online(tmp_path, start)
    assert resumed.of_kind("start")[-1]["resumed_from"] > 0
    assert resumed.curve("reward") == uninterrupted.curve("reward")
    for name, weight in uninterrupted.weights.items():
        assert torch.equal(resumed.weights[name], weight)


def test_low_rank_updates_need_no_second_model_and_are_merged(tmp_path, start, monkeypatch):
    """Three rounds of the same updates: every matrix moves by at most their rank, from a reference that stays."""

    def copied(model):
        raise AssertionError("a second model was made")

    monkeypatch.setattr(online_preference, "copy", SimpleNamespace(deepcopy=copied))
    run = online(tmp_path, start, lora_rank=2, lora_alpha=4, learning_rate=0.01, beta=0.3)
    assert run.code == 0, run.error
    rewards = run.curve("reward")
    assert rewards[0] < rewards[-1]
    # At the first step of the first round policy and reference are one.
    assert run.curve("loss")[0] == pytest.approx(math.log(2), abs=1e-5)
    before = load_file(f"{start[0]}/model.safetensors")
    assert run.weights.keys() == before.keys()
    moved = {name: run.weights[name] - weight for name, weight in before.items()}
    ranks = {name: int((torch.linalg.svdvals(m) > 1e-5).sum()) for name, m in moved.items() if m.dim() == 2}
    assert max(ranks.values()) == 2
    assert ranks["model.embed_tokens.weight"] == 0


def test_answers_all_alike_are_refused_with_a_way_out(tmp_path, start):
    run = online(tmp_path, start, max_tokens=1)
    assert run.code == 1
    assert "no prompt got two different whole answers" in run.error


def test_held_out_rows_have_no_place_here(tmp_path, start):
    run = online(tmp_path, start, heldout=0.1)
    assert run.code == 2
    assert "online_dpo holds nothing out" in run.error
