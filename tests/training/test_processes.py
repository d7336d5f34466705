"""Two processes (gloo, on the CPU) give the losses and the weights of one."""

import json
import os
import random
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from tests.training.runs import Run, arguments, train, write_lines
from tests.training.tiny import save_tiny

ROOT = Path(__file__).resolve().parents[2]
RECIPES = ["sft", "reward", "dpo"]

SETTINGS = {
    "batch_size": 6, "learning_rate": 1e-3, "heldout": 0.2, "max_steps": 4,
    "tokens_per_batch": 120, "checkpoint_every": 2,
}  # fmt: skip


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return save_tiny(tmp_path_factory.mktemp("llama"))


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


# One start of two processes for all recipes: most of the time goes into starting them.
SCRIPT = """
import json, sys
from training.__main__ import main
for arguments in json.loads(sys.argv[1]):
    if code := main(arguments):
        sys.exit(code)
"""


@pytest.fixture(scope="module")
def two_processes(tmp_path_factory, model, data):
    root = tmp_path_factory.mktemp("two")
    (root / "script.py").write_text(SCRIPT)
    runs = [arguments(recipe, root / recipe, model=model, data=data, **SETTINGS) for recipe in RECIPES]
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2"]
    done = subprocess.run(
        [*command, str(root / "script.py"), json.dumps(runs)],
        capture_output=True,
        text=True,
        timeout=600,
        env=os.environ | {"OMP_NUM_THREADS": "1", "ACCELERATE_USE_CPU": "true", "PYTHONPATH": str(ROOT)},
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return root


@pytest.mark.slow
@pytest.mark.parametrize("recipe", RECIPES)
def test_two_processes_are_one(tmp_path, model, data, two_processes, recipe):
    two, one = Run(0, two_processes / recipe), train(recipe, tmp_path, model=model, data=data, **SETTINGS)
    assert one.code == 0
    assert two.curve("loss") == pytest.approx(one.curve("loss"), abs=1e-5)
    assert two.curve("grad_norm") == pytest.approx(one.curve("grad_norm"), rel=1e-4)
    assert two.metrics["loss_heldout"] == pytest.approx(one.metrics["loss_heldout"], abs=1e-5)
    for name, weight in one.weights.items():
        torch.testing.assert_close(two.weights[name], weight, rtol=0, atol=1e-4)
    assert len(two.of_kind("start")) == 1, "only the first process writes"
