"""A reward model's score for each response of a file."""

from pathlib import Path

from training import runtime
from training.config import ConfigError
from training.events import EventLog
from training.files import write_json_lines
from training.recipes import Outcome
from training.recipes.sampling_configs import ScoreConfig
from training.records import Message, iter_rows, parse_record
from training.rewards import RewardModelSource, scorer


def run(config: ScoreConfig, log: EventLog) -> Outcome:
    """Writes scores.jsonl: {"prompt", "responses": [{"text", "score"}, …]}, line for line as the rows came."""
    machine = runtime.start(config, log)
    rows = [_responses(row, config.data, line) for line, row in iter_rows(config.data)]
    if not rows:
        raise ConfigError(f"{config.data} holds no rows")
    log.start("score", device=str(machine.device), total=len(rows))
    rewards = RewardModelSource(config.model, device=machine.device, tokens_per_batch=config.tokens_per_batch)
    score = scorer([(1.0, rewards)], machine)
    log.progress(0, len(rows), "scoring")
    messages = [prompt for prompt, texts in rows for _ in texts]
    scores = score(messages, [text for _, texts in rows for text in texts])
    of_rows = scores.split([len(texts) for _, texts in rows])
    write_json_lines(
        Path(config.output) / "scores.jsonl",
        (
            {
                "prompt": prompt,
                "responses": [
                    {"text": text, "score": value} for text, value in zip(texts, of_row.tolist(), strict=True)
                ],
            }
            for (prompt, texts), of_row in zip(rows, of_rows, strict=True)
        ),
    )
    metrics = {
        "responses": len(scores),
        "reward": float(scores.mean()),
        "reward_std": float(scores.std(correction=0)),
    }
    log.metrics(len(rows), len(rows), **metrics)
    return Outcome(metrics)


def _responses(row: dict, file: str, line: int) -> tuple[list[Message], list[str]]:
    """(prompt, texts to score) of a row of any kind that has responses. Raises RecordError."""
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
