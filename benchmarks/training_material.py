"""What the trainer's benchmarks train on: real preferences, a tokenizer trained on them, models with random weights.

Where the real data is absent (a rented GPU box), rows of random words with the same distribution of lengths stand in.
"""

import gzip
import json
import random
import re
from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast, Qwen2Config, Qwen2ForCausalLM

HH = Path(__file__).resolve().parents[2] / "shared" / "data" / "hh_rlhf_harmless.jsonl.gz"
SPECIAL = ["<|pad|>", "<|eos|>", "<|system|>", "<|user|>", "<|assistant|>"]
TEMPLATE = (
    "{% for m in messages %}<|{{ m['role'] }}|>{{ m['content'] }}{% if m['role'] == 'assistant' %}<|eos|>{% endif %}"
    "{% endfor %}{% if add_generation_prompt %}<|assistant|>{% endif %}"
)
SHAPES = {
    # 9 million parameters, 4.7 of them outside the embedding.
    "small": LlamaConfig(
        vocab_size=16384, hidden_size=256, intermediate_size=688, num_hidden_layers=6, num_attention_heads=4,
        num_key_value_heads=4, max_position_embeddings=4096, tie_word_embeddings=True,
    ),
    # The published shape of Qwen2.5-0.5B.
    "qwen": Qwen2Config(
        vocab_size=151936, hidden_size=896, intermediate_size=4864, num_hidden_layers=24, num_attention_heads=14,
        num_key_value_heads=2, max_position_embeddings=32768, rope_theta=1e6, rms_norm_eps=1e-6,
        tie_word_embeddings=True,
    ),
    # For trying the scripts themselves.
    "tiny": LlamaConfig(
        vocab_size=2048, hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, max_position_embeddings=4096, tie_word_embeddings=True,
    ),
}  # fmt: skip


def make(folder: Path, shape: str, count: int) -> dict:
    """Write preferences.jsonl, demonstrations.jsonl and policy/ into the folder; figures of the rows and the model."""
    rows = (real_rows() if HH.is_file() else made_up_rows(count))[:count]
    tokenizer = make_tokenizer(rows, SHAPES[shape].vocab_size)
    torch.manual_seed(0)
    config = SHAPES[shape]
    config.pad_token_id, config.eos_token_id, config.bos_token_id = 0, 1, None
    model = (Qwen2ForCausalLM if isinstance(config, Qwen2Config) else LlamaForCausalLM)(config)
    model.save_pretrained(folder / "policy")
    tokenizer.save_pretrained(folder / "policy")
    _write(folder / "preferences.jsonl", rows)
    _write(folder / "demonstrations.jsonl", [{"prompt": row["prompt"], "completion": row["chosen"]} for row in rows])
    embedding = model.get_input_embeddings().weight.numel()
    return {
        "parameters": model.num_parameters(),
        "outside the embedding": model.num_parameters() - embedding,
        "in the head": embedding,
        "rows": len(rows),
        **count_tokens(rows, tokenizer),
    }


def real_rows() -> list[dict]:
    """Pairs that share their prompt, in the conversational form that both trainers take, in an order of their own."""
    with gzip.open(HH, "rt", encoding="utf-8") as file:
        pairs = [tuple(map(_messages, (row["chosen"], row["rejected"]))) for row in map(json.loads, file)]
    rows = [
        {"prompt": chosen[:-1], "chosen": chosen[-1:], "rejected": rejected[-1:]}
        for chosen, rejected in pairs
        if len(chosen) > 1
        and chosen[:-1] == rejected[:-1]
        and chosen[-1] != rejected[-1]
        and all(message["content"] for message in (*chosen, *rejected))
    ]
    random.Random(0).shuffle(rows)
    return rows


def made_up_rows(count: int) -> list[dict]:
    """Random words; lengths log-normal, with about the real data's medians and tails (80 tokens before, 40 after)."""
    draw = random.Random(0)
    words = ["".join(draw.choices("abcdefghijklmnopqrstuvwxyz", k=draw.randint(3, 9))) for _ in range(4000)]

    def message(role: str, median: float) -> list[dict]:
        length = max(1, min(500, round(draw.lognormvariate(0, 0.8) * median)))
        return [{"role": role, "content": " ".join(draw.choices(words, k=length))}]

    return [
        {"prompt": message("user", 75), "chosen": message("assistant", 32), "rejected": message("assistant", 38)}
        for _ in range(count)
    ]


def make_tokenizer(rows: list[dict], vocabulary: int) -> PreTrainedTokenizerFast:
    """Byte-level BPE of at most 16 384 tokens: all that so few rows can fill."""
    core = Tokenizer(models.BPE())
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    texts = (m["content"] for row in rows for m in (*row["prompt"], *row["chosen"], *row["rejected"]))
    core.train_from_iterator(
        texts,
        trainers.BpeTrainer(
            vocab_size=min(vocabulary, 16384),
            special_tokens=SPECIAL,
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        ),
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=core,
        pad_token="<|pad|>",
        eos_token="<|eos|>",
        additional_special_tokens=SPECIAL[2:],
        chat_template=TEMPLATE,
        clean_up_tokenization_spaces=False,
    )


def count_tokens(rows: list[dict], tokenizer) -> dict:
    """Tokens with each prompt counted once: of pairs and of demonstrations, and those of their responses alone."""

    def length(messages) -> int:
        return len(tokenizer.apply_chat_template(messages)["input_ids"])

    prompts = sum(length(row["prompt"]) + 1 for row in rows)
    chosen, rejected = (sum(length(row[name]) - 1 for row in rows) for name in ("chosen", "rejected"))
    return {
        "tokens of pairs": prompts + chosen + rejected,
        "tokens of demonstrations": prompts + chosen,
        "response tokens of pairs": chosen + rejected,
        "response tokens of demonstrations": chosen,
    }


def _messages(transcript: str) -> list[dict]:
    _, *parts = re.split(r"\n\n(Human|Assistant):", transcript)
    roles = {"Human": "user", "Assistant": "assistant"}
    return [
        {"role": roles[speaker], "content": text.strip()} for speaker, text in zip(parts[::2], parts[1::2], strict=True)
    ]


def _write(path: Path, rows: list[dict]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
