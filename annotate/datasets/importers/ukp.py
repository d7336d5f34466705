"""Votes on which argument convinces more: `{"debate", "stance", "a1", "a2", "votes": [{"worker", "choice"}, …]}`.

Habernal and Gurevych, "Which argument is more convincing?", ACL 2016. The prompt asks for an argument for the stance;
each worker is an annotator `ukp:<worker>`. A debate has two stances and its texts repeat across pairs, so all its pairs
carry the debate as their group: train and held-out data share no debate.
"""

import os
from collections.abc import Iterator
from datetime import UTC, datetime

from annotate.datasets.importers.items import Skipped, Vote, VotedPair
from annotate.models.judgment import Rating
from training.records import ONE_OF, STORABLE, RecordError, is_storable, iter_rows

KINDS = ("comparisons", "preferences")

_RATINGS = {"a1": Rating.A_BETTER, "a2": Rating.B_BETTER, "equal": Rating.EQUAL}


def read(path: str | os.PathLike, kind: str, name: str) -> Iterator[VotedPair | Skipped]:
    """Pairs with a vote per worker. Raises RecordError for a missing text or an unknown choice."""
    for line, row in iter_rows(path):
        debate, stance, left, right = (_text(row, field, path, line) for field in ("debate", "stance", "a1", "a2"))
        votes = row.get("votes")
        if not isinstance(votes, list) or not all(isinstance(vote, dict) for vote in votes):
            raise RecordError(path, line, "votes", "a list of votes")
        prompt = f"Debate: {debate}\nPosition: {stance}\n\nGive one convincing argument for this position."
        messages = [{"role": "user", "content": prompt}]
        if left == right:
            yield Skipped(line, "both arguments are the same text")
        else:
            read_votes = [_vote(vote, number, path, line) for number, vote in enumerate(votes)]
            yield VotedPair(line, messages, left, right, read_votes, group=debate)


def _text(row: dict, field: str, path, line: int, place: str | None = None) -> str:
    value = row.get(field)
    if not isinstance(value, str) or not value.strip():
        raise RecordError(path, line, place or field, "a text that is not empty")
    return _storable(value, path, line, place or field)


def _storable(text: str, path, line: int, place: str) -> str:
    if not is_storable(text):
        raise RecordError(path, line, place, STORABLE)
    return text.strip()


def _vote(vote: dict, number: int, path, line: int) -> Vote:
    place = f"votes[{number}]"
    choice = vote.get("choice")
    if choice not in _RATINGS:
        raise RecordError(path, line, f"{place}.choice", ONE_OF, words=", ".join(_RATINGS))
    return Vote(
        annotator=f"ukp:{_text(vote, 'worker', path, line, f'{place}.worker')}",
        rating=_RATINGS[choice],
        note=_storable(str(vote.get("reason") or ""), path, line, f"{place}.reason"),
        created_at=_time(vote.get("submitted"), f"{place}.submitted", path, line),
    )


def _time(value, place: str, path, line: int) -> datetime | None:
    if value is None:
        return None
    try:
        return datetime.strptime(value, "%Y-%m-%d %H:%M:%S").replace(tzinfo=UTC)
    except (TypeError, ValueError):
        raise RecordError(path, line, place, "a time such as 2016-01-31 16:59:52, or null") from None
