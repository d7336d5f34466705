"""A run with a list of rewards and judges, as it is started from a config, resumes bit for bit."""

import json

import pytest
import torch
from safetensors.torch import load_file

from tests.training.test_policy_resume import curves, stop_at
from tests.training.tiny import save_tiny
from training.__main__ import execute
from training.config import resolve
from training.events import EventLog

RULES = {
    "rewards": [
        {"source": "length_penalty", "characters": 2, "penalty": 0.1},
        {"source": "regex", "pattern": "[aeiou]", "weight": 2},
    ],
    "judges": [{"source": "max_length", "characters": 9}],
}


@pytest.mark.parametrize("question", [2, 4])
def test_sources_by_their_settings_resume_bit_for_bit(question, tmp_path, monkeypatch):
    policy = save_tiny(tmp_path / "policy")
    prompts = tmp_path / "prompts.jsonl"
    prompts.write_text("".join(json.dumps({"prompt": f"say {i}"}) + "\n" for i in range(6)))

    def run(name: str) -> int:
        output = tmp_path / name
        output.mkdir(exist_ok=True)
        settings = {
            "model": policy, "prompts": str(prompts), "output": str(output), "device": "cpu", "precision": "fp32",
            "steps": 3, "prompts_per_step": 2, "samples": 4, "max_tokens": 8, "learning_rate": 1e-2,
            "sample_prompts": 0, **RULES,
        }  # fmt: skip
        return execute("cgpo", resolve("cgpo", None, settings), EventLog(output))

    assert run("whole") == 0
    with monkeypatch.context() as patch:
        stop_at(patch, question)
        assert run("again") == 143
    assert run("again") == 0
    whole, again = (load_file(tmp_path / name / "model" / "model.safetensors") for name in ("whole", "again"))
    assert all(torch.equal(whole[name], again[name]) for name in whole)
    expected = curves(tmp_path / "whole")
    assert {"reward_regex", "reward_length_penalty", "passed_max_length"} <= expected[0].keys()
    assert curves(tmp_path / "again") == expected
