"""Prefloop's own files: prompts, demonstrations, comparisons, preferences (see training/records.py), judgments."""

import os
from collections.abc import Iterator

from annotate.datasets.importers import judgments
from annotate.datasets.importers.items import Skipped, Vote, VotedPair, sides, stored_record
from annotate.models.judgment import Criterion, Rating
from training.records import Preference, Record, iter_rows

KINDS = ("prompts", "comparisons", "preferences", "demonstrations", "judgments")


def read(
    path: str | os.PathLike, kind: str, name: str
) -> Iterator[Record | VotedPair | judgments.JudgedComparison | Skipped]:
    """Records as they stand; a preference becomes a pair with one vote by the user `name`. Raises RecordError."""
    if kind == "judgments":
        yield from judgments.read(path)
        return
    for line, row in iter_rows(path):
        record = stored_record(row, kind, path, line)
        if not isinstance(record, Preference):
            yield record
        elif record.chosen == record.rejected:
            yield Skipped(line, "chosen and rejected are the same text")
        else:
            yield voted_pair(record, line, name)


def voted_pair(preference: Preference, line: int, annotator: str) -> VotedPair:
    """The preference as the pair it is about, with one vote."""
    left, right = sides(preference.chosen, preference.rejected)
    chosen_left = left == preference.chosen
    winning_side = Criterion.A_BETTER if chosen_left else Criterion.B_BETTER
    sign = {"chosen": winning_side, "tie": Criterion.EQUAL, "rejected": -winning_side}
    criteria = {name: int(sign[verdict]) for name, verdict in (preference.criteria or {}).items()}
    vote = Vote(
        annotator, _rating(preference.strength, chosen_left), criteria=criteria, edited=preference.edited or ""
    )
    return VotedPair(line, preference.messages, left, right, [vote], preference.group or "")


def _rating(strength: str | None, chosen_left: bool) -> int:
    if strength == "tie":
        return Rating.EQUAL
    if strength == "slightly_better":
        return Rating.A_SLIGHTLY_BETTER if chosen_left else Rating.B_SLIGHTLY_BETTER
    return Rating.A_BETTER if chosen_left else Rating.B_BETTER
