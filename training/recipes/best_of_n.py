"""Best-of-n: n answers to each prompt, of which the reward model keeps the best. Changes no model."""

from pathlib import Path

import torch

from training import runtime
from training.answering import Answerer, read_prompts
from training.events import EventLog
from training.files import write_json_lines
from training.models import load_policy
from training.recipes import Outcome
from training.recipes.sampling_configs import BestOfNConfig
from training.rewards import RewardModelSource, score_groups, scorer
from training.selection import best_of_n_kl, best_per_prompt, expected_best


def run(config: BestOfNConfig, log: EventLog) -> Outcome:
    """Writes responses.jsonl: the best answer to each prompt with its score. Metrics hold every smaller n too."""
    machine = runtime.start(config, log)
    prompts = read_prompts(config.prompts, limit=config.limit)
    log.start("best_of_n", device=str(machine.device), total=len(prompts))
    policy = load_policy(config.model, device=machine.device)
    rewards = RewardModelSource(config.reward_model, device=machine.device, tokens_per_batch=config.tokens_per_batch)
    answerer = Answerer(config.model, machine, log, max_tokens=config.max_tokens, temperature=config.temperature)
    answers = answerer.answers(policy, prompts, config.samples, seed=str(config.seed))
    log.progress(len(prompts), len(prompts), "scoring")
    score = scorer([(1.0, rewards)], machine)
    scores = score_groups(score, prompts, [[answer.text for answer in group] for group in answers])
    chosen = best_per_prompt(scores)
    write_json_lines(
        Path(config.output) / "responses.jsonl",
        (
            {"prompt": prompts[i], "responses": [{"text": answers[i][k].text, "score": float(scores[i, k])}]}
            for i, k in chosen
        ),
    )
    metrics = {
        "prompts": len(prompts),
        "reward": float(torch.stack([scores[i, k] for i, k in chosen]).mean()),
        "length": sum(answers[i][k].tokens for i, k in chosen) / len(chosen),
        "kl": best_of_n_kl(config.samples),
    }
    n = 1
    while n <= config.samples:
        metrics[f"reward_of_{n}"] = float(expected_best(scores, n).mean())
        metrics[f"kl_of_{n}"] = best_of_n_kl(n)
        n *= 2
    log.metrics(len(prompts), len(prompts), **metrics)
    return Outcome(metrics)
