"""Supervised fine-tuning: maximise the log-probability of each token of a demonstrated response, its end included."""

from collections.abc import Sequence
from dataclasses import replace

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
from training.records import Demonstration, Prompt, iter_rows
from training.showcase import Showcase
from training.splits import Split, read_split


def run(config: SFTConfig, log: EventLog) -> Outcome:
    machine = runtime.start(config, log)
    split = _read(config, log)
    tokenizer = load_tokenizer(config.model)
    policy = load_policy(config.model, device=machine.device)
    prompts = [Prompt(row.messages) for row in split.of(split.heldout + split.train)]
    showcase = Showcase(policy, tokenizer, prompts, count=config.sample_prompts, max_new_tokens=config.sample_tokens)

    train, heldout = (
        encode_examples(
            tokenizer,
            [(i, row.messages, (row.completion,)) for i, row in zip(indices, split.of(indices), strict=True)],
            max_length=config.max_length,
            log=log,
            name=name,
        )
        for indices, name in ((split.train, "training data"), (split.heldout, "held-out data"))
    )
    policy, metrics = fine_tune(policy, tokenizer, train, config, machine, log, heldout=heldout, recipe="sft")
    showcase.show(policy, log)
    return Outcome(metrics, policy, tokenizer)


def fine_tune(policy, tokenizer, examples: Sequence[Example], config: TrainingConfig, machine, log, **of_trainer):
    """(the trained policy, its last metrics), from examples of one completion each.

    Also a step of other recipes; `of_trainer` are the further fields of `training.loop.Trainer`.
    """
    policy = prepare_training(policy, config)
    trainer = Trainer(
        SFTObjective(policy),
        examples,
        config,
        machine,
        log,
        pad_id=tokenizer.pad_token_id,
        shared=supports_shared_prefix(policy),
        **of_trainer,
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


def _read(config: SFTConfig, log: EventLog) -> Split:
    """Demonstrations; of preferences the chosen responses."""
    first = next((row for _, row in iter_rows(config.data)), {})
    if "chosen" not in first:
        return read_split(config, "demonstrations", log)
    split = read_split(config, "preferences", log)
    return replace(split, rows=[Demonstration(row.messages, row.chosen) for row in split.rows])
