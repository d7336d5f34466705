"""The policy-gradient family as one loop: sample, score, assign credit, update. PPO is one row of `presets`.

A round of PPO for language models (Ziegler et al. 2019, Ouyang et al. 2022): the policy answers prompts (`collect`); a
reward model scores each answer; every token pays −β log(π/π_ref) and the last one earns the score; the value model's
V(s_t) and GAE turn that into an advantage per token (`assign_credit`); a few passes over the round raise the
probability of tokens with a positive advantage, as far as the clip allows, and fit V to what was earned (`update`).

Of several processes each answers, scores and learns from its share of a round, and each holds the whole of it. So what
is computed over a round is computed by all of them, from the same numbers, and reads here as if there were one.
"""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

import torch

from training import advantages, policy_losses, runtime, stopping, vllm_generator
from training.actors import (
    Actors,
    Position,
    Round,
    load_actors,
    make_generator,
    make_optimizer,
    resume,
    save,
    set_learning_rates,
    take_step,
    values_of,
)
from training.answering import read_prompts
from training.batching import Batch, minibatches
from training.chat import decode_completion
from training.curves import describe, speed
from training.encoding import encode_prompts
from training.events import EventLog
from training.generators import Generator
from training.groups import Score, draw_groups
from training.logprobs import completion_logprobs
from training.loop import Means, own_turns, split
from training.models import check_positions, load_policy, load_tokenizer, trained_model
from training.monitors import Monitor
from training.pretraining_mix import PretrainingMix
from training.recipes import Outcome
from training.recipes.presets import PolicyGradientConfig
from training.rewards.combine import Scores
from training.rewards.load import load_rewards
from training.rewards.rows import check_rows
from training.rewards.shaping import shaped
from training.rollouts import Batches, Rollout, make_examples, per_token, sampled_table, token_mask
from training.sampling import Completion
from training.showcase import Showcase


def run(config: PolicyGradientConfig, log: EventLog) -> Outcome:
    machine = runtime.start(config, log)
    if config.generator == "vllm":
        vllm_generator.check(machine.processes)  # said before anything is loaded
    prompts = read_prompts(config.prompts)
    check_rows(prompts, config, log)
    tokenizer = load_tokenizer(config.model)
    prompt_ids = encode_prompts(tokenizer, prompts, max_length=config.max_prompt_length, log=log)
    policy = load_policy(config.model, device=machine.device)
    check_positions(policy, max(map(len, prompt_ids)) + config.max_tokens, log)
    trunk = policy if config.lora_rank else None  # which reward models may then share
    rewards = load_rewards(config, machine, log, tokenizer=tokenizer, trunk=trunk)
    actors = load_actors(policy, config, machine, log, tokenizer)

    def score(indices: list[int], groups: list[list[Completion]]) -> Scores:
        texts = [[decode_completion(tokenizer, completion.ids) for completion in group] for group in groups]
        # Other processes score the rest, and groups without any score may be drawn again: the round needs some.
        return rewards.groups([prompts[i] for i in indices], texts, whole=False)

    showcase = None
    if machine.is_main:
        showcase = Showcase(
            actors.policy, tokenizer, prompts,
            count=config.sample_prompts, max_new_tokens=config.max_tokens, max_prompt_length=config.max_prompt_length,
            score=rewards,
        )  # fmt: skip
    mix = PretrainingMix.read(config, tokenizer, log, shared=actors.shared, device=machine.device)
    metrics = improve(actors, prompt_ids, score, config, machine, log, mix=mix, showcase=showcase)
    return Outcome(metrics, trained_model(actors.policy), tokenizer)


@dataclass(frozen=True)
class Credit:
    """(completions, tokens) each; `value_targets` is None where no value is learned."""

    advantages: torch.Tensor
    value_targets: torch.Tensor | None


