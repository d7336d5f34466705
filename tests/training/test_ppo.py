"""The policy-gradient loop: it learns, goes on where it was stopped; its first step, masks and rewards are right."""

import dataclasses
import json
import math

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

from tests.training.policies import (
    PAD,
    PRESETS,
    PROMPTS,
    count_rewarded,
    first_round,
    learn,
    logits_of,
    make_actors,
    moved,
    quiet,
    scored,
    settings_of,
)
from tests.training.tiny import make_gpt2, save_tiny
from training.actors import load_actors, make_optimizer
from training.advantages import gae, kl_estimate, token_rewards, whiten
from training.batching import collate
from training.config import ConfigError
from training.events import EventLog
from training.models import load_policy, load_reward_model, load_tokenizer, save_model
from training.policy_losses import token_weights
from training.recipes.policy_gradient import assign_credit, improve, loss_of, update
from training.rewards.combine import Scores
from training.runtime import start


@pytest.mark.parametrize("preset", PRESETS)
def test_every_algorithm_finds_what_is_rewarded(preset, tmp_path):
    settings = settings_of(
        preset, tmp_path, steps=25, prompts_per_step=8, learning_rate=1e-2, value_learning_rate=1e-2, warmup=0,
        beta=0.01, seed=3,
    )  # fmt: skip
    actors = make_actors(value=settings.baseline == "value")
    before = {name: tensor.clone() for name, tensor in actors.reference.state_dict().items()}
    metrics = learn(settings, actors)
    assert metrics["reward"] > 2  # at the start 8 tokens out of 24 kinds have a third of one
    assert metrics["kl"] > 0.5
    assert all(torch.equal(before[name], tensor) for name, tensor in actors.reference.state_dict().items())


def test_the_value_model_learns_to_foresee(tmp_path):
    settings = settings_of("ppo", tmp_path, steps=30, learning_rate=0, value_learning_rate=1e-2, warmup=0, beta=0.0)

    def score(indices, groups):
        return torch.tensor(indices).float()[:, None].expand(-1, settings.samples)

    metrics = learn(settings, make_actors(), score)
    assert metrics["explained_variance"] > 0.9
    assert metrics["kl"] == pytest.approx(0, abs=1e-5)  # the policy's learning rate is 0


# --- the first step ---------------------------------------------------------------------------------------------------


def gradients_of(actors, settings, rollout, credit, position, **options):
    """The policy's and the value model's gradients of one minibatch of everything."""
    weights = token_weights(rollout.lengths, settings.summed, constant=settings.max_tokens)
    batch = collate(rollout.batches.examples, PAD, shared=actors.shared)
    value_weight = 1 / int(rollout.mask.sum())
    loss, sums = loss_of(actors, batch, rollout, credit, weights, value_weight, position.beta, settings)
    loss.backward()
    gradients = [p.grad.clone() for model in actors.trained().values() for p in model.parameters()]
    actors.trained().zero_grad()
    return gradients, {name: float(total) for name, total in sums.items()}


def test_on_policy_ppo_clips_nothing_and_its_gradient_is_reinforces(tmp_path):
    ppo = settings_of("ppo", tmp_path, epochs=4, temperature=0.7)
    actors = make_actors()
    _, position, rollout = first_round(ppo, actors)
    credit = assign_credit(rollout, ppo, ppo.beta)
    gradients, sums = gradients_of(actors, ppo, rollout, credit, position)
    assert sums["clip_fraction"] == 0
    assert sums["kl_to_old"] == pytest.approx(0, abs=1e-9)
    plain, _ = gradients_of(
        actors, dataclasses.replace(ppo, policy_loss="log_prob", epochs=1), rollout, credit, position
    )
    for clipped, reinforce in zip(gradients, plain, strict=True):
        torch.testing.assert_close(clipped, reinforce, rtol=1e-4, atol=1e-7)
    # With a single step a round the ratio is 1 to the last bit.
    _, sums = gradients_of(actors, dataclasses.replace(ppo, epochs=1), rollout, credit, position)
    assert sums["kl_to_old"] == 0 and sums["clip_fraction"] == 0


