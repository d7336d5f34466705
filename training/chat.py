"""Messages to token ids and back. Prompt and completion are tokenised apart, so neither changes the other's ids."""

from training.records import Message

# For tokenizers that bring no chat template of their own; saved with the model, so that it travels.
PLAIN_TEMPLATE = (
    "{% for message in messages %}{{ message['role'] | capitalize }}: {{ message['content'] }}\n\n{% endfor %}"
    "{% if add_generation_prompt %}Assistant:{% endif %}"
)


def encode_prompt(tokenizer, messages: list[Message]) -> list[int]:
    """The messages by the model's own chat template, up to where the assistant's answer begins."""
    text = tokenizer.apply_chat_template(messages, add_generation_prompt=True, tokenize=False)
    return tokenizer(text, add_special_tokens=False).input_ids


def encode_completion(tokenizer, text: str) -> list[int]:
    """The response's ids and the end-of-sequence id, which is learned like any other token.

    Special tokens spelled out in the text stay plain text: they cannot end the response early.
    """
    ids = tokenizer(text, add_special_tokens=False, split_special_tokens=True).input_ids
    return [*ids, tokenizer.eos_token_id]


def decode_completion(tokenizer, ids: list[int]) -> str:
    """The text before the first end-of-sequence id, without special tokens."""
    ids = list(ids)
    if tokenizer.eos_token_id in ids:
        ids = ids[: ids.index(tokenizer.eos_token_id)]
    return tokenizer.decode(ids, skip_special_tokens=True).strip()


def truncate_prompt(prompt_ids: list[int], longest_completion: int, max_length: int) -> list[int] | None:
    """The prompt's last ids that fit beside the completion, or None where the completion alone is too long.

    At least one prompt token is kept, since the first completion token must be predicted from something.
    """
    room = max_length - longest_completion
    return list(prompt_ids[-room:]) if room >= 1 else None