def improve(
    actors: Actors,
    prompts: list[list[int]],
    score: Score,
    config: PolicyGradientConfig,
    machine: runtime.Runtime,
    log: EventLog,
    *,
    mix: PretrainingMix | None = None,
    showcase: Showcase | None = None,
) -> dict[str, float]:
    """The loop itself: `config.steps` rounds; the last round's metrics.

    Raises TrainingError (a gradient that is not finite, a reward source that fails) and Cancelled (SIGTERM, after a
    checkpoint, which in the middle of a round holds the round's completions too).
    """
    optimizer = make_optimizer(actors, config)
    demonstrations = len(mix.examples) if mix else 0
    position = resume(actors, optimizer, len(prompts), config, machine, log, demonstrations=demonstrations)
    generator = make_generator(actors, config, machine)
    monitor = Monitor(log, config, position.watched)
    metrics: dict[str, float] = {}

    def stop_if_asked() -> None:
        if machine.any(stopping.requested()):
            save(actors, optimizer, position, config, machine, log)
            raise stopping.Cancelled

    with stopping.deferred():
        while position.step < config.steps:
            started = time.monotonic()
            if position.round is None:
                log.progress(position.step, config.steps, "sampling and scoring")
                generator.sync()
                rollout = collect(actors, generator, prompts, score, position, config, machine, monitor)
                position.round = Round(rollout, Means(machine.device))
                stop_if_asked()
            rollout = position.round.rollout
            credit = assign_credit(rollout, config, position.beta)
            log.progress(position.step, config.steps, "updating")
            learning_rate = set_learning_rates(optimizer, position.step, config)
            for _ in update(actors, optimizer, credit, position, config, machine, mix=mix):
                stop_if_asked()
            metrics = describe(rollout, credit.value_targets) | position.round.metrics(machine)
            metrics |= {"learning_rate": learning_rate, "beta": position.beta}
            metrics |= speed(rollout, time.monotonic() - started)
            if config.kl_target:
                position.beta = advantages.adapted_beta(
                    position.beta, metrics["kl"],
                    target=config.kl_target, horizon=config.kl_horizon, completions=len(rollout.rewards),
                )  # fmt: skip
            position.step, position.round = position.step + 1, None
            log.metrics(position.step, config.steps, **metrics)
            monitor.watch(metrics)
            last = position.step == config.steps
            if showcase and (last or position.step % config.sample_every == 0):
                showcase.show(actors.policy, log)
            if config.checkpoint_every and position.step % config.checkpoint_every == 0 and not last:
                save(actors, optimizer, position, config, machine, log)
            stop_if_asked()
    return metrics


def collect(
    actors: Actors,
    generator: Generator,
    prompts: list[list[int]],
    score: Score,
    position: Position,
    config: PolicyGradientConfig,
    machine: runtime.Runtime,
    monitor: Monitor,
) -> Rollout:
    """Sample a group of completions for each of the next prompts, and score them."""
    groups, discarded = draw_groups(generator, prompts, score, position, config, machine, monitor)
    examples = make_examples([prompts[group.prompt] for group in groups], [group.completions for group in groups])
    completions = [completion for group in groups for completion in group.completions]
    mask = token_mask(examples, machine.device)
    sampled_logprobs = sampled_table(completions, mask)
    truncated = torch.tensor([completion.truncated for completion in completions], device=machine.device)
    scored = Scores.stack([group.scores for group in groups]).some()
    scored = scored.map(lambda tensor: tensor.to(machine.device).flatten())
    counted = ~scored.total.isnan()
    if config.reward_scale == "running":
        position.deviation.add(scored.total[counted])
    rewards = shaped(scored.total, mask.sum(1), truncated, position.deviation, config)
    batches = Batches(examples, pad_id=actors.pad_id, shared=actors.shared, device=machine.device)

    def table(model, compute) -> torch.Tensor | None:
        if model is None:
            return None
        with machine.autocast():
            return per_token(partial(compute, model), batches, mask, machine, tokens_per_batch=config.tokens_per_batch)

    logprobs_of = partial(completion_logprobs, temperature=config.temperature)
    return Rollout(
        batches=batches,
        mask=mask,
        truncated=truncated,
        scored=scored,
        counted=counted,
        rewards=torch.where(counted, rewards, 0.0),
        sampled_logprobs=sampled_logprobs,
        # With one step a round the policy is its own π_old, and only the KL needs numbers: the sampler's will do.
        logprobs=table(actors.policy, logprobs_of) if config.optimizer_steps > 1 else sampled_logprobs,
        reference_logprobs=table(actors.reference, logprobs_of),
        values=table(actors.value, values_of),
        discarded=torch.tensor(discarded) if config.dynamic_sampling else None,
    )


