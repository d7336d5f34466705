"""KL estimators, token rewards, GAE and baselines against numbers worked out by hand and closed forms."""

import functools
import math

import pytest
import torch

from training import advantages as adv

PADDING = 99.0


def row(*values):
    return torch.tensor([values], dtype=torch.float64)


# --- KL estimators: Schulman, "Approximating KL divergence" -----------------------------------------------------------


@pytest.mark.parametrize(
    ("mean", "bias", "spread"),
    [
        (0.1, {"k1": 0, "k2": 0.0025, "k3": 0}, {"k1": 20, "k2": 1.42, "k3": 1.42}),
        (1.0, {"k1": 0, "k2": 0.25, "k3": 0}, {"k1": 2, "k2": 1.73, "k3": 1.7}),
    ],
)
def test_bias_and_spread_of_the_kl_estimators_are_schulmans(mean, bias, spread):
    """Samples x ~ q = N(0,1), reference p = N(mean,1), true KL(q‖p) = mean²/2. Stratified, so that 2 % is certain."""
    count = 2_000_000
    uniform = (torch.arange(count, dtype=torch.float64) + 0.5) / count
    x = math.sqrt(2) * torch.erfinv(2 * uniform - 1)
    log_q, log_p = -x.square() / 2, -(x - mean).square() / 2
    true = mean**2 / 2
    for estimator in ("k1", "k2", "k3"):
        kl = adv.kl_estimate(log_q, log_p, estimator)
        assert float(kl.mean() / true - 1) == pytest.approx(bias[estimator], rel=0.02, abs=5e-4)
        assert float(kl.std() / true) == pytest.approx(spread[estimator], rel=0.02)


@pytest.mark.parametrize("distance", [1e-3, 3e-4, 2**-12])
def test_k3_keeps_its_digits_where_the_policies_are_nearly_equal(distance):
    """exp(x) − 1 − x would be off by 5 %, 11 % and all of it."""
    distance = float(torch.tensor(distance))  # as float32 has it
    k3 = adv.kl_estimate(torch.tensor([0.0]), torch.tensor([distance]), "k3")
    assert float(k3) == pytest.approx(math.expm1(distance) - distance, rel=1e-3)


def test_an_unknown_estimator_is_named():
    with pytest.raises(ValueError, match="k4"):
        adv.kl_estimate(row(0.0), row(0.0), "k4")


# --- token rewards ----------------------------------------------------------------------------------------------------


def test_every_token_pays_for_its_kl_and_the_last_real_one_earns_the_score():
    kl = torch.tensor([[0.5, 1.0, PADDING], [0.2, -0.4, 0.6], [PADDING, PADDING, 2.0]])
    mask = torch.tensor([[1, 1, 0], [1, 1, 1], [0, 0, 1]]).bool()
    rewards = adv.token_rewards(torch.tensor([3.0, -1.0, 0.5]), kl, mask, beta=0.1)
    expected = torch.tensor([[-0.05, 3 - 0.1, 0], [-0.02, 0.04, -1 - 0.06], [0, 0, 0.5 - 0.2]])
    torch.testing.assert_close(rewards, expected)


# --- GAE --------------------------------------------------------------------------------------------------------------

REWARDS, VALUES = row(1.0, 0.0, 2.0), row(0.5, 1.0, -1.0)
REAL = torch.ones(1, 3, dtype=torch.bool)


def test_gae_by_hand():
    """γ = 0.9, λ = 0.5: δ = (1 + 0.9 − 0.5, −0.9 − 1, 2 + 1) = (1.4, −1.9, 3), then A_t = δ_t + 0.45 A_{t+1}."""
    advantages, targets = adv.gae(REWARDS, VALUES, REAL, gamma=0.9, lam=0.5)
    third, second = 3.0, -1.9 + 0.45 * 3.0
    first = 1.4 + 0.45 * second
    torch.testing.assert_close(advantages, row(first, second, third))
    torch.testing.assert_close(targets, row(first + 0.5, second + 1.0, third - 1.0))


def test_lambda_zero_is_the_td_residual():
    advantages, _ = adv.gae(REWARDS, VALUES, REAL, gamma=0.9, lam=0.0)
    torch.testing.assert_close(advantages, row(1.4, -1.9, 3.0))


def test_lambda_one_is_the_monte_carlo_return_less_the_value():
    advantages, targets = adv.gae(REWARDS, VALUES, REAL, gamma=0.9, lam=1.0)
    returns = row(1 + 0.81 * 2, 0.9 * 2, 2.0)
    torch.testing.assert_close(advantages, returns - VALUES)
    torch.testing.assert_close(targets, returns)


