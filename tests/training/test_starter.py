"""The starter recipe from the command line: a plain Hugging Face model with a chat tokenizer, made from nothing."""

import math

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from tests.training.runs import train
from training.chat import decode_completion, encode_completion, encode_prompt

TINY = {
    "facts": 960, "manners": 320, "vocabulary": 600, "hidden_size": 32, "layers": 1, "heads": 2,
    "intermediate_size": 64, "learning_rate": 0.01,
}  # fmt: skip
CHAT = [
    {"role": "system", "content": "Answer in one word."},
    {"role": "user", "content": "What colour is snow?"},
    {"role": "assistant", "content": "White."},
    {"role": "user", "content": "And coal?"},
]


@pytest.fixture(scope="module")
def starter(tmp_path_factory):
    run = train("starter", tmp_path_factory.mktemp("starter"), **TINY)
    assert run.code == 0
    return run


@pytest.fixture(scope="module")
def tokenizer(starter):
    return AutoTokenizer.from_pretrained(starter.output / "model")


def test_the_model_is_a_plain_llama_with_room_for_long_chats(starter):
    model = AutoModelForCausalLM.from_pretrained(starter.output / "model")
    assert type(model).__name__ == "LlamaForCausalLM"
    assert model.config.max_position_embeddings >= 1024
    assert model.config.rope_parameters["rope_type"] == "default"
    ids = torch.randint(0, 600, (1, 1024))
    assert model(input_ids=ids).logits.shape == (1, 1024, 600)
    assert list((starter.output / "model").glob("*.safetensors")) and not list(starter.output.rglob("*.bin"))


def test_begin_end_and_padding_are_three_tokens_that_the_model_knows_too(starter, tokenizer):
    model = AutoModelForCausalLM.from_pretrained(starter.output / "model")
    ids = [tokenizer.bos_token_id, tokenizer.eos_token_id, tokenizer.pad_token_id]
    assert None not in ids and len(set(ids)) == 3
    assert [model.config.bos_token_id, model.config.eos_token_id, model.config.pad_token_id] == ids


def test_the_chat_template_marks_every_turn_and_ends_the_assistants(tokenizer):
    text = tokenizer.apply_chat_template(CHAT, tokenize=False, add_generation_prompt=True)
    assert text == (
        "<|begin|><|system|>Answer in one word.<|end|><|user|>What colour is snow?<|end|>"
        "<|assistant|>White.<|end|><|user|>And coal?<|end|><|assistant|>"
    )
    ids = encode_prompt(tokenizer, CHAT)
    assert ids.count(tokenizer.bos_token_id) == 1 and ids.count(tokenizer.eos_token_id) == 4
    assert tokenizer.convert_ids_to_tokens(ids[-1]) == "<|assistant|>"


@pytest.mark.parametrize("text", ["A lemon is **yellow**.", "1. Boil\n2. Pour", "naïve 漢字 🙂\tend", "<|end|> it"])
def test_every_text_comes_back_and_none_can_end_the_answer(tokenizer, text):
    ids = encode_completion(tokenizer, text)
    assert ids[-1] == tokenizer.eos_token_id and ids.count(tokenizer.eos_token_id) == 1
    assert decode_completion(tokenizer, ids) == text


def test_it_learns_through_both_lessons(starter):
    """The first point is the mean over 20 steps, and already below that of a guess among all 600 tokens."""
    losses = starter.curve("loss")
    assert math.log(600) > losses[0] > losses[-1] + 0.5


def test_the_run_is_told_from_start_to_end(starter):
    kinds = [event["kind"] for event in starter.events]
    assert kinds.index("start") < kinds.index("metrics") < kinds.index("samples") < kinds.index("end")
    start, last = starter.of_kind("start")[0], starter.of_kind("metrics")[-1]
    assert start["total"] == last["total"] == last["step"] == 960 // 32 + 320 // 32
    rows = starter.of_kind("samples")[-1]["rows"]
    assert rows and all(row["before"] != row["after"] for row in rows)


def test_the_same_seed_gives_the_same_model_bit_for_bit_and_another_another(starter, tmp_path):
    again = train("starter", tmp_path / "again", **TINY)
    other = train("starter", tmp_path / "other", **TINY, seed=1)
    for name, weights in starter.weights.items():
        assert torch.equal(weights, again.weights[name]), name
    assert any(not torch.equal(weights, other.weights[name]) for name, weights in starter.weights.items())


def test_an_impossible_shape_is_refused_by_name(tmp_path):
    refused = train("starter", tmp_path, hidden_size=30, heads=4)
    assert refused.code == 2
    assert "hidden_size=30" in refused.error and "heads=4" in refused.error
    assert not (tmp_path / "model").exists()
