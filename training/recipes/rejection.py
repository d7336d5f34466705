"""Rejection sampling: answer prompts many times, keep what the reward model likes best, learn it as demonstrations.

The simplest use of a reward model (Bai et al. 2022; Touvron et al. 2023, Llama 2, section 3.2.3): no policy gradient,
only supervised learning on filtered answers, round after round.
"""

import math

import torch

from training import runtime
from training.answering import Answer, read_prompts
from training.encoding import encode_examples
from training.errors import TrainingError
from training.events import EventLog
from training.models import load_policy
from training.recipes import Outcome
from training.recipes.sampling_configs import RejectionConfig
from training.recipes.sft import fine_tune
from training.records import Demonstration, Prompt, read_records
from training.rewards.rows import check_rows
from training.rounds import Rounds
from training.selection import best_overall, best_per_prompt
from training.splits import group_of, split_groups


def run(config: RejectionConfig, log: EventLog) -> Outcome:
    machine = runtime.start(config, log)
    prompts = read_prompts(config.prompts)
    check_rows(prompts, config, log)
    policy = load_policy(config.model, device=machine.device)
    rounds = Rounds("rejection", policy, prompts, config, machine, log, rows=config.keep_count)
    for number in rounds:
        asked, answers, scores = rounds.answered(policy, number)
        kept, selection = select(asked, answers, scores.total, config)
        selection = scores.described() | selection
        rounds.report(number, selection)
        train, heldout = (
            encode_examples(
                rounds.tokenizer,
                [(i, row.messages, (row.completion,)) for i, row in enumerate(rows)],
                max_length=config.max_length,
                log=log,
                name=name,
            )
            for rows, name in zip(_hold_out(kept, config), ("kept answers", "held-out answers"), strict=True)
        )
        policy, learned = fine_tune(
            policy, rounds.tokenizer, train, config, machine, log, heldout=heldout, **rounds.place(number)
        )
        rounds.end(policy, number, selection | learned)
    return Outcome(rounds.metrics, policy, rounds.tokenizer)


def select(
    prompts: list[Prompt], answers: list[list[Answer]], scores: torch.Tensor, config: RejectionConfig
) -> tuple[list[Demonstration], dict[str, float]]:
    """The answers to learn from, and what they are like beside all. `scores` (prompts, samples).

    Answers that were cut off or are empty teach no good end and are never kept, nor are those without a score (NaN); of
    equal texts to a prompt one may be.
    Raises TrainingError where nothing is left.
    """
    allowed = scores.nan_to_num(nan=-math.inf)
    for i, group in enumerate(answers):
        seen: set[str] = set()
        for k, answer in enumerate(group):
            if answer.truncated or not answer.text or answer.text in seen:
                allowed[i, k] = -math.inf
            seen.add(answer.text)
    if config.keep == "per_prompt":
        chosen = best_per_prompt(allowed)
    else:
        chosen = best_overall(allowed, config.keep_count or len(prompts))
    if not chosen:
        raise TrainingError(
            f"all {scores.numel()} answers were empty or cut off at max_tokens={config.max_tokens}, "
            "so there is nothing to learn from"
        )
    everything = [answer for group in answers for answer in group]
    metrics = {
        "reward": float(scores.nanmean()),
        "reward_kept": float(torch.stack([scores[i, k] for i, k in chosen]).mean()),
        "kept": len(chosen),
        "length": sum(answer.tokens for answer in everything) / len(everything),
        "length_kept": sum(answers[i][k].tokens for i, k in chosen) / len(chosen),
        "truncated": sum(answer.truncated for answer in everything) / len(everything),
    }
    return [Demonstration(prompts[i].messages, answers[i][k].text) for i, k in chosen], metrics


def _hold_out(kept: list[Demonstration], config: RejectionConfig) -> tuple[list[Demonstration], list[Demonstration]]:
    share = config.heldout_share()
    if share is None:
        return kept, read_records(config.heldout, "demonstrations")
    train, heldout = split_groups([group_of(row) for row in kept], share, config.seed)
    return [kept[i] for i in train], [kept[i] for i in heldout]
