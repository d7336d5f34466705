"""The policy-gradient family's losses as pure functions on flat tensors of completion tokens.

Every tensor is (tokens,): the real tokens of all completions one after the other, so there is no padding to go wrong.
`weights` says what a token counts in the whole; a loss is Σ weight·token loss, and the losses of the micro-batches of
one optimizer step add up to the loss of the step.
"""

from dataclasses import dataclass

import torch


def token_weights(lengths: torch.Tensor, summed: str, *, constant: int | None = None) -> torch.Tensor:
    """What each token of a completion counts: (completions,) for completions of these `lengths`, all of one step.

    "sequence": sum within a completion, mean over completions (REINFORCE, RLOO) · "sequence_mean": mean within, then
    over completions (GRPO) · "token": mean over all tokens (PPO, DAPO) · "constant": sum within a completion divided by
    a `constant` number of tokens, mean over completions (Dr. GRPO).
    """
    lengths = lengths.float()
    per_completion = torch.full_like(lengths, 1 / len(lengths))
    if summed == "sequence":
        return per_completion
    if summed == "sequence_mean":
        return per_completion / lengths
    if summed == "token":
        return torch.full_like(lengths, 1 / float(lengths.sum()))
    if summed == "constant":
        return per_completion / constant
    raise ValueError(f"unknown sum {summed}: expected sequence, sequence_mean, token or constant")


@dataclass(frozen=True)
class PolicyLoss:
    """A loss to descend, and per token (no gradient) which were clipped and how far the policy had moved."""

    loss: torch.Tensor
    clipped: torch.Tensor
    """(tokens,) bool: the clip held the gradient of this token back"""
    kl_to_old: torch.Tensor
    """(tokens,) k3 estimate of KL(π_old‖π)"""


def reinforce_loss(logprobs: torch.Tensor, advantages: torch.Tensor, weights: torch.Tensor) -> PolicyLoss:
    """−Σ w·A·log π, whose gradient is the policy gradient (Williams 1992; Sutton et al. 2000)."""
    untouched = torch.zeros_like(logprobs.detach())
    return PolicyLoss(-(weights * advantages * logprobs).sum(), untouched.bool(), untouched)


def clipped_ratio_loss(
    logprobs: torch.Tensor,
    old_logprobs: torch.Tensor,
    advantages: torch.Tensor,
    weights: torch.Tensor,
    *,
    clip_low: float,
    clip_high: float,
) -> PolicyLoss:
    """−Σ w·min(ρA, clip(ρ, 1−ε_low, 1+ε_high)·A), ρ = π/π_old. Schulman et al. 2017, eq. 7; DAPO parts the two ε."""
    log_ratio = logprobs - old_logprobs
    ratio = log_ratio.exp()
    bounded = ratio.clamp(1 - clip_low, 1 + clip_high)
    plain, clipped = ratio * advantages, bounded * advantages
    return PolicyLoss(-(weights * torch.minimum(plain, clipped)).sum(), (clipped < plain).detach(), _moved(log_ratio))


def penalized_ratio_loss(
    logprobs: torch.Tensor,
    old_logprobs: torch.Tensor,
    advantages: torch.Tensor,
    weights: torch.Tensor,
    *,
    coefficient: float,
) -> PolicyLoss:
    """−Σ w·(ρA − c·KL(π_old‖π)): PPO with a KL penalty in place of the clip. Schulman et al. 2017, eq. 8.

    The KL is estimated by k3 on the tokens, which π_old sampled, so its gradient is that of the true KL.
    """
    log_ratio = logprobs - old_logprobs
    kl = torch.expm1(log_ratio) - log_ratio
    loss = -(weights * (log_ratio.exp() * advantages - coefficient * kl)).sum()
    return PolicyLoss(loss, torch.zeros_like(log_ratio, dtype=torch.bool), kl.detach())


def clipped_value_loss(
    values: torch.Tensor, old_values: torch.Tensor, targets: torch.Tensor, weights: torch.Tensor, *, clip: float
) -> torch.Tensor:
    """½ Σ w·max((V − G)², (clip(V, V_old ± ε) − G)²): the value may not profit from leaving V_old by more than ε.

    Schulman et al.'s reference implementation of PPO; `clip` 0 leaves the plain squared error.
    """
    error = (values - targets).square()
    if clip > 0:
        bounded = old_values + (values - old_values).clamp(-clip, clip)
        error = torch.maximum(error, (bounded - targets).square())
    return (weights * error).sum() / 2


def _moved(log_ratio: torch.Tensor) -> torch.Tensor:
    log_ratio = log_ratio.detach()
    return torch.expm1(log_ratio) - log_ratio
