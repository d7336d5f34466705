"""Prompts longer than max_prompt_length, and than the model has positions: said, or refused, before the first round."""

import json

import pytest
from transformers import GPT2Config, GPT2LMHeadModel

from tests.training.runs import train, write_lines
from tests.training.tiny import make_llama, save_tiny

RULE = json.dumps([{"source": "length_penalty", "tokens": 0}])
SMALL = {"rewards": RULE, "steps": 1, "prompts_per_step": 2, "samples": 2, "max_tokens": 8, "sample_prompts": 1}


@pytest.fixture
def prompts(tmp_path):
    return write_lines(tmp_path / "prompts.jsonl", [{"prompt": "x" * length} for length in (10, 60, 20, 80)])


def test_prompts_that_lose_their_start_are_counted_and_said(tmp_path, prompts):
    """Beside 60 and 80 bytes the template has two tokens."""
    model = save_tiny(tmp_path / "m")
    run = train("grpo", tmp_path / "run", model=model, prompts=prompts, max_prompt_length=30, **SMALL)
    (said,) = [event["text"] for event in run.of_kind("message") if "lost their start" in event["text"]]
    assert run.code == 0
    assert "2 of 4 prompts" in said and "max_prompt_length=30 (rows 2, 4; the longest has 82 tokens)" in said


def test_a_model_of_learned_positions_refuses_what_is_longer(tmp_path, prompts, capsys):
    config = GPT2Config(
        vocab_size=261, n_embd=32, n_layer=1, n_head=2, n_positions=64, pad_token_id=0, eos_token_id=1, bos_token_id=1
    )
    model = save_tiny(tmp_path / "m", GPT2LMHeadModel(config))
    refused = train("grpo", tmp_path / "run", model=model, prompts=prompts, **SMALL)
    assert refused.code == 2
    assert "comes to 90 tokens, and the model has 64 positions: lower max_tokens" in capsys.readouterr().err
    assert train("grpo", tmp_path / "run", model=model, prompts=prompts, max_prompt_length=56, **SMALL).code == 0


def test_a_model_of_rotary_positions_goes_past_them_and_says_so(tmp_path, prompts):
    llama = make_llama()
    llama.config.max_position_embeddings = 64
    run = train("grpo", tmp_path / "run", model=save_tiny(tmp_path / "m", llama), prompts=prompts, **SMALL)
    assert run.code == 0
    assert any("the model has 64 positions" in event["text"] for event in run.of_kind("message"))
