"""bfloat16 copies of weights compute, float32 weights learn: nothing is lost between them."""

import pytest
import torch
from transformers import LlamaConfig, LlamaForSequenceClassification

from tests.training.runs import train, write_lines
from tests.training.tiny import make_llama, save_tiny
from training import tree_attention
from training.actors import values_of
from training.batching import Example, collate
from training.logprobs import completion_hidden, completion_logprobs, supports_shared_prefix
from training.mixed_precision import halve, halved
from training.records import Prompt
from training.rewards.model import RewardModelSource

BF16 = torch.bfloat16


@pytest.fixture
def data(tmp_path):
    rows = [{"prompt": f"Say {n}", "chosen": "yes " * (n % 5 + 1), "rejected": "no"} for n in range(12)]
    return write_lines(tmp_path / "rows.jsonl", rows)


def test_copies_follow_their_weights_and_go_again():
    model = make_llama()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    with halved(model) as weights:
        assert {parameter.dtype for parameter in model.parameters()} == {BF16}
        assert {parameter.dtype for parameter in weights.parameters()} == {torch.float32}
        assert [name for name, _ in weights.named_parameters()] == [name for name, _ in model.named_parameters()]
        with torch.no_grad():
            for weight in weights.parameters():
                weight += 1e-4  # lost in bfloat16 beside 1, kept in float32
        weights.spread()
    for name, value in model.state_dict().items():
        assert value.dtype == torch.float32
        torch.testing.assert_close(value, before[name] + 1e-4, rtol=0, atol=1e-7)


def test_a_reward_model_in_halves_scores_nearly_the_same(tmp_path):
    torch.manual_seed(0)
    model = LlamaForSequenceClassification(LlamaConfig(**make_llama().config.to_dict() | {"num_labels": 1}))
    exact, halves = (RewardModelSource(save_tiny(tmp_path / "reward", model)) for _ in range(2))
    halve(halves.model)
    assert {parameter.dtype for parameter in halves.model.model.parameters()} == {BF16}
    asked = (
        [Prompt(messages=[{"role": "user", "content": f"Say {n}"}]) for n in (1, 1, 2)],
        ["yes", "no", "longer"],
    )
    expected, scores = exact.score(*asked), halves.score(*asked)
    assert scores.dtype == torch.float32 and not torch.equal(scores, expected)
    torch.testing.assert_close(scores, expected, atol=0.02 * float(expected.abs().max()), rtol=0)


def test_heads_compute_in_float32_under_autocast(tmp_path):
    """Scores near 15 are 1/16 apart in bfloat16: what tells the completions of a prompt apart would be lost."""
    torch.manual_seed(0)
    model = LlamaForSequenceClassification(LlamaConfig(**make_llama().config.to_dict() | {"num_labels": 1})).eval()
    examples = [Example((5, 6), ((7, 1), (8, 9, 1), (10, 1)))]
    batch = collate(examples, 0, shared=False)
    source = RewardModelSource(save_tiny(tmp_path / "reward", model))
    with torch.autocast("cpu", BF16):
        values = values_of(model, batch)
        states = completion_hidden(model.model, batch)
        scores = source.score([Prompt(messages=[{"role": "user", "content": "Say"}])] * 3, ["yes", "no", "longer"])
    assert values.dtype == torch.float32
    torch.testing.assert_close(values, states.float() @ model.score.weight[0].detach(), rtol=1e-6, atol=1e-7)
    for numbers in (values, scores):
        assert not torch.equal(numbers, numbers.bfloat16().float())


def test_gradients_of_parts_are_added_in_float32():
    """256 parts that each give 1, and one of 256: bfloat16 would stop counting at 256."""
    model = make_llama()
    with halved(model) as weights:
        norm = dict(weights.named_parameters())["model.norm.weight"]
        for part in [1.0] * 256 + [256.0]:
            (model.model.norm.weight.sum() * part).backward()
        assert model.model.norm.weight.grad is None
        assert norm.grad.unique().tolist() == [512.0]


def test_group_attention_is_as_near_to_float32_as_attention_by_segment(monkeypatch):
    """Values and gradients of both against float32, in a tree of three completions and one of a single one."""
    model = make_llama()
    assert supports_shared_prefix(model)
    draw = torch.Generator().manual_seed(0)

    def ids(n):
        return tuple(torch.randint(2, 261, (n,), generator=draw).tolist())

    batch = collate([Example(ids(9), (ids(5), ids(7), ids(1))), Example(ids(4), (ids(6),))], 0, shared=True)

    def values_and_gradient():
        logprobs = completion_logprobs(model, batch).float()
        (logprobs * torch.linspace(-1, 1, len(logprobs))).sum().backward()
        return logprobs.detach()

    def run(in_half: bool):
        with halved(model, in_half) as weights:
            weights_of = list(weights.parameters())
            logprobs = values_and_gradient()
            gradient = torch.cat([weight.grad.flatten() for weight in weights_of])
        model.zero_grad()
        return logprobs, gradient

    exact = run(False)
    by_group = run(True)
    monkeypatch.setattr(tree_attention, "MATRIX_GROUP", 0)
    by_segment = run(True)
    for exactly, group, segment in zip(exact, by_group, by_segment, strict=True):
        assert (group - exactly).norm() < 1.3 * (segment - exactly).norm()
        assert (group - exactly).norm() < 0.03 * exactly.norm()


@pytest.mark.parametrize("recipe", ["sft", "reward", "dpo"])
def test_runs_in_bfloat16_follow_those_in_float32(tmp_path, data, recipe):
    model = save_tiny(tmp_path / "model")
    settings = {"model": model, "data": data, "heldout": 0, "batch_size": 4, "learning_rate": 1e-3}
    exact = train(recipe, tmp_path / "fp32", **settings)
    rounded = train(recipe, tmp_path / "bf16", **settings, precision="bf16")
    assert rounded.code == 0
    assert rounded.curve("loss") == pytest.approx(exact.curve("loss"), abs=0.02)
    assert rounded.curve("loss") != exact.curve("loss")
    assert all(weight.dtype == torch.float32 for weight in rounded.weights.values())
    assert any((weight != weight.bfloat16()).any() for weight in rounded.weights.values())


def test_a_bfloat16_run_goes_on_bit_for_bit(tmp_path, data):
    model = save_tiny(tmp_path / "model")
    settings = {
        "model": model, "data": data, "heldout": 0, "batch_size": 4, "learning_rate": 1e-3, "precision": "bf16",
        "checkpoint_every": 2,
    }  # fmt: skip
    whole = train("reward", tmp_path / "whole", **settings)
    train("reward", tmp_path / "again", **settings)
    again = train("reward", tmp_path / "again", **settings)
    assert again.of_kind("start")[-1]["resumed_from"] == 2
    for name, weight in whole.weights.items():
        assert torch.equal(again.weights[name], weight), name
