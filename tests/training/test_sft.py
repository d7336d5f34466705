"""Supervised fine-tuning: which tokens count and how much, however the batch is split; what is learned and reported."""

import dataclasses
import json
import random
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer
from transformers.models.llama.modeling_llama import LlamaAttention

from tests.training.runs import train, write_lines
from tests.training.tiny import make_gpt2, make_llama, save_tiny
from training.checkpoints import load_newest
from training.config import resolve
from training.loop import batches_of_run
from training.recipes.sft import SFTObjective


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return save_tiny(tmp_path_factory.mktemp("llama"))


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Answers of very different lengths, so that a mean over rows or over parts would differ from one over tokens."""
    rng = random.Random(1)
    rows = [
        {"prompt": f"Count to {n}" + "." * rng.randrange(20), "completion": " ".join(map(str, range(n)))}
        for n in (rng.randrange(1, 12) for _ in range(24))
    ]
    return write_lines(tmp_path_factory.mktemp("data") / "rows.jsonl", rows)


def few_steps(tmp_path, model, data, **settings):
    settings = {
        "batch_size": 8, "learning_rate": 3e-3, "heldout": 0, "sample_prompts": 0, "max_steps": 5, "epochs": 2,
    } | settings  # fmt: skip
    return train("sft", tmp_path, model=model, data=data, **settings)


def test_the_loss_is_the_mean_over_completion_tokens_of_the_whole_batch(tmp_path, model, data):
    """Against transformers' own model on each row alone, unpadded."""
    run = few_steps(tmp_path, model, data, batch_size=24, max_steps=1)
    tokenizer = AutoTokenizer.from_pretrained(model)
    plain = AutoModelForCausalLM.from_pretrained(model)
    total = count = 0
    for row in map(json.loads, Path(data).read_text().splitlines()):
        prompt = tokenizer(f"<|user|>{row['prompt']}<|assistant|>", add_special_tokens=False).input_ids
        answer = [*tokenizer(row["completion"], add_special_tokens=False).input_ids, tokenizer.eos_token_id]
        ids = torch.tensor([prompt + answer])
        with torch.no_grad():
            logprobs = plain(ids).logits[0].log_softmax(-1)
        for place, token in enumerate(answer):
            total -= logprobs[len(prompt) - 1 + place, token].item()
        count += len(answer)
    assert run.curve("loss") == [pytest.approx(total / count, abs=1e-5)]


@pytest.mark.parametrize("architecture", [make_llama, make_gpt2])
def test_splitting_a_batch_changes_nothing(tmp_path, data, architecture):
    """One part of eight rows equals eight parts of one, in packed rows (Llama) and in padded ones (GPT-2)."""
    start = save_tiny(tmp_path / "start", architecture())
    whole = few_steps(tmp_path / "whole", start, data, tokens_per_batch=100_000)
    parts = few_steps(tmp_path / "parts", start, data, tokens_per_batch=1)
    assert whole.code == parts.code == 0
    assert whole.curve("loss") == pytest.approx(parts.curve("loss"), abs=2e-6)
    assert whole.curve("grad_norm") == pytest.approx(parts.curve("grad_norm"), rel=1e-4)
    for name, weight in whole.weights.items():
        torch.testing.assert_close(parts.weights[name], weight, rtol=0, atol=1e-4)


def test_it_learns_the_answer_and_its_end(tmp_path, model):
    rows = [{"prompt": f"Say {word}", "completion": word} for word in ("yes", "no", "perhaps") for _ in range(4)]
    data = write_lines(tmp_path / "rows.jsonl", rows)
    run = train(
        "sft", tmp_path / "run", model=model, data=data, learning_rate=0.02, epochs=60, batch_size=12, heldout=0,
        sample_prompts=3, sample_tokens=20,
    )  # fmt: skip
    (samples,) = run.of_kind("samples")
    assert {row["after"] for row in samples["rows"]} == {"yes", "no", "perhaps"}
    assert all(row["before"] != row["after"] for row in samples["rows"])
    assert run.metrics["loss"] < 0.05


