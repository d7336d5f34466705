"""Direct preference optimization: the policy learns from preferred pairs without a reward model in between.

The KL-regularised optimum π* ∝ π_ref·exp(r/β) makes the reward β log π*/π_ref plus a term of the prompt alone, which
cancels in a pair, so Bradley–Terry's loss can be written in the policy itself (Rafailov et al. 2023).
"""

from collections.abc import Sequence

import torch

from training import losses, runtime
from training.batching import Example
from training.encoding import encode_pairs
from training.events import EventLog
from training.labels import Label, accuracy, label_of
from training.logprobs import completion_logprobs, sum_per_completion, supports_shared_prefix
from training.loop import Objective, Trainer
from training.models import load_policy, load_tokenizer, prepare_training, trained_model
from training.recipes import Outcome
from training.recipes.configs import PairLossConfig, PreferenceConfig
from training.records import Prompt
from training.reference import reference_logprobs
from training.showcase import Showcase
from training.splits import read_split


def run(config: PreferenceConfig, log: EventLog) -> Outcome:
    machine = runtime.start(config, log)
    split = read_split(config, "preferences", log)
    tokenizer = load_tokenizer(config.model)
    policy = load_policy(config.model, device=machine.device)
    prompts = [Prompt(row.messages) for row in split.of(split.heldout + split.train)]
    showcase = Showcase(policy, tokenizer, prompts, count=config.sample_prompts, max_new_tokens=config.sample_tokens)

    examples, heldout = encode_pairs(tokenizer, split, config, log)
    pairs = examples + heldout
    labels = [
        label_of(
            split.rows[pair.index],
            margin_better=config.margin_better,
            margin_slightly_better=config.margin_slightly_better,
        )
        for pair in pairs
    ]
    pad_id, shared = tokenizer.pad_token_id, supports_shared_prefix(policy)
    reference = None
    if config.loss != "simpo":
        frozen = load_policy(config.reference, device=machine.device) if config.reference else policy
        reference_shared = shared and supports_shared_prefix(frozen)
        reference = reference_logprobs(frozen, pairs, config, machine, log, pad_id=pad_id, shared=reference_shared)
        del frozen

    policy = prepare_training(policy, config)
    objective = PreferenceObjective(policy, config, pairs, labels, reference)
    trainer = Trainer(
        objective, examples, config, machine, log, pad_id=pad_id, shared=shared, heldout=heldout, recipe="dpo"
    )
    metrics = trainer.run()
    policy = trained_model(policy)
    showcase.show(policy, log)
    return Outcome(metrics, policy, tokenizer)


class PreferenceObjective(Objective):
    """Weighted mean over pairs (chosen first) of DPO's loss or a relative's.

    `labels` and `reference` (pairs, 2), log-probabilities of the frozen model, belong to `pairs` in order; a pair is
    found again by its `index`. SimPO has no reference.
    """

    def __init__(
        self,
        policy,
        config: PairLossConfig,
        pairs: Sequence[Example],
        labels: Sequence[Label],
        reference: torch.Tensor | None,
    ):
        super().__init__()
        self.policy, self.config = policy, config
        self.place = {pair.index: place for place, pair in enumerate(pairs)}
        self.labels = labels
        columns = [[label.weight, label.probability, label.margin] for label in labels]
        reference = torch.zeros(len(pairs), 2) if reference is None else reference
        table = torch.cat([torch.tensor(columns), reference], 1)
        self.register_buffer("table", table.to(policy.device), persistent=False)

    def weight(self, example: Example) -> float:
        return self.labels[self.place[example.index]].weight

    def forward(self, batch):
        config = self.config
        rows = self.table[torch.tensor([self.place[index] for index in batch.indices], device=self.table.device)]
        weight, probability, margin = rows[:, :3].T
        # A label is as sure as its votes, and wrong with the probability that label smoothing assumes.
        probability = probability * (1 - config.label_smoothing) + (1 - probability) * config.label_smoothing
        policy = sum_per_completion(completion_logprobs(self.policy, batch), batch).view(-1, 2)
        reference, lengths = rows[:, 3:], batch.lengths.view(-1, 2)

        if config.loss == "dpo":
            loss = losses.dpo_loss(*policy.T, *reference.T, beta=config.beta, margin=margin, probability=probability)
        elif config.loss == "ipo":
            per_token, reference_per_token = policy / lengths, reference / lengths
            loss = losses.ipo_loss(*per_token.T, *reference_per_token.T, beta=config.beta, probability=probability)
        else:
            loss = losses.simpo_loss(
                *(policy / lengths).T, beta=config.beta, gamma=config.gamma, probability=probability
            )
        if config.sft_weight:
            loss = loss - config.sft_weight * policy[:, 0] / lengths[:, 0]

        reward = config.beta * (policy / lengths if config.loss == "simpo" else policy - reference)
        lead, n = reward[:, 0] - reward[:, 1], len(reward)
        return (weight * loss).sum(), {
            "accuracy": accuracy(lead, probability),
            "margin": (lead.sum(), n),
            "logp_chosen": (policy[:, 0].sum(), n),
            "logp_rejected": (policy[:, 1].sum(), n),
        }
