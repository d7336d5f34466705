"""Against TRL: the same losses on the same numbers, and step for step over 50 steps from the same weights and rows."""

import json
import random
from collections import defaultdict
from types import SimpleNamespace

import pytest
import torch
from accelerate import Accelerator
from datasets import Dataset
from transformers import AutoModelForSequenceClassification, TrainerCallback
from trl import DPOConfig, DPOTrainer, RewardConfig, RewardTrainer, SFTConfig, SFTTrainer

from tests.training.tiny import make_tokenizer, save_tiny
from training.__main__ import main
from training.batching import Example
from training.chat import encode_completion, encode_prompt
from training.config import resolve
from training.loop import batches_of_run
from training.losses import bradley_terry_loss, dpo_loss, ipo_loss

STEPS, BATCH, LEARNING_RATE = 50, 4, 3e-4
WORDS = ("river", "stone", "quiet", "amber", "north", "paper", "seven", "lantern", "market", "cloud")


def make_rows() -> list[dict]:
    """Preferences with something to learn, of different lengths, so that padding and per-token means would show."""
    draw = random.Random(3)

    def text(low, high):
        return " ".join(draw.choices(WORDS, k=draw.randint(low, high)))

    return [
        {
            "prompt": [{"role": "user", "content": text(1, 12)}],
            "chosen": [{"role": "assistant", "content": f"good {text(1, 9)}"}],
            "rejected": [{"role": "assistant", "content": text(1, 9)}],
        }
        for _ in range(STEPS * BATCH)
    ]


def in_our_order(rows: list[dict], config) -> list[dict]:
    """The rows as our run will draw them, for TRL to take one after the other."""
    tokenizer = make_tokenizer()
    responses = ("chosen", "rejected") if "rejected" in rows[0] else ("completion",)
    examples = [
        Example(
            tuple(encode_prompt(tokenizer, row["prompt"])),
            tuple(tuple(encode_completion(tokenizer, row[name][0]["content"])) for name in responses),
        )
        for row in rows
    ]
    costs = [len(e.prompt_ids) + sum(map(len, e.completions)) for e in examples]
    return [rows[index] for batch in batches_of_run(costs, config) for index in batch]


def our_losses(recipe: str, tmp_path, model: str, rows: list[dict], **settings) -> tuple[list[float], object]:
    data = tmp_path / "data.jsonl"
    data.write_text("".join(json.dumps(row) + "\n" for row in rows))
    output = tmp_path / "ours"
    settings = {
        "model": model, "data": str(data), "heldout": "0", "batch_size": BATCH, "tokens_per_batch": 512,
        "learning_rate": LEARNING_RATE, "schedule": "constant", "warmup": 0, "precision": "fp32", "device": "cpu",
        "checkpoint_every": 0, **settings,
    }  # fmt: skip
    assert main([recipe, "--output", str(output), *(f"{key}={value}" for key, value in settings.items())]) == 0
    events = [json.loads(line) for line in (output / "events.jsonl").read_text().splitlines()]
    losses = [event["values"]["loss"] for event in events if event["kind"] == "metrics"]
    return losses, resolve(recipe, overrides={**settings, "output": str(output)})


class Losses(TrainerCallback):
    def __init__(self):
        self.values: list[float] = []

    def on_log(self, args, state, control, logs=None, **kwargs):
        if "loss" in logs:
            self.values.append(logs["loss"])


def trl_losses(trainer_class, config_class, tmp_path, model, rows: list[dict], micro_batch: int, **settings):
    kept = Losses()
    config = config_class(
        output_dir=str(tmp_path / "trl"), per_device_train_batch_size=micro_batch,
        gradient_accumulation_steps=BATCH // micro_batch, num_train_epochs=1, learning_rate=LEARNING_RATE,
        lr_scheduler_type="constant", train_sampling_strategy="sequential", bf16=False, use_cpu=True,
        gradient_checkpointing=False, logging_steps=1, save_strategy="no", report_to="none", disable_tqdm=True,
        dataloader_pin_memory=False, **settings,
    )  # fmt: skip
    trainer = trainer_class(
        model=model, args=config, train_dataset=Dataset.from_list(rows), processing_class=make_tokenizer(),
        callbacks=[kept],
    )  # fmt: skip
    trainer.train()
    return kept.values


def assert_same_trajectory(ours: list[float], theirs: list[float]):
    assert len(ours) == len(theirs) == STEPS
    assert max(ours) - min(ours) > 0.03  # both learned, so agreement is no accident of standing still
    assert ours == pytest.approx(theirs, abs=1e-5, rel=0)


@pytest.fixture
def policy(tmp_path) -> str:
    return save_tiny(tmp_path / "policy")


@pytest.mark.slow
def test_supervised_trajectory(tmp_path, policy):
    rows = [{"prompt": row["prompt"], "completion": row["chosen"]} for row in make_rows()]
    ours, config = our_losses("sft", tmp_path, policy, rows, sample_prompts=0)
    theirs = trl_losses(SFTTrainer, SFTConfig, tmp_path, policy, in_our_order(rows, config), micro_batch=2)
    assert_same_trajectory(ours, theirs)


