"""Online DPO: the policy answers, a reward model picks the best and the worst answer, the pair is learned, and again.

DPO on fixed pairs learns about responses that the policy no longer gives; here every round's pairs are its own
(iterated DPO: Xu et al. 2023, Xiong et al. 2024). The reference stays what the run began with.
"""

import copy
import math

import torch

from training import runtime
from training.answering import Answer, read_prompts
from training.encoding import encode_examples
from training.errors import TrainingError
from training.events import EventLog
from training.labels import Label
from training.logprobs import supports_shared_prefix
from training.loop import Trainer
from training.models import load_policy, prepare_training, trained_model, without_updates
from training.recipes import Outcome
from training.recipes.configs import OnlinePreferenceConfig
from training.recipes.preference import PreferenceObjective
from training.records import Preference, Prompt
from training.reference import reference_logprobs
from training.rewards.rows import check_rows
from training.rounds import Rounds


def run(config: OnlinePreferenceConfig, log: EventLog) -> Outcome:
    machine = runtime.start(config, log)
    prompts = read_prompts(config.prompts)
    check_rows(prompts, config, log)
    policy = prepare_training(load_policy(config.model, device=machine.device), config)
    # With low-rank updates the reference is the policy without them, and no second model is held.
    reference = policy if config.lora_rank else copy.deepcopy(policy).requires_grad_(False)
    rounds = Rounds("online_dpo", policy, prompts, config, machine, log)
    for number in rounds:
        asked, answers, scores = rounds.answered(policy, number)
        pairs = best_and_worst(asked, answers, scores.total)
        sampled = {**scores.described(), "pairs": len(pairs), "length": _mean_length(answers)}
        rounds.report(number, sampled)
        if not pairs:
            raise TrainingError(
                f"no prompt got two different whole answers of unequal reward in round {number + 1}: "
                "raise samples, temperature or max_tokens"
            )
        learned = _learn(policy, reference, rounds.tokenizer, pairs, config, machine, log, **rounds.place(number))
        rounds.end(policy, number, sampled | learned)
    return Outcome(rounds.metrics, trained_model(policy), rounds.tokenizer)


def best_and_worst(prompts: list[Prompt], answers: list[list[Answer]], scores: torch.Tensor) -> list[Preference]:
    """A pair per prompt: its best and its worst answer by `scores` (prompts, samples).

    Answers that were cut off or are empty are passed over, since a made-up end would be learned with them; so are
    answers without a score (NaN), and prompts whose remaining answers have equal scores.
    """
    pairs = []
    for prompt, group, of_group in zip(prompts, answers, scores.tolist(), strict=True):
        whole = [
            (value, answer.text)
            for value, answer in zip(of_group, group, strict=True)
            if _is_whole(answer) and not math.isnan(value)
        ]
        if not whole:
            continue
        best, worst = max(whole, key=lambda pair: pair[0]), min(whole, key=lambda pair: pair[0])
        if best[0] > worst[0] and best[1] != worst[1]:
            pairs.append(Preference(prompt.messages, best[1], worst[1]))
    return pairs


def _is_whole(answer: Answer) -> bool:
    return bool(answer.text) and not answer.truncated


def _mean_length(answers: list[list[Answer]]) -> float:
    lengths = [answer.tokens for group in answers for answer in group]
    return sum(lengths) / len(lengths)


def _learn(policy, reference, tokenizer, pairs: list[Preference], config, machine, log, **of_trainer):
    """One round of DPO on these pairs; its last metrics."""
    examples = encode_examples(
        tokenizer,
        [(index, pair.messages, (pair.chosen, pair.rejected)) for index, pair in enumerate(pairs)],
        max_length=config.max_length,
        log=log,
        name="sampled pairs",
    )
    pad_id, shared = tokenizer.pad_token_id, supports_shared_prefix(policy) and supports_shared_prefix(reference)
    logprobs = None
    if config.loss != "simpo":
        with without_updates(reference):
            logprobs = reference_logprobs(reference, examples, config, machine, log, pad_id=pad_id, shared=shared)
    objective = PreferenceObjective(policy, config, examples, [Label()] * len(examples), logprobs)
    trainer = Trainer(objective, examples, config, machine, log, pad_id=pad_id, shared=shared, **of_trainer)
    return trainer.run()
