"""Losses of supervised, reward-model and direct-preference training: pure functions, one value per item, unreduced.

The loop divides a batch's sum by the weights of the whole optimizer batch, so that neither its split into parts nor the
number of processes changes the result.
"""

import torch
from torch.nn.functional import logsigmoid


def sft_loss(logprobs: torch.Tensor) -> torch.Tensor:
    """−log π(token), (completion tokens,) → (completion tokens,): cross-entropy on completion tokens only."""
    return -logprobs


def bradley_terry_loss(
    chosen: torch.Tensor,
    rejected: torch.Tensor,
    *,
    margin: torch.Tensor | float = 0.0,
    probability: torch.Tensor | float = 1.0,
) -> torch.Tensor:
    """−p log σ(r_w − r_l − m) − (1 − p) log σ(r_l − r_w + m); rewards (pairs,) → (pairs,).

    p = 1 is Ouyang et al. 2022, eq. 1; the margin m is Touvron et al. 2023 (Llama 2), eq. 2; p below 1 is the share of
    votes for `chosen`, cross-entropy with a soft label.
    """
    logits = chosen - rejected - margin
    return -probability * logsigmoid(logits) - (1 - probability) * logsigmoid(-logits)


def dpo_loss(
    policy_chosen: torch.Tensor,
    policy_rejected: torch.Tensor,
    reference_chosen: torch.Tensor,
    reference_rejected: torch.Tensor,
    *,
    beta: float,
    label_smoothing: torch.Tensor | float = 0.0,
    margin: torch.Tensor | float = 0.0,
) -> torch.Tensor:
    """−(1 − ε) log σ(h) − ε log σ(−h), h = β[(log π/π_ref)(y_w) − (log π/π_ref)(y_l)] − m.

    Log-probabilities of whole responses (pairs,) → (pairs,). Rafailov et al. 2023, eq. 7 with ε = m = 0; ε is the
    probability that a label is wrong (cDPO, Mitchell 2023); m is the offset of Amini et al. 2024 (ODPO), eq. 8.
    """
    logits = beta * ((policy_chosen - reference_chosen) - (policy_rejected - reference_rejected)) - margin
    return -(1 - label_smoothing) * logsigmoid(logits) - label_smoothing * logsigmoid(-logits)
