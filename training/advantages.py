"""From scores to advantages, as pure functions: KL estimators, token rewards, GAE, group baselines, whitening.

Tensors of tokens are (completions, tokens) beside a boolean mask of the same shape that is true at real tokens; a
row's real tokens are contiguous, with padding on either side. What stands at padding never matters, and comes out as 0.
"""

import torch


def kl_estimate(logprobs: torch.Tensor, reference_logprobs: torch.Tensor, estimator: str) -> torch.Tensor:
    """Per-token estimate of KL(π‖π_ref), of any shape, where the tokens were sampled from π.

    With r = π_ref/π, k1 = −log r (unbiased, noisy), k2 = ½ (log r)² (biased, low variance) and k3 = (r − 1) − log r
    (unbiased, low variance, never negative). Schulman, "Approximating KL divergence" (2020).
    """
    log_ratio = reference_logprobs - logprobs
    if estimator == "k1":
        return -log_ratio
    if estimator == "k2":
        return log_ratio.square() / 2
    if estimator == "k3":
        # expm1 keeps the digits that exp(x) − 1 loses while π is still near π_ref.
        return torch.expm1(log_ratio) - log_ratio
    raise ValueError(f"unknown KL estimator {estimator}: expected k1, k2 or k3")


def token_rewards(scores: torch.Tensor, kl: torch.Tensor, mask: torch.Tensor, beta: float) -> torch.Tensor:
    """−β·KL_t at every token, and the completion's score on its last (Ziegler et al. 2019, eq. 2; Ouyang et al. 2022).

    scores (completions,), kl and mask (completions, tokens) → (completions, tokens).
    """
    positions = torch.arange(mask.shape[1], device=mask.device)
    last = torch.where(mask, positions, -1).amax(1)
    rewards = torch.where(mask, -beta * kl, 0.0)
    rewards[torch.arange(len(scores), device=mask.device), last] += scores
    return rewards


def returns_to_go(rewards: torch.Tensor, mask: torch.Tensor, gamma: float) -> torch.Tensor:
    """G_t = Σ_k γ^k r_{t+k} over real tokens: (completions, tokens) → (completions, tokens)."""
    zeros = torch.zeros_like(rewards)
    return gae(rewards, zeros, mask, gamma=gamma, lam=1.0)[0]


