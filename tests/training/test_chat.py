"""Prompt and completion as token ids: neither changes the other's, the end is always there, nothing is lost."""

import pytest

from tests.training.tiny import make_tokenizer
from training.chat import PLAIN_TEMPLATE, decode_completion, encode_completion, encode_prompt, truncate_prompt

MESSAGES = [{"role": "user", "content": "hé"}]


@pytest.fixture(scope="module")
def tokenizer():
    return make_tokenizer()


def test_a_prompt_follows_the_models_own_template(tokenizer):
    ids = encode_prompt(tokenizer, MESSAGES)
    assert tokenizer.decode(ids) == "<|user|>hé<|assistant|>"


def test_a_completion_ends_in_the_end_of_sequence(tokenizer):
    ids = encode_completion(tokenizer, "Yes.")
    assert ids[-1] == tokenizer.eos_token_id
    assert tokenizer.decode(ids[:-1]) == "Yes."


def test_a_spelled_out_special_token_does_not_end_a_completion(tokenizer):
    text = "type <|eos|> to end"
    ids = encode_completion(tokenizer, text)
    assert ids.count(tokenizer.eos_token_id) == 1
    assert decode_completion(tokenizer, ids) == text


def test_what_comes_after_the_end_is_not_part_of_the_text(tokenizer):
    ids = encode_completion(tokenizer, "Yes.") + encode_completion(tokenizer, "No.")
    assert decode_completion(tokenizer, ids) == "Yes."


def test_the_plain_template_serves_models_without_one(tokenizer):
    text = tokenizer.apply_chat_template(
        MESSAGES, chat_template=PLAIN_TEMPLATE, add_generation_prompt=True, tokenize=False
    )
    assert text == "User: hé\n\nAssistant:"


def test_truncation_drops_the_prompts_start_and_keeps_the_completion():
    assert truncate_prompt([1, 2, 3, 4], 3, 7) == [1, 2, 3, 4]
    assert truncate_prompt([1, 2, 3, 4], 3, 5) == [3, 4]
    assert truncate_prompt([1, 2, 3, 4], 3, 4) == [4]
    assert truncate_prompt([1, 2, 3, 4], 3, 3) is None
