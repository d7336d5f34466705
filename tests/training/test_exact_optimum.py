"""The release gate: in a world of 512 sequences every preset reaches the optimum of what it optimises.

For presets with the KL in the reward that is π* ∝ π_ref·exp(r/β) itself. GRPO and Dr. GRPO charge the KL in the loss by
k3, whose optimum differs (see `training.verify`); they are held to that one, and with the KL in the reward to π*.
"""

import pytest
import torch

from training import verify
from training.advantages import constrained_rewards
from training.verify import LIMIT, Case, World, kl, optimum, optimum_constrained, optimum_in_loss, sequence_logprobs

KL_IN_REWARD = {"kl_in": "reward", "kl_estimator": "k1"}


@pytest.fixture(scope="module")
def world():
    return World.draw(0)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("case", "beta", "steps"),
    [
        (Case("reinforce"), 0.5, 150),
        (Case("a2c"), 1.0, 150),
        (Case("rloo"), 0.5, 150),
        (Case("ppo"), 1.0, 150),
        (Case("grpo"), 1.0, 250),
        (Case("grpo", "KL in the reward", KL_IN_REWARD), 0.5, 150),
        (Case("dr_grpo"), 1.0, 250),
        (Case("dr_grpo", "KL in the reward", KL_IN_REWARD), 0.5, 150),
    ],
    ids=lambda value: f"{value.preset} {value.note}".strip() if isinstance(value, Case) else str(value),
)
def test_the_preset_reaches_its_optimum(case, beta, steps, world):
    begin = kl(sequence_logprobs(world.reference), optimum(world, beta))
    assert begin > 0.3  # there is a way to go
    result = verify.run(case, world, beta, steps=steps)
    assert result.kl_to_own < LIMIT
    if case.settings == KL_IN_REWARD or case.preset not in ("grpo", "dr_grpo"):
        assert result.kl_to_optimum < LIMIT
    else:
        assert result.kl_to_optimum > 0.1  # what it tends to is another policy


@pytest.mark.slow
def test_cgpo_reaches_its_optimum_and_stops_violating(world):
    """From half of the probability on sequences that the judge fails, to hardly any; within a KL of kl_max."""
    reference = sequence_logprobs(world.reference)
    before = float(reference[~world.passes].exp().sum())
    result = verify.run(Case("cgpo", settings={"kl_max": 2.0}), world, 0.0, steps=150)
    assert before > 0.4 and result.violations < 0.01
    assert result.reward > float((reference.exp() * world.rewards).sum()) + 0.3
    assert result.kl_to_own < LIMIT


def test_the_optimum_under_constraints_leaves_the_same_of_every_reward(world):
    """What is left of the reward, by the loop's own function, is one number wherever π* is, and 0 elsewhere."""
    target = optimum_constrained(world, 2.0, mean_reward := 0.3)
    assert float(target.exp().sum()) == pytest.approx(1) and float(target[~world.passes].exp().sum()) == 0
    reference = sequence_logprobs(world.reference)
    rewards = (world.rewards - mean_reward)[:, None]  # the prompt's mean is that of the pair (r, −r): 0
    log_ratios = (target - reference).nan_to_num(neginf=0.0)[:, None].expand(-1, 2)
    passed = world.passes[:, None].expand(-1, 2)
    left = constrained_rewards(
        torch.cat([rewards, -rewards], 1), torch.ones_like(passed), passed, log_ratios, kl_max=2.0
    )[:, 0]
    assert left[world.passes].std() < 1e-9 < left[world.passes].min() and left[~world.passes].abs().max() == 0
    kl_to_reference = float((target[world.passes].exp() * (target - reference)[world.passes]).sum())
    assert 0 < kl_to_reference < 2.0


def test_pi_star_is_the_best_of_all_policies(world):
    """E[r] − β·KL(π‖π_ref) = β log Z at π*, and less anywhere near."""
    beta, reference = 0.7, sequence_logprobs(world.reference)
    best = optimum(world, beta)
    value = lambda policy: float((policy.exp() * world.rewards).sum()) - beta * kl(policy, reference)  # noqa: E731
    assert value(best) == pytest.approx(beta * float((reference + world.rewards / beta).logsumexp(0)))
    generator = torch.Generator().manual_seed(1)
    for _ in range(20):
        other = (best + 0.1 * torch.randn(512, generator=generator, dtype=torch.float64)).log_softmax(0)
        assert value(other) < value(best)


@pytest.mark.parametrize("estimator", ["k2", "k3"])
def test_the_optimum_of_a_kl_in_the_loss_has_no_expected_gradient(estimator, world):
    """Summed over all 512 sequences by autograd, nothing sampled, at the closed form's logits."""
    beta, scale = 0.5, 0.9
    target = optimum_in_loss(world, beta, estimator, scale)
    assert float(target.exp().sum()) == pytest.approx(1)
    codes = torch.arange(512)
    tokens = torch.stack([codes // 64, codes // 8 % 8, codes % 8], 1)
    states = torch.stack([torch.zeros_like(codes), 1 + tokens[:, 0], 9 + 8 * tokens[:, 0] + tokens[:, 1]], 1)
    # The conditionals of the joint distribution, as logits of a table.
    joint = target.exp().view(8, 8, 8)
    table = torch.cat([joint.sum((1, 2)).view(1, 8), joint.sum(2), joint.view(64, 8)]).log().requires_grad_(True)
    logprobs = table.log_softmax(-1)[states, tokens]
    log_ratio = world.reference[states, tokens] - logprobs
    penalty = torch.expm1(log_ratio) - log_ratio if estimator == "k3" else log_ratio.square() / 2
    probabilities = target.exp()
    advantages = scale * (world.rewards - (probabilities * world.rewards).sum())
    objective = (probabilities[:, None] * (advantages[:, None] * logprobs - beta * penalty)).sum()
    (gradient,) = torch.autograd.grad(objective, table)
    assert gradient.abs().max() < 1e-9


def test_the_table_policy_is_read_as_a_language_model(world):
    """What the sampler reports and the trainer computes of it are the table's own conditionals."""
    from training.batching import Example, collate
    from training.logprobs import completion_logprobs
    from training.sampling import sample

    policy = verify.TablePolicy(world.reference)
    (group,) = sample(policy, [[8]], n=50, max_new_tokens=3, eos_id=-1, pad_id=0, seed=3)
    flat = completion_logprobs(policy, collate([Example((8,), tuple(c.ids for c in group))], 0, shared=False))
    total = sequence_logprobs(world.reference)
    for completion, computed in zip(group, flat.view(50, 3), strict=True):
        place = completion.ids[0] * 64 + completion.ids[1] * 8 + completion.ids[2]
        assert sum(completion.logprobs) == pytest.approx(float(total[place]), abs=1e-4)
        assert computed.sum().item() == pytest.approx(float(total[place]), abs=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("preset", ["dapo", "dr_grpo"])
def test_without_a_kl_one_good_sequence_is_all_that_is_left(preset, world):
    result = verify.run(Case(preset, settings={"beta": 0.0}), world, 0.0, steps=150)
    assert result.kl_to_own < LIMIT
    assert result.reward > 0.95 * float(world.rewards.max())