def test_the_saved_model_is_the_trained_one_to_any_loader(tmp_path, model, data):
    run = few_steps(tmp_path, model, data, heldout=data)
    again = train(
        "sft", tmp_path / "again", model=run.output / "model", data=data, heldout=data, learning_rate=0,
        sample_prompts=0, max_steps=1,
    )  # fmt: skip
    assert again.metrics["loss_heldout"] == pytest.approx(run.metrics["loss_heldout"], abs=1e-5)
    assert AutoModelForCausalLM.from_pretrained(run.output / "model").config._attn_implementation == "sdpa"


def test_of_preferences_the_chosen_responses_are_learned(tmp_path, model):
    both = write_lines(tmp_path / "p.jsonl", [{"prompt": "a", "chosen": "b", "rejected": "c"}] * 3)
    only = write_lines(tmp_path / "d.jsonl", [{"prompt": "a", "completion": "b"}] * 3)
    runs = [few_steps(tmp_path / str(i), model, data) for i, data in enumerate((both, only))]
    assert runs[0].curve("loss") == runs[1].curve("loss")


def test_shortened_and_dropped_rows_are_counted(tmp_path, model):
    rows = [
        {"prompt": "short", "completion": "fine"},
        {"prompt": "p" * 100, "completion": "fine"},
        {"prompt": "short", "completion": "c" * 100},
    ]
    run = few_steps(tmp_path / "run", model, write_lines(tmp_path / "rows.jsonl", rows), max_length=50)
    told = [event["text"] for event in run.of_kind("message") if event["level"] == "warning"]
    assert told == [
        "training data: 1 of 3 prompts lost their start to fit max_length=50 (rows 2)",
        "training data: 1 of 3 rows left out, a response alone is longer than max_length=50 (rows 3)",
    ]
    too_long = few_steps(tmp_path / "none", model, write_lines(tmp_path / "long.jsonl", rows[2:]), max_length=50)
    assert too_long.code == 2
    assert "longer than max_length=50" in too_long.error


def test_lora_trains_little_and_saves_a_plain_model(tmp_path, model, data):
    run = few_steps(tmp_path, model, data, lora_rank=4, lora_alpha=8, learning_rate=0.01)
    assert run.code == 0
    loaded = AutoModelForCausalLM.from_pretrained(run.output / "model")
    before = AutoModelForCausalLM.from_pretrained(model)
    assert loaded.state_dict().keys() == before.state_dict().keys()
    assert torch.equal(loaded.lm_head.weight, before.lm_head.weight)
    difference = loaded.model.layers[0].self_attn.q_proj.weight - before.model.layers[0].self_attn.q_proj.weight
    assert torch.linalg.matrix_rank(difference, rtol=1e-4).item() == 4
    assert run.curve("loss")[-1] < run.curve("loss")[0]


def test_gradient_checkpointing_computes_twice_and_changes_nothing(tmp_path, model, data, monkeypatch):
    calls = []
    forward = LlamaAttention.forward
    monkeypatch.setattr(LlamaAttention, "forward", lambda *args, **kw: calls.append(1) or forward(*args, **kw))
    plain = few_steps(tmp_path / "plain", model, data)
    computed = len(calls)
    checkpointed = few_steps(tmp_path / "checkpointed", model, data, gradient_checkpointing=True)
    assert len(calls) - computed > 1.5 * computed
    assert checkpointed.curve("loss") == pytest.approx(plain.curve("loss"), abs=1e-6)