def assign_credit(rollout: Rollout, config: PolicyGradientConfig, beta: float) -> Credit:
    """How much better each token did than expected. The one place where the algorithms' baselines differ."""
    mask = rollout.mask
    kl = torch.zeros_like(rollout.logprobs)
    if config.kl_in == "reward" and beta:
        kl = advantages.kl_estimate(rollout.logprobs, rollout.reference_logprobs, config.kl_estimator)
    rewards = advantages.token_rewards(rollout.rewards, kl, mask, beta)
    targets = None
    if config.baseline == "value":
        per_token_advantages, targets = advantages.gae(
            rewards, rollout.values, mask, gamma=config.gamma, lam=config.gae_lambda
        )
    else:  # the completion is one action: one number for all of its tokens
        per_token_advantages = _completion_advantages(rollout, rewards.sum(1), config).view(-1, 1) * mask
    if config.whiten:
        per_token_advantages = advantages.whiten(per_token_advantages, mask & rollout.counted[:, None])
    return Credit(per_token_advantages, targets)


def _completion_advantages(rollout: Rollout, returns: torch.Tensor, config: PolicyGradientConfig) -> torch.Tensor:
    """What each completion earned, `returns` (completions,), less what its group or the batch did: (prompts, K)."""
    returns, counted = returns.view(-1, rollout.group), rollout.counted.view(-1, rollout.group)
    match config.baseline:
        case "batch":
            return advantages.batch_mean_advantages(returns, counted)
        case "leave_one_out":
            return advantages.leave_one_out_advantages(returns, counted)
        case "group" | "group_std":
            return advantages.group_advantages(returns, counted, scaled=config.baseline == "group_std")
        case "constrained":
            passed = rollout.scored.passed.view_as(returns)
            log_ratios = ((rollout.logprobs - rollout.reference_logprobs) * rollout.mask).sum(1).view_as(returns)
            left = advantages.constrained_rewards(returns, counted, passed, log_ratios, kl_max=config.kl_max)
            return advantages.batch_mean_advantages(left, counted)
    raise AssertionError(f"no advantages for the baseline {config.baseline}")


