"""Losses of reward models and direct preference against numbers worked out by hand."""

import math

import pytest
import torch

from training import losses

LOG2 = math.log(2)
LOG3 = math.log(3)


def of(*values):
    return torch.tensor(values, dtype=torch.float64)


def close(actual, *expected):
    torch.testing.assert_close(actual, of(*expected), rtol=0, atol=1e-9)


def test_sft_is_minus_the_log_probability_of_each_token():
    close(losses.sft_loss(of(-0.5, -2.0)), 0.5, 2.0)


def test_bradley_terry():
    # Lead log 3: σ = 3/4, so log(4/3). No lead: log 2. Lead −log 3: σ = 1/4, log 4.
    loss = losses.bradley_terry_loss(of(LOG3, 1.0, 0.0), of(0.0, 1.0, LOG3))
    close(loss, math.log(4 / 3), LOG2, math.log(4))


def test_bradley_terry_with_a_margin_asks_for_a_larger_lead():
    # A lead of exactly the margin is as uncertain as no lead without one.
    close(losses.bradley_terry_loss(of(2.5), of(1.0), margin=of(1.5)), LOG2)


def test_bradley_terry_with_votes_is_cross_entropy():
    # σ(log 3) = 3/4 and three of four voted so: the entropy of (3/4, 1/4).
    entropy = -0.75 * math.log(0.75) - 0.25 * math.log(0.25)
    close(losses.bradley_terry_loss(of(LOG3), of(0.0), probability=of(0.75)), entropy)


def test_bradley_terry_is_finite_far_out():
    loss = losses.bradley_terry_loss(torch.tensor([-1e4]), torch.tensor([1e4]))
    assert loss.tolist() == [2e4]


def test_davidson():
    # r_w = log 4, r_l = 0, ν = 1: 4 : 1 : 2, so 4/7, 1/7, 2/7.
    chosen, rejected, log_nu = of(LOG2 * 2, LOG2 * 2), of(0.0, 0.0), of(0.0).squeeze()
    loss = losses.davidson_loss(chosen, rejected, log_nu, tie=torch.tensor([False, True]))
    close(loss, math.log(7 / 4), math.log(7 / 2))
    loser = losses.davidson_loss(chosen, rejected, log_nu, tie=torch.tensor([False, False]), probability=0.0)
    close(loser, math.log(7), math.log(7))


def test_davidson_without_ties_is_bradley_terry():
    chosen, rejected = of(0.3, -2.0), of(1.0, 0.5)
    tie = torch.tensor([False, False])
    loss = losses.davidson_loss(chosen, rejected, torch.tensor(-60.0, dtype=torch.float64), tie=tie)
    torch.testing.assert_close(loss, losses.bradley_terry_loss(chosen, rejected))


def test_rao_kupper():
    # θ = log 2, d = 0: σ(−log 2) = 1/3 each way, and the tie has the remaining third.
    log_threshold = of(math.log(LOG2)).squeeze()
    loss = losses.rao_kupper_loss(of(0.0, 0.0), of(0.0, 0.0), log_threshold, tie=torch.tensor([False, True]))
    close(loss, LOG3, LOG3)
    # d = log 4: win 4/(4+2) = 2/3, loss 1/(1+8) = 1/9, tie 2/9.
    loss = losses.rao_kupper_loss(of(2 * LOG2, 2 * LOG2), of(0.0, 0.0), log_threshold, tie=torch.tensor([False, True]))
    close(loss, math.log(3 / 2), math.log(9 / 2))


def test_dpo():
    # Log-ratios: chosen +3, rejected −1, so h = 0.5 · 4 = 2; then 0.5 · (0 − 0) = 0.
    arguments = of(-7.0, -4.0), of(-6.0, -4.0), of(-10.0, -4.0), of(-5.0, -4.0)
    close(losses.dpo_loss(*arguments, beta=0.5), math.log1p(math.exp(-2)), LOG2)


def test_dpo_gradient_is_beta_times_the_error():
    # ∂/∂log π(y_w) = −β σ(−h), the opposite for y_l (Rafailov et al. 2023, after eq. 7); h = 0 gives β/2.
    chosen, rejected = of(-3.0).requires_grad_(), of(-2.0).requires_grad_()
    losses.dpo_loss(chosen, rejected, of(-3.0), of(-2.0), beta=0.1).backward()
    close(chosen.grad, -0.05)
    close(rejected.grad, 0.05)


def test_cdpo_mixes_both_labels():
    arguments = of(-7.0), of(-6.0), of(-10.0), of(-5.0)
    right, wrong = math.log1p(math.exp(-2)), math.log1p(math.exp(2))
    close(losses.dpo_loss(*arguments, beta=0.5, probability=0.9), 0.9 * right + 0.1 * wrong)


def test_dpo_with_a_margin():
    arguments = of(-7.0), of(-6.0), of(-10.0), of(-5.0)
    close(losses.dpo_loss(*arguments, beta=0.5, margin=of(2.0)), LOG2)


def test_ipo():
    # Lead 4, target 1/(2 · 0.25) = 2: (4 − 2)² = 4; label turned round: (4 + 2)² = 36.
    arguments = of(-7.0), of(-6.0), of(-10.0), of(-5.0)
    close(losses.ipo_loss(*arguments, beta=0.25), 4.0)
    close(losses.ipo_loss(*arguments, beta=0.25, probability=0.75), 0.75 * 4 + 0.25 * 36)


def test_simpo():
    # h = 2 · (−1 + 2) − 0.5 = 1.5.
    close(losses.simpo_loss(of(-1.0), of(-2.0), beta=2.0, gamma=0.5), math.log1p(math.exp(-1.5)))


@pytest.mark.parametrize("size", [1e3, -1e3])
def test_extreme_leads_have_finite_gradients(size):
    chosen = torch.tensor([size], requires_grad=True)
    losses.dpo_loss(chosen, torch.zeros(1), torch.zeros(1), torch.zeros(1), beta=1.0).backward()
    assert chosen.grad.item() == (-1.0 if size < 0 else 0.0)