def gae(
    rewards: torch.Tensor, values: torch.Tensor, mask: torch.Tensor, *, gamma: float, lam: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """Advantages and value targets, all (completions, tokens): generalized advantage estimation.

    δ_t = r_t + γ V(s_{t+1}) − V(s_t), A_t = Σ_l (γλ)^l δ_{t+l}, and the target is A_t + V(s_t). After the last token
    there is nothing: V = 0. λ = 0 is the TD residual, λ = 1 the Monte Carlo return less V. Schulman et al. 2016, eq. 16
    """
    advantages = torch.zeros_like(rewards)
    following_value = torch.zeros_like(rewards[:, 0])
    following_advantage = torch.zeros_like(rewards[:, 0])
    for t in reversed(range(rewards.shape[1])):
        delta = rewards[:, t] + gamma * following_value - values[:, t]
        advantage = delta + gamma * lam * following_advantage
        # Padding hands on what came after it, so that it neither adds a step nor a discount.
        following_advantage = torch.where(mask[:, t], advantage, following_advantage)
        following_value = torch.where(mask[:, t], values[:, t], following_value)
        advantages[:, t] = torch.where(mask[:, t], advantage, 0.0)
    return advantages, torch.where(mask, advantages + values, 0.0)


def batch_mean_advantages(returns: torch.Tensor) -> torch.Tensor:
    """R − mean over the batch, any shape: REINFORCE's plainest baseline (Williams 1992)."""
    return returns - returns.mean()


def leave_one_out_advantages(returns: torch.Tensor) -> torch.Tensor:
    """R_k − mean of the other K−1 of the same prompt: (prompts, K) → (prompts, K). Ahmadian et al. 2024, RLOO."""
    k = returns.shape[1]
    if k < 2:
        raise ValueError("a leave-one-out baseline needs at least two completions a prompt")
    return (returns - returns.mean(1, keepdim=True)) * (k / (k - 1))


def group_advantages(returns: torch.Tensor, *, scaled: bool, eps: float = 1e-6) -> torch.Tensor:
    """R_k − group mean, divided by the group's standard deviation where `scaled`: (prompts, K) → (prompts, K).

    Scaled is GRPO (Shao et al. 2024), unscaled Dr. GRPO (Liu et al. 2025), which shows that the division favours
    prompts that are too easy or too hard. The deviation is the sample's (K−1 below the line). A group of equal rewards
    teaches nothing: its advantages are 0.
    """
    if returns.shape[1] < 2:
        raise ValueError("a group baseline needs at least two completions a prompt")
    centred = returns - returns.mean(1, keepdim=True)
    return centred / (returns.std(1, keepdim=True) + eps) if scaled else centred


def fill_unscored(scores: torch.Tensor) -> torch.Tensor:
    """(prompts, K) with each NaN replaced by the mean of the group's other scores, or of all where it has none.

    So a completion that no source could score moves no baseline; its own advantage is left out by the caller.
    """
    means = scores.nanmean(1, keepdim=True)
    return torch.where(scores.isnan(), torch.where(means.isnan(), scores.nanmean(), means), scores)


def constrained_rewards(
    scores: torch.Tensor, passed: torch.Tensor, log_ratios: torch.Tensor, *, kl_max: float
) -> torch.Tensor:
    """What is left of a reward under constraints, all (prompts, K): max(1 − log(π/π_ref)/KL_max, 0)·σ(r − r̄), or 0.

    0 where a judge failed the completion; r̄ is the mean of the prompt's completions. Less the batch's mean it is the
    advantage: a completion is reinforced if it passes all judges and is better than average, and else made less likely.
    After the calibrated-regularized policy gradient (CRPG) of Xu et al. 2024, "The Perfect Blend: Redefining RLHF with
    Mixture of Judges", eqs. 5, 8 and 11; the batch's mean is their eq. 12. It deviates in r̄, which there is the reward
    of one fixed response (of the data, or drawn from π_ref before training), so that σ(r − r̄) is how probably that one
    is beaten. Here it is how probably the policy's own average is, which needs no such response and does not saturate
    as the policy leaves the reference behind; prompts are comparable either way.
    """
    calibrated = torch.sigmoid(scores - scores.mean(1, keepdim=True))
    return torch.where(passed, (1 - log_ratios / kl_max).clamp(min=0) * calibrated, 0.0)


def whiten(x: torch.Tensor, mask: torch.Tensor, *, shift_mean: bool = True, eps: float = 1e-8) -> torch.Tensor:
    """Mean 0 (or, without `shift_mean`, as before) and variance 1 over real tokens; 0 at padding."""
    values = x[mask]
    mean = values.mean()
    scaled = (x - mean) * torch.rsqrt(values.var(correction=0) + eps)
    return torch.where(mask, scaled if shift_mean else scaled + mean, 0.0)


def masked_mean(x: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """The mean over real tokens of everything at once."""
    return x[mask].mean()


def explained_variance(values: torch.Tensor, targets: torch.Tensor, mask: torch.Tensor) -> float:
    """1 − Var(target − V) / Var(target) over real tokens: 1 is a perfect value model, 0 or less a useless one."""
    spread = targets[mask].var(correction=0)
    if spread == 0:
        return float("nan")
    return float(1 - (targets - values)[mask].var(correction=0) / spread)


def adapted_beta(beta: float, kl: float, *, target: float, horizon: float, completions: int) -> float:
    """β for the next iteration, up where the KL a completion was above the target, down where it was below.

    Ziegler et al. 2019, section 2.2: β ← β (1 + K·e), e the relative error clipped to ±0.2, K = completions/horizon.
    """
    error = min(max(kl / target - 1, -0.2), 0.2)
    return beta * (1 + error * completions / horizon)


def overlong_penalty(lengths: torch.Tensor, *, limit: int, cache: int) -> torch.Tensor:
    """0 up to limit − cache tokens, falling to −1 at the limit: (completions,). DAPO, Yu et al. 2025, eq. 13."""
    return ((limit - cache - lengths) / cache).clamp(-1, 0)
