"""What readers yield besides the records of training.records: pairs with their votes, and rows that cannot be used."""

import os
from dataclasses import dataclass, field
from datetime import datetime

from annotate.models.comparison import text_digest
from training.records import Comparison, Message, Preference, Record, RecordError, parse_record

# Of the names of models and groups, as the database has room for them.
LONGEST_NAME = 200


@dataclass(frozen=True)
class Skipped:
    """A row that says nothing we could learn from. `reason` completes "skipped because …"."""

    line: int
    reason: str


@dataclass(frozen=True)
class Vote:
    """One person's rating of a pair, `rating` as annotate.models.judgment.Rating with `left` as A.

    `edited` is the better answer as this person improved it.
    """

    annotator: str
    rating: int
    note: str = ""
    criteria: dict[str, int] = field(default_factory=dict)
    seconds: float | None = None
    created_at: datetime | None = None
    edited: str = ""


@dataclass(frozen=True)
class VotedPair:
    """Two responses to one prompt and who voted how. `left` and `right` differ."""

    line: int
    messages: list[Message]
    left: str
    right: str
    votes: list[Vote]
    group: str = ""


def stored_record(row, kind: str, path: str | os.PathLike, line: int) -> Record:
    """The record that a line holds, its names short enough to be stored. Raises RecordError."""
    record = parse_record(row, kind, path, line)
    names = {}
    if isinstance(record, Comparison):
        names = {f"responses[{place}].model": response.model for place, response in enumerate(record.responses)}
    elif isinstance(record, Preference):
        names = {"group": record.group}
    for name, text in names.items():
        if text and len(text) > LONGEST_NAME:
            expected = "a text of at most %(longest)s characters, or null"
            raise RecordError(path, line, name, expected, longest=LONGEST_NAME)
    return record


def sides(chosen: str, rejected: str) -> tuple[str, str]:
    """Left and right for a pair whose order on the screen is not known: by digest, so that the winner has no side."""
    left, right = sorted((chosen, rejected), key=text_digest)
    return left, right
