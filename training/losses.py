"""Losses of supervised, reward-model and direct-preference training: pure functions, one value per item, unreduced.

The loop divides a batch's sum by the weights of the whole optimizer batch, so that neither its split into parts nor the
number of processes changes the result. Rewards and log-probabilities are (pairs,) float tensors, and so is what
returns; `probability` is that of "chosen beats rejected": 1, the share of votes for it, or 1/2 where they are equal.
"""

import torch
from torch.nn.functional import logsigmoid, softplus


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
    """−p log σ(r_w − r_l − m) − (1 − p) log σ(r_l − r_w + m).

    With p = 1 and m = 0 Ouyang et al. 2022, eq. 1; the margin m is Touvron et al. 2023 (Llama 2), eq. 2.
    """
    return _soft_label_loss(chosen - rejected - margin, probability)


def davidson_loss(
    chosen: torch.Tensor,
    rejected: torch.Tensor,
    log_nu: torch.Tensor,
    *,
    tie: torch.Tensor,
    probability: torch.Tensor | float = 1.0,
) -> torch.Tensor:
    """Bradley–Terry with ties (Davidson 1970): win : loss : tie as e^r_w : e^r_l : ν e^((r_w + r_l)/2).

    `tie` (pairs,) bool: judged equal. ν = 0 is Bradley–Terry; equal rewards tie with probability ν / (2 + ν).
    """
    half = (chosen - rejected) / 2
    outcomes = torch.stack([half, -half, log_nu.expand_as(half)], -1).log_softmax(-1)
    win, loss, even = outcomes.unbind(-1)
    return torch.where(tie, -even, -probability * win - (1 - probability) * loss)


def rao_kupper_loss(
    chosen: torch.Tensor,
    rejected: torch.Tensor,
    log_threshold: torch.Tensor,
    *,
    tie: torch.Tensor,
    probability: torch.Tensor | float = 1.0,
) -> torch.Tensor:
    """Bradley–Terry where a lead must pass a threshold θ > 0 to be seen (Rao & Kupper 1967).

    P(win) = σ(d − θ), P(loss) = σ(−d − θ), P(tie) = (e^(2θ) − 1) σ(d − θ) σ(−d − θ), with d = r_w − r_l.
    """
    difference, threshold = chosen - rejected, log_threshold.exp()
    win, loss = logsigmoid(difference - threshold), logsigmoid(-difference - threshold)
    # log(e^(2θ) − 1) = 2θ + log(1 − e^(−2θ))
    even = 2 * threshold + torch.log(-torch.expm1(-2 * threshold)) + win + loss
    return torch.where(tie, -even, -probability * win - (1 - probability) * loss)


def dpo_loss(
    policy_chosen: torch.Tensor,
    policy_rejected: torch.Tensor,
    reference_chosen: torch.Tensor,
    reference_rejected: torch.Tensor,
    *,
    beta: float,
    margin: torch.Tensor | float = 0.0,
    probability: torch.Tensor | float = 1.0,
) -> torch.Tensor:
    """−p log σ(h) − (1 − p) log σ(−h), h = β[log (π/π_ref)(y_w) − log (π/π_ref)(y_l)] − m; sums over whole responses.

    Rafailov et al. 2023, eq. 7, with p = 1 and m = 0. p = 1 − ε is cDPO (Mitchell 2023), where labels are wrong with
    probability ε. m is the offset of Amini et al. 2024 (ODPO): a better response must lead by more.
    """
    logits = beta * ((policy_chosen - reference_chosen) - (policy_rejected - reference_rejected)) - margin
    return _soft_label_loss(logits, probability)


def ipo_loss(
    policy_chosen: torch.Tensor,
    policy_rejected: torch.Tensor,
    reference_chosen: torch.Tensor,
    reference_rejected: torch.Tensor,
    *,
    beta: float,
    probability: torch.Tensor | float = 1.0,
) -> torch.Tensor:
    """p (h − 1/(2β))² + (1 − p)(h + 1/(2β))², h = log (π/π_ref)(y_w) − log (π/π_ref)(y_l); means per token.

    Azar et al. 2023, eq. 17; means, since sums would ask the same lead of long and short responses.
    """
    lead = (policy_chosen - reference_chosen) - (policy_rejected - reference_rejected)
    target = 1 / (2 * beta)
    return probability * (lead - target) ** 2 + (1 - probability) * (lead + target) ** 2


def simpo_loss(
    policy_chosen: torch.Tensor,
    policy_rejected: torch.Tensor,
    *,
    beta: float,
    gamma: float,
    probability: torch.Tensor | float = 1.0,
) -> torch.Tensor:
    """−p log σ(h) − (1 − p) log σ(−h), h = β[log π(y_w) − log π(y_l)] − γ; means per token, no reference.

    Meng et al. 2024, eq. 6.
    """
    return _soft_label_loss(beta * (policy_chosen - policy_rejected) - gamma, probability)


def _soft_label_loss(logits: torch.Tensor, probability: torch.Tensor | float) -> torch.Tensor:
    """Cross-entropy of σ(logits) with a label of this probability: softplus(−z) + (1 − p) z."""
    return softplus(-logits) + (1 - probability) * logits
