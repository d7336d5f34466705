"""Reward model: a scalar for a prompt with a response, trained so that preferred responses get the larger one.

Bradley–Terry: P(y_w over y_l | x) = σ(r(x, y_w) − r(x, y_l)) (Ouyang et al. 2022, eq. 1; margins as in Llama 2). The
scalar is read off at the response's last real token, its end-of-sequence token.
"""

import torch

from training import runtime
from training.batching import Example
from training.encoding import encode_examples
from training.events import EventLog
from training.logprobs import last_hidden, supports_shared_prefix, trunk_of
from training.loop import Objective, Trainer
from training.losses import bradley_terry_loss
from training.models import load_reward_model, load_tokenizer, prepare_training, trained_model
from training.recipes import Outcome
from training.recipes.configs import RewardConfig
from training.records import Preference
from training.splits import read_split


def run(config: RewardConfig, log: EventLog) -> Outcome:
    machine = runtime.start(config, log)
    split = read_split(config, "preferences", log)
    tokenizer = load_tokenizer(config.model)
    model = prepare_training(load_reward_model(config.model, device=machine.device, seed=config.seed), config)
    examples, heldout = (
        encode_examples(
            tokenizer,
            [(i, row.messages, (row.chosen, row.rejected)) for i, row in zip(indices, split.of(indices), strict=True)],
            max_length=config.max_length,
            log=log,
            name=name,
        )
        for indices, name in ((split.train, "training data"), (split.heldout, "held-out data"))
    )
    trainer = Trainer(
        RewardObjective(model, split.rows, config),
        examples,
        config,
        machine,
        log,
        pad_id=tokenizer.pad_token_id,
        shared=supports_shared_prefix(model),
        heldout=heldout,
        recipe="reward",
    )
    metrics = trainer.run() | baselines(split.of(split.train), split.of(split.heldout))
    metrics |= {"pairs": len(examples), "pairs_heldout": len(heldout)}
    return Outcome(metrics, trained_model(model), tokenizer)


class RewardObjective(Objective):
    """Weighted mean over pairs of the Bradley–Terry loss. `rows` are found by an example's index."""

    def __init__(self, model, rows: list[Preference], config: RewardConfig):
        super().__init__()
        self.model = model
        margins = [margin_of(row, config) for row in rows]
        weights = [row.weight for row in rows]
        self.weights = weights
        self.register_buffer("table", torch.tensor([margins, weights]).T.to(model.device), persistent=False)

    def weight(self, example: Example) -> float:
        return self.weights[example.index]

    def forward(self, batch):
        rewards = self.model.score(last_hidden(trunk_of(self.model), batch)).float().squeeze(-1)
        chosen, rejected = rewards[0::2], rewards[1::2]
        margin, weight = self.table[torch.tensor(batch.indices, device=rewards.device)].T
        loss = weight * bradley_terry_loss(chosen, rejected, margin=margin)
        right = (chosen > rejected).float() + 0.5 * (chosen == rejected).float()
        pairs = len(chosen)
        return loss.sum(), {
            "accuracy": (right.sum(), pairs),
            "margin": ((chosen - rejected).sum(), pairs),
            "reward": (rewards.sum(), 2 * pairs),
        }


def margin_of(row: Preference, config: RewardConfig) -> float:
    """The row's own margin, or the one its strength stands for."""
    if row.margin is not None:
        return row.margin
    return {"better": config.margin_better, "slightly_better": config.margin_slightly_better}.get(row.strength, 0.0)


def baselines(train: list[Preference], heldout: list[Preference]) -> dict[str, float]:
    """Held-out accuracy of two rules that understand nothing: the longer one wins; the majority's place wins.

    The place is the order of the two texts in the alphabet, which is blind to the label; which place wins is learned
    from the training rows.
    """
    if not heldout:
        return {}
    first_wins = _share(train, lambda row: row.chosen < row.rejected, lambda row: row.chosen == row.rejected)
    first_wins_heldout = _share(heldout, lambda row: row.chosen < row.rejected, lambda row: row.chosen == row.rejected)
    return {
        "length_baseline_heldout": _share(
            heldout,
            lambda row: len(row.chosen) > len(row.rejected),
            lambda row: len(row.chosen) == len(row.rejected),
        ),
        "majority_baseline_heldout": first_wins_heldout if first_wins >= 0.5 else 1 - first_wins_heldout,
    }


def _share(rows, true, undecided) -> float:
    return sum(1.0 if true(row) else 0.5 if undecided(row) else 0.0 for row in rows) / len(rows)
