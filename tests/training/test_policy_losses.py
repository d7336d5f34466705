"""The clipped ratio, its penalised sister, the value loss and the ways to add tokens up, worked out by hand."""

import math

import pytest
import torch

from training import policy_losses as losses


def logs(*ratios):
    """Log-probabilities whose ratio to old ones of log-probability 0 is as given, with a gradient."""
    return torch.tensor([math.log(ratio) for ratio in ratios], dtype=torch.float64, requires_grad=True)


def ones(n):
    return torch.ones(n, dtype=torch.float64)


@pytest.mark.parametrize(
    ("summed", "expected"),
    [
        ("sequence", [1 / 3, 1 / 3, 1 / 3]),
        ("sequence_mean", [1 / 6, 1 / 9, 1 / 3]),
        ("token", [1 / 6, 1 / 6, 1 / 6]),
        ("constant", [1 / 30, 1 / 30, 1 / 30]),
    ],
)
def test_what_a_token_counts(summed, expected):
    weights = losses.token_weights(torch.tensor([2, 3, 1]), summed, constant=10)
    torch.testing.assert_close(weights, torch.tensor(expected))


def test_sums_are_those_of_padded_matrices():
    """As verl (agg_loss) and TRL write them down over (completions, tokens) with a mask: a mean over what is real."""
    generator = torch.Generator().manual_seed(0)
    lengths = torch.tensor([3, 1, 5, 5])
    mask = (torch.arange(5) < lengths[:, None]).float()
    token_losses = torch.randn(4, 5, generator=generator)
    padded = token_losses * mask + 1000 * (1 - mask)
    of_rows = (padded * mask).sum(1)
    expected = {
        "token": (padded * mask).sum() / mask.sum(),
        "sequence": of_rows.mean(),
        "sequence_mean": (of_rows / mask.sum(1)).mean(),
        "constant": of_rows.sum() / (4 * 16),
    }
    for summed, loss in expected.items():
        weights = losses.token_weights(lengths, summed, constant=16)
        flat = torch.repeat_interleave(weights, lengths) * token_losses[mask.bool()]
        torch.testing.assert_close(flat.sum(), loss)


def test_the_clip_holds_back_only_what_has_gone_far_enough_already():
    """ε = 0.2. Ratios 1.5, 0.5, 1.1 with A = 1, then the same with A = −1."""
    logprobs = logs(1.5, 0.5, 1.1, 1.5, 0.5, 1.1)
    advantages = torch.tensor([1.0, 1, 1, -1, -1, -1], dtype=torch.float64)
    result = losses.clipped_ratio_loss(
        logprobs, torch.zeros(6, dtype=torch.float64), advantages, ones(6), clip_low=0.2, clip_high=0.2
    )
    assert result.loss.item() == pytest.approx(-(1.2 + 0.5 + 1.1 - 1.5 - 0.8 - 1.1))
    assert result.clipped.tolist() == [True, False, False, False, True, False]
    result.loss.backward()  # d(ρA)/d log π = ρA where the clip does not hold
    torch.testing.assert_close(logprobs.grad, -torch.tensor([0.0, 0.5, 1.1, -1.5, 0.0, -1.1], dtype=torch.float64))


def test_the_upper_clip_may_be_wider():
    result = losses.clipped_ratio_loss(
        logs(1.25, 0.75), torch.zeros(2, dtype=torch.float64), torch.tensor([1.0, -1.0]), ones(2),
        clip_low=0.2, clip_high=0.28,
    )  # fmt: skip
    assert result.loss.item() == pytest.approx(-(1.25 - 0.8))
    assert result.clipped.tolist() == [False, True]


def test_on_policy_the_ratio_is_one_and_the_gradient_is_reinforces():
    logprobs = torch.tensor([-1.0, -0.3, -2.0], requires_grad=True)
    advantages, weights = torch.tensor([0.7, -1.2, 0.1]), torch.tensor([0.2, 0.3, 0.5])
    clipped = losses.clipped_ratio_loss(logprobs, logprobs.detach(), advantages, weights, clip_low=0.2, clip_high=0.2)
    assert not clipped.clipped.any() and not clipped.kl_to_old.any()
    (gradient,) = torch.autograd.grad(clipped.loss, logprobs)
    reinforce = losses.reinforce_loss(logprobs, advantages, weights)
    assert torch.equal(gradient, torch.autograd.grad(reinforce.loss, logprobs)[0])
    torch.testing.assert_close(gradient, -weights * advantages)


def test_the_kl_penalty_pulls_back_with_the_gradient_of_the_true_kl():
    """At ratio ρ: −ρA + c(ρ − 1 − log ρ), whose derivative in log π is −ρA + c(ρ − 1)."""
    logprobs = logs(1.5, 0.5)
    result = losses.penalized_ratio_loss(
        logprobs, torch.zeros(2, dtype=torch.float64), torch.tensor([1.0, 1.0]), ones(2), coefficient=2.0
    )
    kl = [0.5 - math.log(1.5), -0.5 - math.log(0.5)]
    assert result.loss.item() == pytest.approx(-2.0 + 2 * sum(kl))
    assert result.kl_to_old.tolist() == pytest.approx(kl)
    result.loss.backward()
    assert logprobs.grad.tolist() == pytest.approx([-1.5 + 2 * 0.5, -0.5 - 2 * 0.5])


def test_a_value_does_not_profit_from_leaving_its_old_one():
    """ε = 0.2, old 0: a step from 0 to 0.5 towards 1 counts as one to 0.2; a step away from the target counts whole."""
    values = torch.tensor([0.5, -0.5, 0.1], requires_grad=True)
    loss = losses.clipped_value_loss(values, torch.zeros(3), torch.ones(3), torch.full((3,), 2.0), clip=0.2)
    assert loss.item() == pytest.approx(0.8**2 + 1.5**2 + 0.9**2)
    loss.backward()
    torch.testing.assert_close(values.grad, torch.tensor([0.0, -3.0, -1.8]))
    plain = losses.clipped_value_loss(values, torch.zeros(3), torch.ones(3), torch.full((3,), 2.0), clip=0.0)
    assert plain.item() == pytest.approx(0.5**2 + 1.5**2 + 0.9**2)