def test_bf16_computes_roughly_and_keeps_fp32_weights(tmp_path, model, data):
    exact = few_steps(tmp_path / "fp32", model, data)
    rough = few_steps(tmp_path / "bf16", model, data, precision="bf16")
    assert rough.curve("loss") == pytest.approx(exact.curve("loss"), abs=0.03)
    assert rough.curve("loss") != exact.curve("loss")
    assert {weight.dtype for weight in rough.weights.values()} == {torch.float32}
    # Weights rounded to bf16 could not hold a step this small.
    small = few_steps(tmp_path / "small", model, data, precision="bf16", learning_rate=1e-6, max_steps=1)
    before = AutoModelForCausalLM.from_pretrained(model).state_dict()
    moved = max((small.weights[name] - weight).abs().max().item() for name, weight in before.items())
    assert 0 < moved < 2e-6


def test_dropout_is_off_unless_asked_for(tmp_path, data):
    """GPT-2's own configuration asks for 0.1, which would make two evaluations of one batch differ."""
    start = save_tiny(tmp_path / "start", make_gpt2())
    kept = few_steps(tmp_path / "kept", start, data, heldout=data, learning_rate=0, batch_size=24, max_steps=1)
    assert kept.metrics["loss"] == pytest.approx(kept.metrics["loss_heldout"], abs=1e-5)
    dropped = few_steps(
        tmp_path / "dropped", start, data, heldout=data, learning_rate=0, batch_size=24, max_steps=1, dropout=0.3
    )
    assert abs(dropped.metrics["loss"] - dropped.metrics["loss_heldout"]) > 1e-3


def test_a_loss_that_is_not_finite_stops_the_run_and_names_the_rows(tmp_path, model, data, monkeypatch):
    sound, parts = SFTObjective.forward, []

    def overflows_after_one_step(self, batch):
        parts.append(batch)
        loss, metrics = sound(self, batch)
        return (loss * torch.inf if len(parts) > 2 else loss), metrics

    monkeypatch.setattr(SFTObjective, "forward", overflows_after_one_step)
    run = few_steps(tmp_path, model, data, batch_size=2, checkpoint_every=1, tokens_per_batch=1)
    assert run.code == 1
    assert "the loss is not finite at step 2" in run.error
    assert "rows" in run.error
    assert not (run.output / "model").exists()
    _, state = load_newest(run.output)
    assert state["step"] == 1


@pytest.mark.parametrize("checkpoint_every", [0, 1])
def test_weights_that_a_step_ruined_are_neither_checkpoint_nor_model(tmp_path, model, data, checkpoint_every):
    """Nothing is computed with them any more, so no loss would tell."""
    run = few_steps(tmp_path, model, data, learning_rate=1e30, max_steps=1, checkpoint_every=checkpoint_every)
    assert run.code == 1
    assert "the weights are not finite after step 1, on a batch of the data's rows" in run.error
    assert not (run.output / "model").exists()
    assert not list(run.output.glob("checkpoints/step-*"))


def test_running_out_of_memory_says_what_to_lower(tmp_path, model, data, monkeypatch):
    def refuse(self, batch):
        raise RuntimeError("[enforce fail at alloc_cpu.cpp:117] DefaultCPUAllocator: can't allocate memory")

    monkeypatch.setattr(SFTObjective, "forward", refuse)
    run = few_steps(tmp_path, model, data, tokens_per_batch=777)
    assert run.code == 1
    assert "out of memory at step 1" in run.error
    assert "lower tokens_per_batch=777" in run.error


def test_the_longest_row_is_in_the_first_batch_and_every_row_once_an_epoch():
    config = resolve(
        "sft", None, {"output": "o", "model": "m", "data": "d", "batch_size": "4", "epochs": "3", "heldout": "0"}
    )
    costs = [5, 3, 9, 40, 2, 8, 7, 6, 1, 4]
    steps = list(batches_of_run(costs, config))
    assert 3 in steps[0]
    epochs = [[index for step in steps[start : start + 3] for index in step] for start in (0, 3, 6)]
    assert all(sorted(epoch) == list(range(10)) for epoch in epochs)
    assert epochs[1] != epochs[2]
    assert list(batches_of_run(costs, config, 4)) == steps[4:]
    assert list(batches_of_run(costs, dataclasses.replace(config, max_steps=2))) == steps[:2]
