"""Direct preference optimization: the policy learns from preferred pairs without a reward model in between.

The KL-regularised optimum π* ∝ π_ref·exp(r/β) makes the reward β log π*/π_ref plus a term of the prompt alone, which
cancels in a pair, so Bradley–Terry's loss can be written in the policy itself (Rafailov et al. 2023).
"""

import torch

from training import runtime
from training.batching import Example
from training.encoding import encode_examples
from training.events import EventLog
from training.logprobs import completion_logprobs, sum_per_completion, supports_shared_prefix
from training.loop import Objective, Trainer
from training.losses import dpo_loss
from training.models import load_policy, load_tokenizer, prepare_training, trained_model
from training.recipes import Outcome
from training.recipes.configs import PreferenceConfig
from training.records import Preference
from training.reference import reference_logprobs
from training.showcase import Showcase
from training.splits import read_split


def run(config: PreferenceConfig, log: EventLog) -> Outcome:
    machine = runtime.start(config, log)
    split = read_split(config, "preferences", log)
    tokenizer = load_tokenizer(config.model)
    policy = load_policy(config.model, device=machine.device)
    reference = load_policy(config.reference, device=machine.device) if config.reference else policy
    prompts = [row.messages for row in split.of(split.heldout + split.train)]
    showcase = Showcase(policy, tokenizer, prompts, count=config.sample_prompts, max_new_tokens=config.sample_tokens)

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
    everything = examples + heldout
    pad_id, shared = tokenizer.pad_token_id, supports_shared_prefix(reference) and supports_shared_prefix(policy)
    logprobs = reference_logprobs(reference, everything, config, machine, log, pad_id=pad_id, shared=shared)
    del reference

    policy = prepare_training(policy, config)
    objective = PreferenceObjective(policy, split.rows, everything, logprobs, config)
    trainer = Trainer(
        objective, examples, config, machine, log,
        pad_id=pad_id, shared=shared, heldout=heldout, recipe="dpo",
    )  # fmt: skip
    metrics = trainer.run()
    policy = trained_model(policy)
    showcase.show(policy, log)
    return Outcome(metrics, policy, tokenizer)


class PreferenceObjective(Objective):
    """Weighted mean over pairs. `rows` are found by an example's index; `reference` (examples, 2) by its place."""

    def __init__(
        self, policy, rows: list[Preference], examples: list[Example], reference: torch.Tensor, config: PreferenceConfig
    ):
        super().__init__()
        self.policy, self.config = policy, config
        self.weights = [row.weight for row in rows]
        table = torch.zeros(len(rows), 3)
        table[[example.index for example in examples], :2] = reference
        table[:, 2] = torch.tensor(self.weights)
        self.register_buffer("table", table.to(policy.device), persistent=False)

    def weight(self, example: Example) -> float:
        return self.weights[example.index]

    def forward(self, batch):
        logprobs = sum_per_completion(completion_logprobs(self.policy, batch), batch)
        chosen, rejected = logprobs[0::2], logprobs[1::2]
        indices = torch.tensor(batch.indices, device=logprobs.device)
        reference_chosen, reference_rejected, weight = self.table[indices].T
        beta = self.config.beta
        loss = weight * dpo_loss(
            chosen, rejected, reference_chosen, reference_rejected,
            beta=beta, label_smoothing=self.config.label_smoothing,
        )  # fmt: skip
        reward_chosen, reward_rejected = beta * (chosen - reference_chosen), beta * (rejected - reference_rejected)
        pairs = len(chosen)
        right = (reward_chosen > reward_rejected).float() + 0.5 * (reward_chosen == reward_rejected).float()
        return loss.sum(), {
            "accuracy": (right.sum(), pairs),
            "margin": ((reward_chosen - reward_rejected).sum(), pairs),
            "logp_chosen": (chosen.sum(), pairs),
            "logp_rejected": (rejected.sum(), pairs),
        }
