"""Records to examples: token ids within the length limit, and an account of every row shortened or left out."""

from collections.abc import Iterable, Sequence

from training.batching import Example
from training.chat import encode_completion, encode_prompt, truncate_prompt
from training.config import ConfigError, TrainingConfig
from training.events import EventLog
from training.records import Message, Preference, Prompt
from training.splits import Split


def encode_examples(
    tokenizer,
    rows: Iterable[tuple[int, list[Message], Sequence[str]]],
    *,
    max_length: int,
    log: EventLog,
    name: str = "training data",
) -> list[Example]:
    """Examples of (the row's place in its file from 0, messages, responses); the place becomes the example's `index`.

    A prompt too long loses its start; a row whose responses alone are too long is left out. Both are counted and said.
    Raises ConfigError where no row is left.
    """
    examples, shortened, dropped = [], [], []
    rows = list(rows)
    for index, messages, responses in rows:
        prompt = encode_prompt(tokenizer, messages)
        completions = tuple(tuple(encode_completion(tokenizer, response)) for response in responses)
        kept = truncate_prompt(prompt, max(map(len, completions)), max_length)
        if kept is None:
            dropped.append(index)
            continue
        if len(kept) < len(prompt):
            shortened.append(index)
        examples.append(Example(tuple(kept), completions, index))
    if shortened:
        log.message(
            f"{name}: {len(shortened)} of {len(rows)} prompts lost their start to fit max_length={max_length} "
            f"(rows {_first(shortened)})",
            "warning",
        )
    _report_left_out(dropped, len(rows), max_length, log, name)
    return examples


def encode_prompts(tokenizer, prompts: Sequence[Prompt], *, max_length: int, log: EventLog) -> list[list[int]]:
    """The prompts' ids. One too long loses its start, a system prompt first; that is counted and said."""
    whole = [encode_prompt(tokenizer, prompt.messages) for prompt in prompts]
    shortened = [index for index, ids in enumerate(whole) if len(ids) > max_length]
    if shortened:
        log.message(
            f"{len(shortened)} of {len(prompts)} prompts lost their start, and a system prompt with it, to fit "
            f"max_prompt_length={max_length} (rows {_first(shortened)}; the longest has {max(map(len, whole))} "
            "tokens): the policy answers what is left, and the rewards judge by the whole",
            "warning",
        )
    return [ids[-max_length:] for ids in whole]


def fitting_rows(
    tokenizer, rows: Sequence[tuple[int, Preference]], *, max_length: int, log: EventLog, name: str
) -> list[tuple[int, Preference]]:
    """The rows of which both responses are short enough, before some of them become one group; the rest is counted."""
    fitting = [
        (index, row)
        for index, row in rows
        if all(len(encode_completion(tokenizer, text)) < max_length for text in (row.chosen, row.rejected))
    ]
    kept = {index for index, _ in fitting}
    _report_left_out([index for index, _ in rows if index not in kept], len(rows), max_length, log, name)
    return fitting


def encode_pairs(tokenizer, split: Split, config: TrainingConfig, log: EventLog) -> tuple[list[Example], list[Example]]:
    """(training, held-out) examples of preferences, the chosen response first."""
    parts = []
    for name, indices in (("training data", split.train), ("held-out data", split.heldout)):
        rows = [
            (index, row.messages, (row.chosen, row.rejected))
            for index, row in zip(indices, split.of(indices), strict=True)
        ]
        parts.append(encode_examples(tokenizer, rows, max_length=config.max_length, log=log, name=name))
    return parts[0], parts[1]


def _report_left_out(dropped: list[int], total: int, max_length: int, log: EventLog, name: str) -> None:
    """Raises ConfigError where nothing is left."""
    if dropped:
        log.message(
            f"{name}: {len(dropped)} of {total} rows left out, a response alone is longer than "
            f"max_length={max_length} (rows {_first(dropped)})",
            "warning",
        )
    if total and len(dropped) == total:
        raise ConfigError(f"{name}: every row's response is longer than max_length={max_length}; raise it")


def _first(indices: list[int]) -> str:
    return ", ".join(str(index + 1) for index in indices[:10]) + (", …" if len(indices) > 10 else "")
