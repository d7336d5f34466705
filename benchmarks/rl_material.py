"""What the policy-gradient benchmarks train on: film-review snippets, a policy that writes them, a reward model.

The policy answers a snippet's first words with the rest of it; the reward model tells the rest of a positive snippet
from the rest of a negative one. Both have the 9-million-parameter shape of `training_material`. The reward model is
there to be computed; a better judge of sentiment is `sentiment.gold`.
"""

import json
import random
from dataclasses import dataclass
from pathlib import Path

import torch
from transformers import LlamaForCausalLM

from benchmarks import sentiment
from benchmarks.training_material import SHAPES, make_tokenizer

FIRST_WORDS = 4


@dataclass(frozen=True)
class Material:
    policy: Path
    reward_model: Path
    prompts: Path
    accuracy: float
    """share of held-out pairs that the reward model has the right way round"""


def find(folder: Path) -> Material | None:
    """What `make` left in the folder, if it did."""
    metrics = folder / "reward/metrics.json"
    if not (folder / "reward/model").is_dir():
        return None
    accuracy = json.loads(metrics.read_text())["accuracy_heldout"]
    return Material(folder / "sft/model", folder / "reward/model", folder / "prompts.jsonl", accuracy)


def make(folder: Path, *, shape: str = "small", snippets: int = 3000, epochs: int = 2, device: str = "cpu") -> Material:
    """Train the policy (on as many snippets) and the reward model (on all) by the command line's recipes."""
    rows = [row for row in sentiment.snippets() if len(row["words"]) >= 2 * FIRST_WORDS]
    all_prompts = [{"prompt": " ".join(row["words"][:FIRST_WORDS])} for row in rows]
    all_rests = [" ".join(row["words"][FIRST_WORDS:]) for row in rows]
    prompts, rests = all_prompts[:snippets], all_rests[:snippets]
    config = SHAPES[shape]
    config.pad_token_id, config.eos_token_id, config.bos_token_id = 0, 1, None
    as_chats = [
        {"prompt": [{"role": "user", "content": prompt["prompt"]}], "chosen": [{"content": rest}], "rejected": []}
        for prompt, rest in zip(prompts, rests, strict=True)
    ]
    folder.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(0)
    LlamaForCausalLM(config).save_pretrained(folder / "start")
    make_tokenizer(as_chats, config.vocab_size).save_pretrained(folder / "start")

    demonstrations = [{**prompt, "completion": rest} for prompt, rest in zip(prompts, rests, strict=True)]
    _write(folder / "demonstrations.jsonl", demonstrations)
    common = {"epochs": epochs, "learning_rate": 1e-3, "batch_size": 32, "heldout": 0, "device": device}
    _train("sft", folder / "sft", model=folder / "start", data=folder / "demonstrations.jsonl", **common)

    # A pair: one prompt, answered by the rest of a positive snippet and by that of a negative one.
    pairs = list(zip(all_prompts, all_rests, rows, strict=True))
    by_label = [[(prompt, rest) for prompt, rest, row in pairs if row["label"] == label] for label in (0, 1)]
    draw = random.Random(0)
    preferences = [
        {**draw.choice((bad, good))[0], "chosen": good[1], "rejected": bad[1]}
        for bad, good in zip(*by_label, strict=False)
    ]
    _write(folder / "preferences.jsonl", preferences)
    common |= {"learning_rate": 3e-4, "heldout": 0.1}
    _train("reward", folder / "reward", model=folder / "sft/model", data=folder / "preferences.jsonl", **common)
    _write(folder / "prompts.jsonl", prompts)
    return find(folder)


def _train(recipe: str, output: Path, **settings) -> None:
    from training.__main__ import main

    settings |= {"checkpoint_every": 0} | ({"sample_prompts": 0} if recipe == "sft" else {})
    if code := main([recipe, "--output", str(output), *(f"{key}={value}" for key, value in settings.items())]):
        raise SystemExit(code)


def _write(path: Path, rows: list[dict]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
