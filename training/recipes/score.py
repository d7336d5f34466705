"""The score of each response of a file, by a reward model or any other sources."""

import math
from collections.abc import Iterator

from training import runtime
from training.config import ConfigError
from training.events import EventLog
from training.recipes import Outcome
from training.recipes.sampling_configs import ScoreConfig
from training.records import Message, Prompt, iter_rows, parse_record
from training.rewards.combine import Scores
from training.rewards.load import load_rewards
from training.rewards.rows import check_rows


def run(config: ScoreConfig, log: EventLog) -> Outcome:
    """Makes scores.jsonl: {"prompt", "responses": [{"text", "score", "scores"?}, …]}, line for line as the rows came.

    "scores" are the parts by name where there are several; a score that a source could not give is null.
    """
    machine = runtime.start(config, log)
    rows = [_responses(row, config.data, line) for line, row in iter_rows(config.data)]
    if not rows:
        raise ConfigError(f"{config.data} holds no rows")
    check_rows([prompt for prompt, _ in rows], config, log)
    log.start("score", device=str(machine.device), total=len(rows))
    rewards = load_rewards(config, machine, log)
    log.progress(0, len(rows), "scoring")
    prompts = [prompt for prompt, texts in rows for _ in texts]
    scores = machine.by_main(lambda: rewards.scores(prompts, [text for _, texts in rows for text in texts]))
    described = iter(_described(scores))
    lines = (
        {"prompt": prompt.messages, "responses": [{"text": text, **next(described)} for text in texts]}
        for prompt, texts in rows
    )
    metrics = {
        "responses": len(prompts),
        **scores.described(),
        "reward_std": float(scores.total[~scores.total.isnan()].std(correction=0)),
    }
    log.metrics(len(rows), len(rows), **metrics)
    return Outcome(metrics, lines=lines)


def _described(scores: Scores) -> Iterator[dict]:
    """{"score"} of each completion, with {"scores"} by name where there are several sources."""
    for i, total in enumerate(scores.total.tolist()):
        described: dict = {"score": _number(total)}
        if len(scores.parts) > 1:
            described["scores"] = {name: _number(float(part[i])) for name, part in scores.parts.items()}
        yield described


def _number(value: float) -> float | None:
    return None if math.isnan(value) else value


def _responses(row: dict, file: str, line: int) -> tuple[Prompt, list[str]]:
    """(prompt, texts to score) of a row of any kind that has responses. Raises RecordError."""
    prompt, texts = _texts(row, file, line)
    return parse_record({**row, "prompt": prompt}, "prompts", file, line), texts


def _texts(row: dict, file: str, line: int) -> tuple[list[Message], list[str]]:
    if "chosen" in row:
        record = parse_record(row, "preferences", file, line)
        return record.messages, [record.chosen, record.rejected]
    responses = row.get("responses")
    if isinstance(responses, list) and len(responses) == 1:  # as best_of_n writes them; no comparison of two
        text = responses[0].get("text") if isinstance(responses[0], dict) else responses[0]
        row = {"prompt": row.get("prompt"), "completion": text}
    if "completion" in row:
        record = parse_record(row, "demonstrations", file, line)
        return record.messages, [record.completion]
    record = parse_record(row, "comparisons", file, line)
    return record.messages, [response.text for response in record.responses]
