"""New responses of a policy, different ones for each prompt: what a round of labeling is made of."""

from training import runtime
from training.answering import Answerer, read_prompts
from training.errors import TrainingError
from training.events import EventLog
from training.models import load_policy
from training.recipes import Outcome
from training.recipes.sampling_configs import GenerateConfig


def run(config: GenerateConfig, log: EventLog) -> Outcome:
    """Makes responses.jsonl. Prompts with fewer different answers than wanted are counted and said."""
    machine = runtime.start(config, log)
    prompts = read_prompts(config.prompts, limit=config.limit)
    log.start("generate", device=str(machine.device), total=len(prompts))
    policy = load_policy(config.model, device=machine.device)
    answerer = Answerer(config.model, machine, log, max_tokens=config.max_tokens, temperature=config.temperature)
    # Greedy answers are all the same: one is all that there is.
    wanted = config.samples if config.temperature > 0 else 1
    answers = answerer.distinct_answers(policy, prompts, wanted, seed=str(config.seed))
    if not any(answers):
        raise TrainingError(f"{config.model} answered all {len(prompts)} prompts with nothing")
    short = sum(len(group) < config.samples for group in answers)
    if short:
        log.message(f"{short} of {len(prompts)} prompts got fewer than {config.samples} different answers", "warning")
    lines = (
        {"prompt": prompt.messages, "responses": [{"text": answer.text} for answer in group]}
        for prompt, group in zip(prompts, answers, strict=True)
    )
    everything = [answer for group in answers for answer in group]
    metrics = {
        "prompts": len(prompts),
        "responses": len(everything),
        "length": sum(answer.tokens for answer in everything) / len(everything),
        "truncated": sum(answer.truncated for answer in everything) / len(everything),
    }
    log.metrics(len(prompts), len(prompts), **metrics)
    return Outcome(metrics, lines=lines)
