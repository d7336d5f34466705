"""From scores to advantages, as pure functions: KL estimators, token rewards, GAE, group baselines, whitening.

Tensors of tokens are (completions, tokens) beside a boolean mask of the same shape that is true at real tokens; a
row's real tokens are contiguous, with padding on either side. What stands at padding never matters, and comes out as 0.

Beside a reward for each completion stands `counted`, a boolean of the same shape that is false where no source could
score it. Such a completion is in no mean, no deviation and no number of completions, and its own advantage is 0.
Completions of a prompt that all earned the same have an advantage of exactly 0 by any baseline of the prompt.
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


def batch_mean_advantages(returns: torch.Tensor, counted: torch.Tensor) -> torch.Tensor:
    """R − mean over the batch, any shape: REINFORCE's plainest baseline (Williams 1992)."""
    return _centred(returns.flatten(), counted.flatten()).view_as(returns).to(returns.dtype)


def leave_one_out_advantages(returns: torch.Tensor, counted: torch.Tensor) -> torch.Tensor:
    """R_k − mean of the other n−1 of the same prompt: (prompts, K) → (prompts, K). Ahmadian et al. 2024, RLOO."""
    n = _group_counts(counted)
    return (_centred(returns, counted) * n / (n - 1).clamp(min=1)).to(returns.dtype)


def group_advantages(returns: torch.Tensor, counted: torch.Tensor, *, scaled: bool, eps: float = 1e-4) -> torch.Tensor:
    """R_k − group mean, divided by the group's standard deviation where `scaled`: (prompts, K) → (prompts, K).

    Scaled is GRPO, A_k = (R_k − mean R) / std R (Shao et al. 2024), unscaled Dr. GRPO, A_k = R_k − mean R (Liu et al.
    2025), which shows that the division favours prompts that are too easy or too hard. The deviation is the sample's,
    √(Σ (R_k − mean R)² / (n−1)), plus `eps` as in TRL: more than what float32 rounds of a score, less than what tells
    two completions apart.
    """
    n, centred = _group_counts(counted), _centred(returns, counted)
    if scaled:
        deviation = (centred.square().sum(1, keepdim=True) / (n - 1).clamp(min=1)).sqrt()
        centred = centred / (deviation + eps)
    return centred.to(returns.dtype)


def _group_counts(counted: torch.Tensor) -> torch.Tensor:
    """n, the completions of each prompt that count: (prompts, 1)."""
    if counted.shape[1] < 2:
        raise ValueError("a group baseline needs at least two completions a prompt")
    return counted.sum(1, keepdim=True)


def _centred(x: torch.Tensor, counted: torch.Tensor) -> torch.Tensor:
    """x − mean of the counted in the last dimension, 0 where not counted.

    In float64: there the sum of n equal float32 numbers is exact and its nth part that number again, so that what is
    equal is exactly 0, whatever it is divided by.
    """
    x = torch.where(counted, x.double(), 0.0)
    mean = x.sum(-1, keepdim=True) / counted.sum(-1, keepdim=True).clamp(min=1)
    return torch.where(counted, x - mean, 0.0)


def groups_differ(counted: torch.Tensor, *tables: torch.Tensor) -> torch.Tensor:
    """Whether a prompt's counted completions differ in one of the tables, all (prompts, K): (prompts,) bool."""
    differ = torch.zeros_like(counted[:, 0])
    for table in tables:
        highest = torch.where(counted, table, -torch.inf).amax(1)
        differ |= highest > torch.where(counted, table, torch.inf).amin(1)
    return differ


def constrained_rewards(
    scores: torch.Tensor, counted: torch.Tensor, passed: torch.Tensor, log_ratios: torch.Tensor, *, kl_max: float
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
    calibrated = torch.sigmoid(_centred(scores, counted)).to(scores.dtype)
    return torch.where(passed, (1 - log_ratios / kl_max).clamp(min=0) * calibrated, 0.0)


def whiten(x: torch.Tensor, mask: torch.Tensor, *, eps: float = 1e-8) -> torch.Tensor:
    """(x − mean)/√(variance + eps) over real tokens, so mean 0 and variance 1; 0 at padding."""
    values = x[mask].double()
    white = (x - values.mean()) * torch.rsqrt(values.var(correction=0) + eps)
    return torch.where(mask, white.to(x.dtype), 0.0)


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