def update(
    actors: Actors, optimizer, credit: Credit, position: Position, config, machine, *, mix: PretrainingMix | None = None
) -> Iterator[None]:
    """`epochs` passes over the round, `minibatches` optimizer steps each; goes on after those that are done already.

    Yields after every optimizer step; `position.round` keeps count, and the means over the tokens of all steps.
    """
    rollout, means = position.round.rollout, position.round.means
    all_prompts, seed = len(rollout.batches.examples), f"{config.seed}/{position.step}"
    planned = minibatches(all_prompts, config.minibatches, epochs=config.epochs, seed=seed)
    planned = [prompts for prompts in planned if rollout.counted[rollout.rows(prompts)].any()]
    for prompts in planned[position.round.updates :]:
        if position.round.over:
            return
        rows = rollout.rows(prompts)
        rows = rows[rollout.counted[rows]]
        tokens = int(rollout.lengths[rows].sum())
        # A token's weight is its share of the whole minibatch, so the parts that fit into memory just add up.
        weights = torch.zeros(len(rollout.rewards), device=machine.device)
        weights[rows] = policy_losses.token_weights(rollout.lengths[rows], config.summed, constant=config.max_tokens)
        moved = torch.zeros((), device=machine.device)
        parts = split(prompts, rollout.batches.costs, config.tokens_per_batch, machine.processes, actors.shared)
        for part, counts, _ in own_turns(parts, machine):
            batch = rollout.batches.of(part)
            with machine.autocast():
                loss, sums = loss_of(actors, batch, rollout, credit, weights, 1 / tokens, position.beta, config)
            (counts * loss).backward()
            means.add("loss", loss, len(part) / len(prompts), counts)
            for name, total in sums.items():
                means.add(name, total, rollout.counted_tokens(batch).sum(), counts)
            moved += counts * sums["kl_to_old"] / tokens
        if mix is not None:  # PPO-ptx: γ times the loss of texts that the policy is not to forget
            means.add("ptx_loss", mix.backward(actors.policy, position.ptx, config, machine), 1 / machine.processes)
        norm = take_step(actors, optimizer, config, machine, position.step)
        means.add("grad_norm", torch.tensor(norm, device=machine.device), 1, machine.is_main)  # all have the same
        position.round.updates += 1
        position.round.over = bool(config.stop_kl) and float(machine.summed(moved)) > config.stop_kl
        yield


def loss_of(
    actors: Actors, batch: Batch, rollout: Rollout, credit: Credit, weights, value_weight: float, beta: float, config
) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    """The batch's part of a minibatch's loss, and sums over its counted tokens of what is worth a curve.

    `weights` (completions,): what a token of each completion counts in the minibatch; `value_weight` the same for V.
    """
    logprobs, entropy = completion_logprobs(actors.policy, batch, temperature=config.temperature, with_entropy=True)
    # On the only step of a round the policy is π_old itself: the ratio is 1, and its gradient that of log π.
    old_logprobs = rollout.pick(rollout.logprobs, batch) if config.optimizer_steps > 1 else logprobs.detach()
    advantage = rollout.pick(credit.advantages, batch)
    weight = weights[rollout.rows(batch.indices)][batch.completion_of_token]

    if config.policy_loss == "log_prob":
        policy = policy_losses.reinforce_loss(logprobs, advantage, weight)
    elif config.policy_loss == "clipped_ratio":
        policy = policy_losses.clipped_ratio_loss(
            logprobs, old_logprobs, advantage, weight, clip_low=config.clip_low, clip_high=config.clip_high
        )
    else:
        policy = policy_losses.penalized_ratio_loss(
            logprobs, old_logprobs, advantage, weight, coefficient=config.penalty
        )
    loss = policy.loss
    if config.entropy_bonus:
        loss = loss - config.entropy_bonus * (weight * entropy).sum()
    if config.kl_in == "loss" and beta:
        kl = advantages.kl_estimate(logprobs, rollout.pick(rollout.reference_logprobs, batch), config.kl_estimator)
        loss = loss + beta * (weight * kl).sum()
    of_tokens = {"entropy": entropy.detach(), "clip_fraction": policy.clipped.float(), "kl_to_old": policy.kl_to_old}
    if config.optimizer_steps == 1:
        of_tokens["sampler_gap"] = (logprobs.detach() - rollout.pick(rollout.sampled_logprobs, batch)).abs()
    counted = rollout.counted_tokens(batch)
    stats = {name: (counted * values).sum() for name, values in of_tokens.items()}
    if actors.value is not None:
        value_loss = policy_losses.clipped_value_loss(
            values_of(actors.value, batch),
            rollout.pick(rollout.values, batch),
            rollout.pick(credit.value_targets, batch),
            value_weight * counted,
            clip=config.value_clip,
        )
        loss = loss + value_loss
        stats["value_loss"] = value_loss.detach() / value_weight
    return loss, stats
