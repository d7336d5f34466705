"""Supervised fine-tuning: maximise the log-probability of each token of a demonstrated response, its end included."""

from training import runtime
from training.batching import Example
from training.config import TrainingConfig
from training.encoding import encode_examples
from training.events import EventLog
from training.logprobs import completion_logprobs, supports_shared_prefix
from training.loop import Objective, Trainer
from training.losses import sft_loss
from training.models import load_policy, load_tokenizer, prepare_training, trained_model
from training.recipes import Outcome
from training.recipes.configs import SFTConfig
from training.records import Demonstration, iter_rows
from training.showcase import Showcase
from training.splits import read_split


def run(config: SFTConfig, log: EventLog) -> Outcome:
    machine = runtime.start(config, log)
    train, heldout = _read(config, log)
    tokenizer = load_tokenizer(config.model)
    policy = load_policy(config.model, device=machine.device)
    prompts = [row.messages for row in heldout + train]
    showcase = Showcase(policy, tokenizer, prompts, count=config.sample_prompts, max_new_tokens=config.sample_tokens)
    policy, metrics = fine_tune(policy, tokenizer, train, config, machine, log, heldout=heldout, recipe="sft")
    showcase.show(policy, log)
    return Outcome(metrics, policy, tokenizer)


def fine_tune(
    policy,
    tokenizer,
    demonstrations: list[Demonstration],
    config: TrainingConfig,
    machine: runtime.Runtime,
    log: EventLog,
    *,
    heldout: list[Demonstration] = (),
    recipe: str | None = None,
    first_step: int = 0,
    run_total: int | None = None,
):
    """(the trained policy, its last metrics). Also a step of other recipes, whose run it then continues (`Trainer`)."""
    examples, heldout_examples = (
        encode_examples(
            tokenizer,
            [(row.messages, (row.completion,)) for row in rows],
            max_length=config.max_length,
            log=log,
            name=name,
        )
        for rows, name in ((demonstrations, "training data"), (heldout, "held-out data"))
    )
    policy = prepare_training(policy, config)
    trainer = Trainer(
        SFTObjective(policy),
        examples,
        config,
        machine,
        log,
        pad_id=tokenizer.pad_token_id,
        shared=supports_shared_prefix(policy),
        heldout=heldout_examples,
        recipe=recipe,
        first_step=first_step,
        run_total=run_total,
    )
    metrics = trainer.run()
    return trained_model(policy), metrics


class SFTObjective(Objective):
    """Mean over all completion tokens of the optimizer batch: each token counts the same, in a short or long row."""

    def __init__(self, policy):
        super().__init__()
        self.policy = policy

    def weight(self, example: Example) -> float:
        return len(example.completions[0])

    def forward(self, batch):
        return sft_loss(completion_logprobs(self.policy, batch)).sum(), {}


def _read(config: SFTConfig, log: EventLog):
    """Demonstrations; of preferences the chosen responses."""
    first = next((row for _, row in iter_rows(config.data)), {})
    if "chosen" not in first:
        return read_split(config, "demonstrations", log)
    return tuple(
        [Demonstration(row.messages, row.chosen) for row in rows] for rows in read_split(config, "preferences", log)
    )
