"""Online DPO: the policy answers, a reward model picks the best and the worst answer, the pair is learned, and again.

DPO on fixed pairs learns about responses that the policy no longer gives; here every round's pairs are its own
(iterated DPO: Xu et al. 2023, Xiong et al. 2024). The reference stays what the run began with.
"""

import copy
import functools
import math

import torch

from training import checkpoints, runtime
from training.answering import Answer, Answerer, read_prompts
from training.encoding import encode_examples
from training.errors import TrainingError
from training.events import EventLog
from training.labels import Label
from training.logprobs import supports_shared_prefix
from training.loop import Trainer, total_steps
from training.models import load_policy, prepare_training, trained_model, without_updates
from training.recipes import Outcome
from training.recipes.configs import OnlinePreferenceConfig
from training.recipes.preference import PreferenceObjective
from training.records import Preference, Prompt
from training.reference import reference_logprobs
from training.rewards.load import load_rewards
from training.rollouts import PromptStream
from training.showcase import Showcase


def run(config: OnlinePreferenceConfig, log: EventLog) -> Outcome:
    machine = runtime.start(config, log)
    prompts = read_prompts(config.prompts)
    policy = prepare_training(load_policy(config.model, device=machine.device), config)
    # With low-rank updates the reference is the policy without them, and no second model is held.
    reference = policy if config.lora_rank else copy.deepcopy(policy).requires_grad_(False)
    answerer = Answerer(config.model, machine, log, max_tokens=config.max_tokens, temperature=config.temperature)
    rewards = load_rewards(config, machine, log, tokenizer=answerer.tokenizer)
    showcase = Showcase(
        policy,
        answerer.tokenizer,
        prompts,
        count=config.sample_prompts,
        max_new_tokens=config.max_tokens,
        score=rewards,
    )
    per_round = config.prompts_per_round or len(prompts)
    # On the progress bar a round is the prompts that it samples, then the optimizer steps that it takes.
    round_steps = per_round + total_steps(per_round, config)
    total = config.rounds * round_steps
    rounds_done, metrics = checkpoints.resume_rounds(policy, config)
    log.start("online_dpo", device=str(machine.device), total=total, resumed_from=rounds_done * round_steps or None)
    stream = PromptStream(len(prompts), config.seed, rounds_done * per_round)

    for number in range(rounds_done, config.rounds):
        first_step = number * round_steps
        asked = [prompts[i] for i in stream.take(per_round)]
        answers = answerer.answers(
            policy, asked, config.samples, seed=f"{config.seed}/{number}", first_step=first_step, total=total
        )
        log.progress(first_step + per_round, total, "scoring")
        texts = [[answer.text for answer in group] for group in answers]
        scores = machine.by_main(functools.partial(rewards.groups, asked, texts))
        pairs = best_and_worst(asked, answers, scores.total)
        sampled = {**scores.described(), "pairs": len(pairs), "length": _mean_length(answers)}
        log.metrics(first_step + per_round, total, **sampled)
        if not pairs:
            raise TrainingError(
                f"no prompt got two different whole answers of unequal reward in round {number + 1}: "
                "raise samples, temperature or max_tokens"
            )
        learned = _learn(
            policy, reference, answerer.tokenizer, pairs, config, machine, log,
            first_step=first_step + per_round, run_total=total,
        )  # fmt: skip
        metrics = sampled | learned
        showcase.show(policy, log)
        if machine.is_main and number + 1 < config.rounds:
            checkpoints.save_round(policy, number + 1, metrics, config, log)
    return Outcome(metrics, trained_model(policy), answerer.tokenizer)


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
