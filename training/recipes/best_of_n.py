"""Best-of-n: n answers to each prompt, of which the reward model keeps the best. Changes no model."""

import math

from training import runtime
from training.answering import Answerer, read_prompts
from training.events import EventLog
from training.models import load_policy
from training.recipes import Outcome
from training.recipes.sampling_configs import BestOfNConfig
from training.rewards.load import load_rewards
from training.rewards.rows import check_rows
from training.selection import best_of_n_kl, best_per_prompt, expected_best


def run(config: BestOfNConfig, log: EventLog) -> Outcome:
    """Makes responses.jsonl: the best answer to each prompt with its score. Metrics hold every smaller n too."""
    machine = runtime.start(config, log)
    prompts = read_prompts(config.prompts, limit=config.limit)
    check_rows(prompts, config, log)
    log.start("best_of_n", device=str(machine.device), total=len(prompts))
    answerer = Answerer(config.model, machine, log, max_tokens=config.max_tokens, temperature=config.temperature)
    rewards = load_rewards(config, machine, log, tokenizer=answerer.tokenizer)
    policy = load_policy(config.model, device=machine.device)
    answers = answerer.answers(policy, prompts, config.samples, seed=str(config.seed))
    log.progress(len(prompts), len(prompts), "scoring")
    texts = [[answer.text for answer in group] for group in answers]
    of_sources = machine.by_main(lambda: rewards.groups(prompts, texts))
    scores = of_sources.total
    chosen = best_per_prompt(scores.nan_to_num(nan=-math.inf))
    lines = (
        {"prompt": prompts[i].messages, "responses": [{"text": answers[i][k].text, "score": float(scores[i, k])}]}
        for i, k in chosen
    )
    best = of_sources[[i for i, _ in chosen], [k for _, k in chosen]]
    metrics = {
        "prompts": len(prompts),
        **best.described(),
        "length": sum(answers[i][k].tokens for i, k in chosen) / len(chosen),
        "kl": best_of_n_kl(config.samples),
    }
    whole = scores[~scores.isnan().any(1)]
    n = 1
    while len(whole) and n <= config.samples:
        metrics[f"reward_of_{n}"] = float(expected_best(whole, n).mean())
        metrics[f"kl_of_{n}"] = best_of_n_kl(n)
        n *= 2
    if failures := int(scores.isnan().sum()):
        metrics["reward_failures"] = failures / scores.numel()
    log.metrics(len(prompts), len(prompts), **metrics)
    return Outcome(metrics, lines=lines)
