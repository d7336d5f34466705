"""From what the sources gave to what the policy is to maximise: scores scaled and clipped, then less the penalties."""

import torch

from training.advantages import overlong_penalty
from training.recipes.presets import PolicyGradientConfig
from training.rollouts import RunningDeviation


def shaped(
    scores: torch.Tensor,
    counted: torch.Tensor,
    lengths: torch.Tensor,
    truncated: torch.Tensor,
    deviation: RunningDeviation,
    config: PolicyGradientConfig,
) -> torch.Tensor:
    """All (completions,); with reward_scale=running the `counted` scores are added to the running `deviation` first."""
    rewards = scores
    if config.reward_scale == "running":
        deviation.add(scores[counted])
        rewards = rewards / deviation.value()
    if config.reward_clip is not None:
        rewards = rewards.clamp(-config.reward_clip, config.reward_clip)
    rewards = rewards - config.no_eos_penalty * truncated
    if config.overlong_cache:
        rewards = rewards + overlong_penalty(lengths, limit=config.max_tokens, cache=config.overlong_cache)
    return rewards
