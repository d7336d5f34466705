"""How good a model is: a reward model's agreement with people, or a policy's rewards and wins against another."""

import dataclasses
import math

import torch
from torch.nn.functional import logsigmoid

from training import runtime
from training.answering import Answerer, read_prompts
from training.config import ConfigError
from training.events import EventLog
from training.models import is_reward_model, load_policy, load_tokenizer
from training.recipes import Outcome
from training.recipes.sampling_configs import EvaluateConfig
from training.records import Prompt, read_records
from training.rewards.combine import Rewards
from training.rewards.load import load_rewards
from training.rewards.rows import check_rows
from training.runtime import Runtime


def run(config: EvaluateConfig, log: EventLog) -> Outcome:
    machine = runtime.start(config, log)
    judges = is_reward_model(config.model)
    kind = "a reward model" if judges else "a policy"
    for name in ("data",) if judges else ("prompts",):
        if getattr(config, name) is None:
            raise ConfigError(f"{config.model} is {kind}: evaluate needs {name}=…")
    if not judges and not config.reward_rows():
        raise ConfigError(f"{config.model} is {kind}: evaluate needs reward_model=… or rewards=…")
    if judges:
        itself = dataclasses.replace(config, reward_model=config.model, rewards=None)
        metrics = _agreement(config, load_rewards(itself, machine, log), machine, log)
    else:
        prompts = read_prompts(config.prompts, limit=config.limit)
        check_rows(prompts, config, log)
        rewards = load_rewards(config, machine, log, tokenizer=load_tokenizer(config.model))
        metrics = _policy(config, prompts, rewards, machine, log)
    log.metrics(log.step, log.step, **metrics)
    return Outcome(metrics)


def _agreement(config: EvaluateConfig, rewards: Rewards, machine: Runtime, log: EventLog) -> dict[str, float]:
    """Over preferences that are no ties: how often the chosen response scores higher, beside what length alone does."""
    rows = [row for row in read_records(config.data, "preferences") if row.strength != "tie"][: config.limit]
    if not rows:
        raise ConfigError(f"{config.data} holds no preferences that are not ties")
    log.start("evaluate", device=str(machine.device), total=len(rows))
    log.progress(0, len(rows), "scoring")
    pairs = rewards.groups([Prompt(row.messages) for row in rows], [[row.chosen, row.rejected] for row in rows]).total
    margins = pairs[:, 0] - pairs[:, 1]
    longer = torch.tensor([float(len(row.chosen) - len(row.rejected)) for row in rows])
    log.progress(len(rows), len(rows), "scoring")
    return {
        "pairs": len(rows),
        "loss": float(-logsigmoid(margins).mean()),
        "margin": float(margins.mean()),
        "length_baseline": float(wins(longer).mean()),
        **with_interval("accuracy", wins(margins)),
    }


def _policy(
    config: EvaluateConfig, prompts: list[Prompt], rewards: Rewards, machine: Runtime, log: EventLog
) -> dict[str, float]:
    """Rewards and lengths of one answer to each prompt; with `against`, the share of prompts where it scores higher."""
    policies = [config.model] + ([config.against] if config.against else [])
    total = len(policies) * len(prompts)
    log.start("evaluate", device=str(machine.device), total=total)
    scores = []
    metrics: dict[str, float] = {"prompts": len(prompts)}
    for number, source in enumerate(policies):
        answerer = Answerer(source, machine, log, max_tokens=config.max_tokens, temperature=config.temperature)
        policy = load_policy(source, device=machine.device)
        groups = answerer.answers(
            policy, prompts, 1, seed=f"{config.seed}/{number}", first_step=number * len(prompts), total=total
        )
        answers = [group[0] for group in groups]
        scored = rewards.scores(prompts, [answer.text for answer in answers])
        scores.append(scored.total)
        suffix = "_against" if number else ""
        metrics |= {
            **{f"{name}{suffix}": value for name, value in scored.described().items()},
            f"length{suffix}": sum(answer.tokens for answer in answers) / len(answers),
            f"truncated{suffix}": sum(answer.truncated for answer in answers) / len(answers),
        }
    log.progress(total, total, "scoring")
    if not config.against:
        return metrics
    margins = scores[0] - scores[1]
    return metrics | with_interval("win_rate", wins(margins[~margins.isnan()]))


def wins(margins: torch.Tensor) -> torch.Tensor:
    """1 where the margin is positive, ½ at a tie, else 0."""
    return (margins > 0).float() + 0.5 * (margins == 0).float()


def with_interval(name: str, wins: torch.Tensor) -> dict[str, float]:
    """The mean of wins (pairs,) and its 95 % interval by Wilson's score, ties counting half."""
    n, share, z = len(wins), float(wins.mean()), 1.959964
    centre = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    return {name: share, f"{name}_low": centre - half, f"{name}_high": centre + half}
