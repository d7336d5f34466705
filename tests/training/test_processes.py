"""Two processes (gloo, on the CPU) give the losses and the weights of one, with whole copies and with shards."""

import json
import random
from pathlib import Path

import pytest
import torch

from tests.training.runs import Run, arguments, in_two_processes, train, write_lines
from tests.training.tiny import save_tiny
from training.models import load_reward_model, load_tokenizer, save_model

RECIPES = ["sft", "reward", "dpo"]
SHARDING = ["none", "fsdp"]

SETTINGS = {
    "batch_size": 6, "learning_rate": 1e-3, "heldout": 0.2, "max_steps": 4,
    "tokens_per_batch": 120, "checkpoint_every": 2,
}  # fmt: skip


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A policy, and beside it a reward model."""
    policy = save_tiny(tmp_path_factory.mktemp("llama"))
    save_model(load_reward_model(policy), load_tokenizer(policy), f"{policy}-reward")
    return policy


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Rows of uneven length and weight, so that two processes never have the same share of a batch."""
    rng = random.Random(0)
    rows = [
        {
            "prompt": f"Say {n}" * rng.randrange(1, 4), "chosen": "yes " * rng.randrange(1, 9), "rejected": "no",
            "weight": rng.choice([0.5, 1, 3]),
        }
        for n in range(21)
    ]  # fmt: skip
    return write_lines(tmp_path_factory.mktemp("data") / "rows.jsonl", rows)


# One start of two processes for all runs: most of the time goes into starting them. The last run is begun twice, and
# the second time goes on from its checkpoint of step 2, as if it had been killed in step 3.
SCRIPT = """
import json, sys
import torch
from training.__main__ import main
*runs, interrupted = json.loads(sys.argv[1])
for arguments in [*runs, interrupted, interrupted]:
    if code := main(arguments):
        sys.exit(code)
    torch.distributed.barrier()
"""

DROPOUT = SETTINGS | {"dropout": 0.1, "sharding": "fsdp", "sample_prompts": 0}


@pytest.fixture(scope="module")
def two_processes(tmp_path_factory, model, data):
    root = tmp_path_factory.mktemp("two")
    runs = [
        arguments(recipe, root / f"{recipe}-{sharding}", model=model, data=data, sharding=sharding, **SETTINGS)
        for recipe in RECIPES
        for sharding in SHARDING
    ]
    runs += [arguments(recipe, root / recipe, **settings) for recipe, settings in sampling(model, data).items()]
    runs += [arguments("sft", root / name, model=model, data=data, **DROPOUT) for name in ("whole", "interrupted")]
    in_two_processes(SCRIPT, root, json.dumps(runs))
    return root


@pytest.mark.slow
@pytest.mark.parametrize("sharding", SHARDING)
@pytest.mark.parametrize("recipe", RECIPES)
def test_two_processes_are_one(tmp_path, model, data, two_processes, recipe, sharding):
    two = Run(0, two_processes / f"{recipe}-{sharding}")
    one = train(recipe, tmp_path, model=model, data=data, **SETTINGS)
    assert one.code == 0
    assert two.curve("loss") == pytest.approx(one.curve("loss"), abs=1e-5)
    assert two.curve("grad_norm") == pytest.approx(one.curve("grad_norm"), rel=1e-4)
    assert two.metrics["loss_heldout"] == pytest.approx(one.metrics["loss_heldout"], abs=1e-5)
    assert two.weights.keys() == one.weights.keys()
    for name, weight in one.weights.items():
        torch.testing.assert_close(two.weights[name], weight, rtol=0, atol=1e-4)
    assert len(two.of_kind("start")) == 1, "only the first process writes"


@pytest.mark.slow
def test_a_sharded_run_that_goes_on_equals_an_uninterrupted_one(two_processes):
    """With dropout, for which every process has random numbers of its own."""
    whole, interrupted = (Run(0, two_processes / name) for name in ("whole", "interrupted"))
    assert [event["resumed_from"] for event in interrupted.of_kind("start")] == [None, 2]
    for name, weight in whole.weights.items():
        assert torch.equal(interrupted.weights[name], weight), name


@pytest.mark.slow
@pytest.mark.parametrize("recipe", ["generate", "score", "best_of_n", "rejection", "online_dpo"])
def test_two_processes_sample_and_score_as_one(tmp_path, model, data, two_processes, recipe):
    two = Run(0, two_processes / recipe)
    one = train(recipe, tmp_path, **sampling(model, data)[recipe])
    assert one.code == 0
    for name in ("loss", "reward"):
        assert two.curve(name) == pytest.approx(one.curve(name), abs=1e-5)
    for name in ("responses.jsonl", "scores.jsonl"):
        assert (two.output / name).exists() == (tmp_path / name).exists()
        if (tmp_path / name).exists():
            assert texts_of(two.output / name) == texts_of(tmp_path / name)


def sampling(model, data) -> dict:
    """Settings of the recipes that sample or score, with answers long enough that some end by themselves."""
    reward = f"{model}-reward"
    asked = {"model": model, "prompts": data, "max_tokens": 120, "samples": 4}
    learned = asked | {"reward_model": reward, "rounds": 2, "prompts_per_round": 6, "learning_rate": 1e-3}
    return {
        "generate": asked | {"max_tokens": 4},
        "score": {"model": reward, "data": data},
        "best_of_n": asked | {"max_tokens": 4, "reward_model": reward},
        "rejection": learned,
        "online_dpo": learned,
    }


def texts_of(path: Path) -> list:
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    return [[response["text"] for response in row["responses"]] for row in rows]


def test_one_process_is_told_that_it_has_nothing_to_share(tmp_path, model, data):
    run = train("sft", tmp_path, model=model, data=data, sharding="fsdp")
    assert run.code == 2
    assert "sharding=fsdp spreads a model over processes" in run.error