@pytest.mark.slow
def test_reward_trajectory(tmp_path, policy):
    torch.manual_seed(1)
    model = AutoModelForSequenceClassification.from_pretrained(policy, num_labels=1)
    model.config.pad_token_id = 0
    reward_model = save_tiny(tmp_path / "reward", model)
    rows = make_rows()
    # Every fourth verdict is the wrong way round. Rows that one word tells apart drive this model to where its gradient
    # grows to 100 and float32 rounding with it: there TRL computing two pairs at once leaves TRL computing four.
    for row in rows[::4]:
        row["chosen"], row["rejected"] = row["rejected"], row["chosen"]
    ours, config = our_losses("reward", tmp_path, reward_model, rows)
    theirs = trl_losses(RewardTrainer, RewardConfig, tmp_path, reward_model, in_our_order(rows, config), BATCH)
    assert_same_trajectory(ours, theirs)


@pytest.mark.slow
@pytest.mark.parametrize(("loss", "name", "beta"), [("dpo", "sigmoid", 0.1), ("ipo", "ipo", 0.5)])
def test_preference_trajectory(tmp_path, policy, loss, name, beta):
    rows = make_rows()
    ours, config = our_losses("dpo", tmp_path, policy, rows, sample_prompts=0, loss=loss, beta=beta)
    theirs = trl_losses(
        DPOTrainer, DPOConfig, tmp_path, policy, in_our_order(rows, config), BATCH, loss_type=[name], beta=beta
    )
    assert_same_trajectory(ours, theirs)


LENGTHS = torch.tensor([[3, 1, 5], [2, 4, 5]])  # of the chosen, of the rejected


def made_up_logprobs() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """(token log-probabilities (2, 3, 5) with zeros behind each response, the mask, reference sums (2, 3))"""
    generator = torch.Generator().manual_seed(5)
    mask = torch.arange(5) < LENGTHS[..., None]
    logprobs = -4 * torch.rand(2, 3, 5, generator=generator) * mask
    return logprobs, mask, -9 * torch.rand(2, 3, generator=generator)


def trl_preference_loss(name: str, beta: float) -> float:
    """TRL's own function on made-up log-probabilities, in place of a model that would compute them."""
    logprobs, mask, reference = made_up_logprobs()
    rows, zeros = logprobs.flatten(0, 1), torch.zeros(6, 5)
    prompt = torch.zeros(6, 1, dtype=torch.long)
    trainer = object.__new__(DPOTrainer)
    vars(trainer).update(
        model=torch.nn.Module().eval(), accelerator=Accelerator(cpu=True), aux_loss_enabled=False, ld_alpha=None,
        precompute_ref_logps=True, f_divergence_type="reverse_kl", loss_types=[name], loss_weights=[1.0], beta=beta,
        label_smoothing=0.0, use_weighting=False, _metrics={"eval": defaultdict(list)}, _total_train_tokens=0,
    )  # fmt: skip
    outputs = SimpleNamespace(log_probs=rows, entropy=zeros, mean_logits=zeros, is_top1=zeros.bool())
    inputs = {
        "input_ids": torch.zeros(6, 6, dtype=torch.long),
        "completion_mask": torch.cat([prompt, mask.flatten(0, 1).long()], 1),
        "ref_chosen_logps": reference[0],
        "ref_rejected_logps": reference[1],
    }
    return float(trainer._compute_loss(lambda **_: outputs, inputs, return_outputs=False))


def test_dpo_loss_on_the_same_logprobs():
    logprobs, _, reference = made_up_logprobs()
    ours = dpo_loss(*logprobs.sum(-1), *reference, beta=0.1).mean()
    assert float(ours) == pytest.approx(trl_preference_loss("sigmoid", 0.1), abs=1e-6)


def test_ipo_loss_on_the_same_logprobs():
    logprobs, _, reference = made_up_logprobs()
    ours = ipo_loss(*(logprobs.sum(-1) / LENGTHS), *(reference / LENGTHS), beta=0.5).mean()
    assert float(ours) == pytest.approx(trl_preference_loss("ipo", 0.5), abs=1e-6)


def test_reward_loss_with_margins_on_the_same_rewards():
    chosen, rejected, margin = torch.tensor([[1.5, -0.5, 0.2], [0.5, 0.1, 0.2], [0.0, 0.3, 1.0]])
    trainer = object.__new__(RewardTrainer)
    vars(trainer).update(
        model=torch.nn.Module().eval(), accelerator=Accelerator(cpu=True), _metrics={"eval": defaultdict(list)},
        args=SimpleNamespace(center_rewards_coefficient=None), _total_train_tokens=0,
    )  # fmt: skip
    outputs = SimpleNamespace(logits=torch.cat([chosen, rejected])[:, None])
    theirs = trainer.compute_loss(lambda **_: outputs, {"margin": margin})
    assert float(bradley_terry_loss(chosen, rejected, margin=margin).mean()) == pytest.approx(float(theirs), abs=1e-6)