@pytest.mark.parametrize("preset", ["ppo", "grpo", "rloo"])
def test_layout_padding_and_memory_change_nothing(preset, tmp_path):
    """Packed rows without padding, padded rows, and rows computed one prompt at a time give the same update."""
    trained = []
    for shared, tokens_per_batch in ((True, 8192), (False, 8192), (False, 40)):
        settings = settings_of(preset, tmp_path, learning_rate=1e-3, tokens_per_batch=tokens_per_batch, minibatches=1)
        actors = make_actors(value=settings.baseline == "value", shared=shared)
        machine, position, rollout = first_round(settings, actors)
        credit = assign_credit(rollout, settings, settings.beta)
        optimizer = torch.optim.SGD(actors.trained().parameters(), lr=0.1)
        list(update(actors, optimizer, credit, position, settings, machine))
        trained.append(torch.cat([p.detach().flatten() for p in actors.trained().parameters()]))
    start_of_all = make_actors(value=settings.baseline == "value").trained().parameters()
    assert (trained[0] - torch.cat([p.detach().flatten() for p in start_of_all])).abs().max() > 1e-4
    torch.testing.assert_close(trained[1], trained[0], rtol=1e-4, atol=2e-6)
    torch.testing.assert_close(trained[2], trained[0], rtol=1e-4, atol=2e-6)


