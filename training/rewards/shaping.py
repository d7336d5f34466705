"""From what the sources gave to what the policy is to maximise: scores scaled and clipped, then less the penalties."""

import torch

from training.advantages import overlong_penalty
from training.recipes.presets import PolicyGradientConfig
from training.rollouts import RunningDeviation


def shaped(
    scores: torch.Tensor,
    lengths: torch.Tensor,
    truncated: torch.Tensor,
    deviation: RunningDeviation,
    config: PolicyGradientConfig,
) -> torch.Tensor:
    """All (completions,); NaN, where no source could score, stays NaN. A `deviation` of nothing is 1."""
    rewards = scores / deviation.value()
    if config.reward_clip is not None:
        rewards = rewards.clamp(-config.reward_clip, config.reward_clip)
    rewards = rewards - config.no_eos_penalty * truncated
    if config.overlong_tokens:
        rewards = rewards + overlong_penalty(lengths, limit=config.max_tokens, cache=config.overlong_tokens)
    return rewards
