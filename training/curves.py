"""A round as points of curves: what its completions were like before the update, and how fast it went."""

import math

import torch

from training.advantages import explained_variance, groups_differ, kl_estimate
from training.diversity import distinct_n, self_similarity
from training.rollouts import Rollout

# Completions of a round that are compared with each other for the curves of their diversity.
_COMPARED = 256


def describe(rollout: Rollout, value_targets: torch.Tensor | None) -> dict[str, float]:
    """`kl` is per completion, in nats; means are over real tokens. `equal_groups` is the share of prompts whose
    completions nothing tells apart: neither their shaped rewards nor the judges' verdicts.

    `sampler_gap`, how far the sampler's log-probabilities are from the trainer's, is rounding and should never be more.
    Where the trainer computes them in its only step, the update measures it.
    """
    counted, rewards, passed = (
        tensor.view(-1, rollout.group) for tensor in (rollout.counted, rollout.rewards, rollout.scored.passed)
    )
    groups = [example.completions for example in rollout.batches.examples[: math.ceil(_COMPARED / rollout.group)]]
    completions = [ids for group in groups for ids in group]
    values = {
        "length": rollout.lengths.float().mean(),
        "truncated": rollout.truncated.float().mean(),
        "equal_groups": (~groups_differ(counted, rewards, passed)).float().mean(),
        "distinct_1": distinct_n(completions, 1),
        "distinct_2": distinct_n(completions, 2),
        "self_similarity": self_similarity(completions, rollout.group),
    }
    if not torch.equal(rollout.logprobs, rollout.sampled_logprobs):
        values["sampler_gap"] = (rollout.logprobs - rollout.sampled_logprobs)[rollout.mask].abs().mean()
    if rollout.reference_logprobs is not None:
        kl = kl_estimate(rollout.logprobs, rollout.reference_logprobs, "k1")
        values["kl"] = (kl * rollout.mask).sum(1).mean()
    if rollout.discarded is not None:
        values["discarded_groups"] = rollout.discarded
    if value_targets is not None:
        counted_tokens = rollout.mask & rollout.counted[:, None]
        values["explained_variance"] = explained_variance(rollout.values, value_targets, counted_tokens)
    return rollout.scored.described() | {name: float(value) for name, value in values.items()}


def speed(rollout: Rollout, seconds: float) -> dict[str, float]:
    """Of all processes together, from the sampling to the last optimizer step."""
    tokens = int(rollout.mask.sum())
    return {"completions_per_second": len(rollout.rewards) / seconds, "tokens_per_second": tokens / seconds}