def test_credit_is_the_papers_chain_of_reward_gae_and_whitening(tmp_path):
    settings = settings_of("ppo", tmp_path, temperature=0.8)
    actors = make_actors()
    torch.nn.init.normal_(actors.value.score.weight)
    _, _, rollout = first_round(settings, moved(actors))
    credit = assign_credit(rollout, settings, 0.3)
    kl = rollout.logprobs - rollout.reference_logprobs
    torch.testing.assert_close(kl, kl_estimate(rollout.logprobs, rollout.reference_logprobs, "k1"))
    rewards = token_rewards(rollout.rewards, kl, rollout.mask, 0.3)
    expected, targets = gae(rewards, rollout.values, rollout.mask, gamma=1.0, lam=0.95)
    torch.testing.assert_close(credit.advantages, whiten(expected, rollout.mask))
    torch.testing.assert_close(credit.value_targets, targets)
    # All log-probabilities are those of the temperature that was sampled at.
    row, example = 1 * 4 + 2, rollout.batches.examples[1]
    ids = torch.tensor(example.completions[2])[:, None]
    for model, table in ((actors.policy, rollout.logprobs), (actors.reference, rollout.reference_logprobs)):
        expected = logits_of(model, example, 2, temperature=0.8).gather(-1, ids)[:, 0]
        torch.testing.assert_close(table[row][rollout.mask[row]], expected, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(rollout.sampled_logprobs, rollout.logprobs, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("preset", ["ppo", "grpo"])
def test_the_kl_in_the_loss_and_the_entropy_bonus_by_hand(preset, tmp_path):
    """What they add to the loss: β times the mean of k3, and less the bonus times the mean of −Σ p log p."""
    settings = settings_of(preset, tmp_path, temperature=0.8, kl_in="loss", kl_estimator="k3", epochs=1, minibatches=1)
    actors = moved(make_actors(value=preset == "ppo"))
    _, _, rollout = first_round(settings, actors)
    credit = assign_credit(rollout, settings, 0.5)
    weights = token_weights(rollout.lengths, settings.summed, constant=settings.max_tokens)

    def loss(beta, bonus):
        told = dataclasses.replace(settings, entropy_bonus=bonus)
        batch = collate(rollout.batches.examples, PAD, shared=actors.shared)
        return loss_of(actors, batch, rollout, credit, weights, 0.0, beta, told)[0].item()

    means = {"kl": 0.0, "entropy": 0.0}
    for row, length in enumerate(rollout.lengths.tolist()):
        example, place = rollout.batches.examples[row // 4], row % 4
        ids = torch.tensor(example.completions[place])[:, None]
        policy, reference = (
            logits_of(model, example, place, temperature=0.8) for model in (actors.policy, actors.reference)
        )
        ratio = (reference - policy).gather(-1, ids)
        # A token's share: of all tokens (ppo), or of its completion's, which all count the same (grpo).
        share = 1 / int(rollout.mask.sum()) if preset == "ppo" else 1 / (length * len(rollout.lengths))
        means["kl"] += share * float((ratio.exp() - 1 - ratio).double().sum())
        means["entropy"] -= share * float((policy.exp() * policy).sum())
    assert means["kl"] > 1e-3 and means["entropy"] > 1
    assert loss(0.5, 0.0) - loss(0.0, 0.0) == pytest.approx(0.5 * means["kl"], rel=1e-2)
    assert loss(0.0, 0.2) - loss(0.0, 0.0) == pytest.approx(-0.2 * means["entropy"], rel=1e-3)


def test_a_constrained_advantage_by_hand(tmp_path):
    """CGPO: max(1 − log(π/π_ref)/KL_max, 0)·σ(r − r̄) where the judge passes, else 0; less the mean of all."""
    judges = [{"source": "max_length", "tokens": 3}]
    settings = settings_of("cgpo", tmp_path, kl_max=1.5, judges=judges, samples=4)
    passed = torch.tensor([[True, False, True, True]]).repeat(4, 1)

    def score(indices, groups):
        return Scores(count_rewarded(indices, groups) + torch.arange(4.0), verdicts={"judge": passed})

    actors = moved(make_actors(value=False), 0.2)
    _, _, rollout = first_round(settings, actors, score)
    credit = assign_credit(rollout, settings, 0.0)
    left = torch.zeros(4, 4)
    for prompt, rewards in enumerate(rollout.scored.total.view(4, 4).tolist()):
        for place, reward in enumerate(rewards):
            row = prompt * 4 + place
            log_ratio = float((rollout.logprobs - rollout.reference_logprobs)[row][rollout.mask[row]].sum())
            calibrated = 1 / (1 + math.exp(sum(rewards) / 4 - reward))
            left[prompt, place] = max(1 - log_ratio / 1.5, 0) * calibrated * float(passed[prompt, place])
    assert left.std() > 0.1 and (left == 0).sum() >= 4
    expected = (left - left.mean()).view(-1, 1) * rollout.mask
    torch.testing.assert_close(credit.advantages, expected, rtol=1e-4, atol=1e-5)


def test_a_run_that_charges_no_kl_needs_no_reference(tmp_path):
    """The same weights come out with and without it, and without its curve."""
    options = {"steps": 2, "learning_rate": 1e-2, "warmup": 0, "resume": False}
    trained, metrics = [], []
    for watched in (True, False):
        settings = settings_of("dr_grpo", tmp_path, watch_kl=watched, **options)
        actors = make_actors(value=False)
        assert settings.needs_reference == watched
        metrics.append(learn(settings, actors if watched else dataclasses.replace(actors, reference=None)))
        trained.append(actors.policy.state_dict())
    assert all(torch.equal(trained[1][name], tensor) for name, tensor in trained[0].items())
    assert metrics[0].keys() - metrics[1].keys() == {"kl"}
    assert settings_of("dr_grpo", tmp_path, watch_kl=False, beta=0.1).needs_reference
    assert settings_of("cgpo", tmp_path, watch_kl=False, judges='{"source": "json"}').needs_reference


def test_curves_are_means_over_real_tokens_however_they_are_batched(tmp_path):
    curves = []
    for tokens_per_batch in (8192, 40):
        settings = settings_of("ppo", tmp_path, steps=1, tokens_per_batch=tokens_per_batch, minibatches=2, beta=0.0)
        actors = moved(make_actors())
        metrics = learn(dataclasses.replace(settings, resume=False), actors)
        curves.append(metrics)
    for name in ("entropy", "clip_fraction", "kl_to_old", "value_loss", "loss", "kl"):
        assert curves[0][name] == pytest.approx(curves[1][name], rel=1e-3, abs=1e-6), name
    _, _, rollout = first_round(settings, moved(make_actors()))
    log_ratios = [
        (rollout.logprobs - rollout.reference_logprobs)[row][: rollout.lengths[row]].sum() for row in range(16)
    ]
    assert curves[0]["kl"] == pytest.approx(float(sum(log_ratios)) / 16, rel=1e-3)


def test_whitening_passes_over_completions_without_a_reward(tmp_path):
    def score(indices, groups):
        scores = count_rewarded(indices, groups) * 3
        scores[1, 2] = math.nan
        return scores

    settings = settings_of("ppo", tmp_path)
    _, _, rollout = first_round(settings, make_actors(), score)
    rollout.values[1 * 4 + 2] += 50.0  # if it counted, its tokens would move everybody's
    credit = assign_credit(rollout, settings, 0.1)
    white = credit.advantages[rollout.mask & rollout.counted[:, None]]
    assert white.mean().item() == pytest.approx(0, abs=1e-5)
    assert white.var(correction=0).item() == pytest.approx(1, rel=1e-4)


def test_the_actors_of_ppo_begin_where_they_should(tmp_path):
    """The value model is the reward model's trunk under a head of zeros; nothing drops out; the reference is frozen."""
    policy = save_tiny(tmp_path / "policy", make_gpt2())
    reward = load_reward_model(policy, seed=1)
    for parameter in reward.parameters():
        parameter.data.add_(0.1)
    save_model(reward, load_tokenizer(policy), tmp_path / "reward")
    settings = settings_of("ppo", tmp_path, model=policy, reward_model=str(tmp_path / "reward"))
    machine = start(settings, quiet(settings))
    model = load_policy(policy, device=machine.device)
    actors = load_actors(model, settings, machine, quiet(settings), load_tokenizer(policy))
    value = actors.value.state_dict()
    for name, tensor in reward.state_dict().items():
        assert torch.equal(value[name], torch.zeros_like(tensor) if name == "score.weight" else tensor), name
    everything = [*actors.policy.modules(), *actors.reference.modules(), *actors.value.modules()]
    assert any(isinstance(module, torch.nn.Dropout) and module.p > 0 for module in everything)
    assert not any(module.training for module in everything)
    assert not any(parameter.requires_grad for parameter in actors.reference.parameters())
    weights = {name: tensor.clone() for name, tensor in actors.policy.state_dict().items()}
    assert all(torch.equal(weights[name], tensor) for name, tensor in actors.reference.state_dict().items())


def test_the_optimizer_is_adam_with_a_small_epsilon_for_both_models(tmp_path):
    settings = settings_of("ppo", tmp_path, learning_rate=1e-3, value_learning_rate=2e-3)
    optimizer = make_optimizer(make_actors(), settings)
    assert [group["peak"] for group in optimizer.param_groups] == [1e-3, 2e-3]
    assert all(group["eps"] == 1e-5 and group["weight_decay"] == 0 for group in optimizer.param_groups)


# --- rewards ----------------------------------------------------------------------------------------------------------


def test_a_cut_off_completion_pays_a_penalty(tmp_path):
    settings = settings_of("ppo", tmp_path, max_tokens=30, no_eos_penalty=2.5)
    _, _, rollout = first_round(settings, make_actors(value=True))
    assert 0 < rollout.truncated.sum() < len(rollout.truncated)
    torch.testing.assert_close(rollout.rewards, rollout.scored.total - 2.5 * rollout.truncated)


@pytest.mark.parametrize("clip", [None, 1.5])
def test_scores_are_scaled_by_their_running_deviation_and_clipped(clip, tmp_path):
    settings = settings_of("ppo", tmp_path, reward_scale="running", reward_clip=clip, no_eos_penalty=0.0)
    score = lambda indices, groups: 100.0 * count_rewarded(indices, groups)  # noqa: E731
    _, position, rollout = first_round(settings, make_actors(), score)
    deviation = rollout.scored.total.double().std()
    assert position.deviation.value() == pytest.approx(float(deviation))
    scaled = rollout.scored.total / deviation.float()
    assert 1.5 < scaled.max() < 100
    torch.testing.assert_close(rollout.rewards, scaled.clamp(max=1.5) if clip else scaled)


@pytest.mark.parametrize(("told", "cache"), [({"overlong_cache": 4}, 4), ({}, 2)])
def test_dapos_overlong_penalty_is_part_of_the_reward(told, cache, tmp_path):
    """max_tokens 8 with a cache of 4: free up to 4 tokens, then −¼ a token. By itself it is a quarter of the limit."""
    settings = settings_of("dapo", tmp_path, dynamic_sampling=False, **told)
    _, _, rollout = first_round(settings, make_actors(value=False))
    penalty = [-max(length - (8 - cache), 0) / cache for length in rollout.lengths.tolist()]
    assert -1 in penalty
    torch.testing.assert_close(rollout.rewards, rollout.scored.total + torch.tensor(penalty))


def test_groups_whose_completions_score_the_same_are_drawn_again(tmp_path):
    def score(indices, groups):  # prompt 0 is hopeless
        scores = torch.rand(len(groups), 4, generator=torch.Generator().manual_seed(0))
        return torch.stack([0 * row if i == 0 else row for i, row in zip(indices, scores, strict=True)])

    settings = settings_of("dapo", tmp_path, overlong_cache=0)
    _, _, rollout = first_round(settings, make_actors(value=False), score)
    assert len(rollout.batches.examples) == 4
    assert tuple(PROMPTS[0]) not in {example.prompt_ids for example in rollout.batches.examples}
    settings = settings_of("grpo", tmp_path)
    _, _, rollout = first_round(settings, make_actors(value=False), score)
    assert tuple(PROMPTS[0]) in {example.prompt_ids for example in rollout.batches.examples}


def test_beta_adapts_to_the_target(tmp_path):
    settings = settings_of("ppo", tmp_path, steps=3, kl_target=5.0, kl_horizon=100, beta=0.2, learning_rate=1e-6)
    log = EventLog(tmp_path)
    improve(make_actors(), PROMPTS, scored(count_rewarded), settings, start(settings, quiet(settings)), log)
    lines = [json.loads(line) for line in log.path.read_text().splitlines()]
    betas = [line["values"]["beta"] for line in lines if line["kind"] == "metrics"]
    # The KL is 0, the error −0.2, and a step is 16 of 100 completions.
    assert betas == pytest.approx([0.2, 0.2 * 0.968, 0.2 * 0.968**2])


# --- stopping and going on --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("preset", ["ppo", "dapo"])
def test_an_interrupted_run_ends_where_an_uninterrupted_one_does(preset, tmp_path):
    options = {
        "steps": 5, "checkpoint_every": 2, "learning_rate": 1e-2, "kl_target": 1.0, "reward_scale": "running",
        "minibatches": 2, "beta": 0.05,
    }  # fmt: skip
    for name in ("whole", "broken"):
        (tmp_path / name).mkdir()
    calls = 0

    def score_until_killed(indices, groups):
        nonlocal calls
        calls += 1
        if calls == 4:
            raise KeyboardInterrupt
        return count_rewarded(indices, groups)

    whole, broken = (make_actors(value=preset == "ppo") for _ in range(2))
    expected = learn(settings_of(preset, tmp_path / "whole", **options), whole)
    settings = settings_of(preset, tmp_path / "broken", **options)
    with pytest.raises(KeyboardInterrupt):
        learn(settings, broken, score_until_killed)
    again = make_actors(value=preset == "ppo")
    metrics = learn(settings, again)
    for name, tensor in whole.trained().state_dict().items():
        assert torch.equal(again.trained().state_dict()[name], tensor), name
    assert metrics["reward"] == expected["reward"] and metrics["beta"] == expected["beta"]


# --- settings and words -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("preset", "given", "word"),
    [
        ("rloo", {"samples": 1}, "samples of at least 2"),
        ("reinforce", {"epochs": 2}, "epochs=1"),
        ("ppo", {"minibatches": 9, "prompts_per_step": 4}, "minibatches=9"),
        ("grpo", {"kl_estimator": "k1"}, "k2 or k3"),
        ("dapo", {"overlong_cache": 8}, "max_tokens=8"),
        ("ppo", {"reward_clip": 0}, "reward_clip=0 would leave nothing"),
        ("dapo", {"kl_target": 2}, "leaves beta=0 at 0"),
    ],
)
def test_settings_that_do_not_fit_together_are_refused(preset, given, word, tmp_path):
    with pytest.raises(ConfigError, match=word):
        settings_of(preset, tmp_path, **given)


# --- the recipe -------------------------------------------------------------------------------------------------------


def test_the_recipe_shows_samples_and_leaves_a_plain_model(tmp_path):
    from training.__main__ import execute

    policy = save_tiny(tmp_path / "policy")
    save_model(load_reward_model(policy, seed=1), load_tokenizer(policy), tmp_path / "reward")
    (tmp_path / "prompts.jsonl").write_text("".join(json.dumps({"prompt": f"say {i}"}) + "\n" for i in range(6)))
    output = tmp_path / "run"
    output.mkdir()
    settings = settings_of(
        "ppo", output, model=policy, reward_model=str(tmp_path / "reward"), prompts=str(tmp_path / "prompts.jsonl"),
        steps=4, sample_every=2, sample_prompts=2, learning_rate=1e-2,
    )  # fmt: skip
    log = EventLog(output)
    assert execute("ppo", settings, log) == 0
    events = [json.loads(line) for line in log.path.read_text().splitlines()]
    curves = [event["values"] for event in events if event["kind"] == "metrics"]
    assert len(curves) == 4
    named = {
        "reward", "kl", "entropy", "length", "clip_fraction", "value_loss", "explained_variance", "truncated",
        "loss", "learning_rate", "grad_norm", "tokens_per_second",
    }  # fmt: skip
    assert named <= curves[-1].keys()
    samples = [event["rows"] for event in events if event["kind"] == "samples"]
    assert len(samples) == 2 and [row["prompt"] for row in samples[0]] == [row["prompt"] for row in samples[1]]
    assert {"before", "after", "reward_before", "reward_after"} <= samples[0][0].keys()
    assert samples[0][0]["before"] == samples[1][0]["before"]
    trained = AutoModelForCausalLM.from_pretrained(output / "model")
    assert trained.config.architectures == ["LlamaForCausalLM"]
    old, new = (load_file(place / "model.safetensors") for place in (tmp_path / "policy", output / "model"))
    assert old.keys() == new.keys() and any(not torch.equal(old[name], new[name]) for name in old)