def test_gae_does_not_see_padding_of_any_amount_side_or_content():
    expected, _ = adv.gae(REWARDS, VALUES, REAL, gamma=0.9, lam=0.7)
    for left, right in ((0, 1), (2, 0), (1, 3)):
        # Of rewards and of values, which must not happen to cancel.
        for contents in ((0.0, 0.0), (PADDING, 0.0), (0.0, PADDING), (-7.0, 30.0)):
            rewards, values = (
                torch.nn.functional.pad(x, (left, right), value=content)
                for x, content in zip((REWARDS, VALUES), contents, strict=True)
            )
            mask = torch.nn.functional.pad(REAL, (left, right))
            advantages, targets = adv.gae(rewards, values, mask, gamma=0.9, lam=0.7)
            torch.testing.assert_close(advantages[mask], expected[0])
            assert not advantages[~mask].any() and not targets[~mask].any()


@pytest.mark.parametrize(("gamma", "lam"), [(1.0, 0.95), (0.9, 0.5), (0.99, 0.0), (0.97, 1.0)])
def test_gae_is_the_weighted_mean_of_n_step_advantages(gamma, lam):
    """Schulman et al. 2016, eqs. 14 to 16, from the definition: (1 − λ) Σ λ^(n−1) A⁽ⁿ⁾, the last A⁽ⁿ⁾ with the rest."""
    generator = torch.Generator().manual_seed(0)
    lengths = [1, 2, 5, 7]
    mask = torch.arange(7) < torch.tensor(lengths)[:, None]
    rewards, values = (torch.randn(4, 7, generator=generator, dtype=torch.float64) for _ in range(2))
    expected = torch.zeros(4, 7, dtype=torch.float64)
    for row, length in enumerate(lengths):
        r, v = rewards[row].tolist(), [*values[row, :length].tolist(), 0.0]
        for t in range(length):
            steps = [
                sum(gamma**k * r[t + k] for k in range(n)) + gamma**n * v[t + n] - v[t]
                for n in range(1, length - t + 1)
            ]
            weights = [(1 - lam) * lam ** (n - 1) for n in range(1, len(steps))] + [lam ** (len(steps) - 1)]
            expected[row, t] = sum(weight * step for weight, step in zip(weights, steps, strict=True))
    advantages, targets = adv.gae(rewards, values, mask, gamma=gamma, lam=lam)
    torch.testing.assert_close(advantages, expected)
    torch.testing.assert_close(targets, torch.where(mask, expected + values, 0.0))


# --- baselines --------------------------------------------------------------------------------------------------------

RETURNS = torch.tensor([[1.0, 2.0, 6.0], [4.0, 4.0, 4.0]])
ALL = torch.ones(2, 3, dtype=torch.bool)
BASELINES = {
    "batch": adv.batch_mean_advantages,
    "leave_one_out": adv.leave_one_out_advantages,
    "group": functools.partial(adv.group_advantages, scaled=False),
    "group_std": functools.partial(adv.group_advantages, scaled=True),
}


def test_batch_mean():
    expected = torch.tensor([[-2.5, -1.5, 2.5], [0.5, 0.5, 0.5]])
    torch.testing.assert_close(adv.batch_mean_advantages(RETURNS, ALL), expected)


def test_leave_one_out_compares_with_the_others():
    expected = torch.tensor([[1 - 4.0, 2 - 3.5, 6 - 1.5], [0.0, 0.0, 0.0]])
    torch.testing.assert_close(adv.leave_one_out_advantages(RETURNS, ALL), expected)
    with pytest.raises(ValueError, match="two completions"):
        adv.leave_one_out_advantages(RETURNS[:, :1], ALL[:, :1])


def test_group_baselines():
    """The first group's mean is 3 and its deviation √((4 + 1 + 9)/2) = √7."""
    centred = torch.tensor([[-2.0, -1.0, 3.0], [0.0, 0.0, 0.0]])
    torch.testing.assert_close(adv.group_advantages(RETURNS, ALL, scaled=False), centred)
    scaled = adv.group_advantages(RETURNS, ALL, scaled=True)
    torch.testing.assert_close(scaled[0], centred[0] / (math.sqrt(7) + 1e-4), rtol=1e-6, atol=0)
    assert not scaled[1].any()


@pytest.mark.parametrize("k", [3, 5, 6, 7, 8, 10, 12, 16])
@pytest.mark.parametrize("reward", [17.3, 5.1, 0.1, -0.7, 33.3])
@pytest.mark.parametrize("baseline", BASELINES)
def test_equal_rewards_have_an_advantage_of_exactly_0(baseline, reward, k):
    """In float32 the mean of eight 17.3 is none, and over a deviation of nothing the difference became −0.63."""
    returns, counted = torch.full((1, k), reward), torch.ones(1, k, dtype=torch.bool)
    assert not BASELINES[baseline](returns, counted).any()
    returns[0, 1], counted[0, 1] = math.nan, False
    assert not BASELINES[baseline](returns, counted).any()


