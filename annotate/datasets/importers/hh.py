"""Anthropic's helpful-and-harmless format: `{"chosen", "rejected"}`, each a whole transcript.

A transcript is turns that begin with a blank line and "Human:" or "Assistant:". The prompt is all but the last turn,
the responses are the last turns. A few published rows part before the last turn, or end with an empty answer: these
are no two answers to one prompt, so they are skipped and counted.
"""

import os
import re
from collections.abc import Iterator

from annotate.datasets.importers.items import Skipped, VotedPair
from annotate.datasets.importers.native import voted_pair
from training.records import STORABLE, Message, Preference, RecordError, is_storable, iter_rows

KINDS = ("preferences",)

_TURN = re.compile(r"\n\n(Human|Assistant):")
_ROLES = {"Human": "user", "Assistant": "assistant"}

Turn = tuple[str, str]


def read(path: str | os.PathLike, kind: str, name: str) -> Iterator[VotedPair | Skipped]:
    """Raises RecordError for a row that is no pair of transcripts."""
    for line, row in iter_rows(path):
        chosen, rejected = (_turns(row, field, path, line) for field in ("chosen", "rejected"))
        if chosen == rejected:
            yield Skipped(line, "chosen and rejected are the same text")
        elif chosen[:-1] != rejected[:-1]:
            yield Skipped(line, "the conversations differ before their last turn")
        elif not (chosen[-1][1] and rejected[-1][1]):
            yield Skipped(line, "a response is empty")
        elif (prompt := _messages(chosen[:-1]))[-1]["role"] == "assistant":
            yield Skipped(line, "the prompt ends with the assistant's own turn")
        else:
            preference = Preference(prompt, chosen[-1][1], rejected[-1][1])
            yield voted_pair(preference, line, name)


def _turns(row: dict, field: str, path, line: int) -> list[Turn]:
    """[("user", text), ("assistant", text), …], from a human turn to an assistant's."""
    value = row.get(field)
    expected = 'a transcript "\\n\\nHuman: …\\n\\nAssistant: …" that ends with the assistant\'s turn'
    if not isinstance(value, str):
        raise RecordError(path, line, field, expected)
    if not is_storable(value):
        raise RecordError(path, line, field, STORABLE)
    before, *parts = _TURN.split(value)
    turns = [(_ROLES[speaker], text.strip()) for speaker, text in zip(parts[::2], parts[1::2], strict=True)]
    if before.strip() or len(turns) < 2 or turns[0][0] != "user" or turns[-1][0] != "assistant":
        raise RecordError(path, line, field, expected)
    if not any(role == "user" and text for role, text in turns[:-1]):
        raise RecordError(path, line, field, "a transcript in which the human says something")
    return turns


def _messages(turns: list[Turn]) -> list[Message]:
    """Turns in a row by one speaker become one message, as chat templates want them; empty ones are left out."""
    messages: list[Message] = []
    for role, text in turns:
        if not text:
            continue
        if messages and messages[-1]["role"] == role:
            messages[-1] = {"role": role, "content": f"{messages[-1]['content']}\n\n{text}"}
        else:
            messages.append({"role": role, "content": text})
    return messages