@pytest.mark.parametrize("baseline", BASELINES)
def test_a_completion_without_a_reward_is_as_if_it_had_not_been_drawn(baseline):
    """Rewards 1 and 3 of eight completions: ±1, by the deviation √2 ±0.7071, against the one other ±2."""
    returns = torch.tensor([[1.0, math.nan, 3.0, math.nan, math.nan, math.nan, math.nan, math.nan]])
    advantages = BASELINES[baseline](returns, ~returns.isnan())
    size = {"batch": 1, "group": 1, "group_std": 1 / (math.sqrt(2) + 1e-4), "leave_one_out": 2}[baseline]
    assert advantages[0].tolist() == pytest.approx([-size, 0, size, 0, 0, 0, 0, 0])
    alone = returns[:, [1, 2]]  # one of a group, or none, has nothing to be compared with
    assert not BASELINES[baseline](alone, ~alone.isnan()).any()
    assert not BASELINES[baseline](returns, torch.zeros_like(returns, dtype=torch.bool)).any()


def test_groups_differ_where_two_counted_completions_do():
    nan = math.nan
    rewards = torch.tensor([[1.0, 2.0, nan], [2.0, 2.0, nan], [nan, nan, 3.0], [nan, nan, nan], [2.0, 2.0, 2.0]])
    passed = torch.tensor([[True] * 3] * 4 + [[True, False, True]])
    assert adv.groups_differ(~rewards.isnan(), rewards).tolist() == [True, False, False, False, False]
    assert adv.groups_differ(~rewards.isnan(), rewards, passed).tolist() == [True, False, False, False, True]


# --- whitening and what is measured -----------------------------------------------------------------------------------


def test_whitening_counts_real_tokens_only():
    x = torch.tensor([[1.0, 3.0, PADDING], [5.0, PADDING, PADDING]])
    mask = x != PADDING
    white = adv.whiten(x, mask)
    spread = math.sqrt(8 / 3)
    torch.testing.assert_close(white, torch.tensor([[-2 / spread, 0, 0], [2 / spread, 0, 0]]))


def test_explained_variance():
    targets, mask = torch.tensor([[1.0, 2.0, 3.0, PADDING]]), torch.tensor([[1, 1, 1, 0]]).bool()
    assert adv.explained_variance(targets.clone(), targets, mask) == 1
    assert adv.explained_variance(torch.zeros(1, 4), targets, mask) == 0
    # Residuals (0, 1, 2) · 0.5 leave a quarter of the variance.
    assert adv.explained_variance(targets / 2, targets, mask) == pytest.approx(0.75)


def test_beta_follows_the_kl_by_a_bounded_proportion():
    """Ziegler et al. 2019: the relative error is cut to ±0.2 and applied over the horizon."""
    step = {"target": 6.0, "horizon": 10_000, "completions": 100}
    assert adv.adapted_beta(0.1, 6.0, **step) == pytest.approx(0.1)
    assert adv.adapted_beta(0.1, 6.6, **step) == pytest.approx(0.1 * (1 + 0.1 * 0.01))
    assert adv.adapted_beta(0.1, 600.0, **step) == pytest.approx(0.1 * (1 + 0.2 * 0.01))
    assert adv.adapted_beta(0.1, 0.0, **step) == pytest.approx(0.1 * (1 - 0.2 * 0.01))


def test_the_overlong_penalty_rises_in_the_last_part_of_the_limit():
    lengths = torch.tensor([10, 80, 90, 100])
    torch.testing.assert_close(adv.overlong_penalty(lengths, limit=100, cache=20), torch.tensor([0.0, 0.0, -0.5, -1.0]))


# --- constraints ------------------------------------------------------------------------------------------------------


def test_what_judges_and_the_kl_leave_of_a_reward():
    """σ(±1) = 0.731059, 0.268941; half of the KL's room used halves it, all of it or a failed judge leaves 0."""
    scores = torch.tensor([[2.0, 0.0], [1.0, 1.0]])
    passed = torch.tensor([[True, True], [False, True]])
    log_ratios = torch.tensor([[0.0, 1.0], [0.0, 5.0]])
    left = adv.constrained_rewards(scores, ALL[:, :2], passed, log_ratios, kl_max=2.0)
    assert left.flatten().tolist() == pytest.approx([0.731059, 0.134471, 0.0, 0.0], abs=1e-6)
    advantages = adv.batch_mean_advantages(left, ALL[:, :2])  # better than average and passed: the first alone
    assert (advantages > 0).tolist() == [[True, False], [False, False]]


def test_a_constrained_reward_is_calibrated_against_what_was_scored():
    """The mean of 2 and 0 is 1, whatever stands in the third place."""
    scores = torch.tensor([[2.0, 0.0, math.nan]])
    passed = torch.ones(1, 3, dtype=torch.bool)
    left = adv.constrained_rewards(scores, ~scores.isnan(), passed, torch.zeros(1, 3), kl_max=2.0)
    assert left[0, :2].tolist() == pytest.approx([0.731059, 0.268941], abs=1e-6) and left.isfinite().all()
