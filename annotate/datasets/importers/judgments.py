"""A snapshot of judgments, read back: the lines of annotate/datasets/judgments.py, each with everything it says."""

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

from annotate.datasets.importers.items import LONGEST_NAME, stored_record
from annotate.labeling.verdict import HIGHEST_SCORE, LONGEST_EDIT, LONGEST_NOTE, LOWEST_SCORE, Verdict
from annotate.models.judgment import JUDGE_PREFIX, MOST_RESPONSES, Confidence, Criterion, Flag, Rating
from training.records import LARGEST, ONE_OF, STORABLE, Comparison, RecordError, is_storable, iter_rows

CRITERIA = ("helpful", "truthful", "harmless")
FEWEST_RANKED = 4
# Room for the prefix that tells such annotators from accounts, and for a judge's own.
_ANNOTATOR = re.compile(r"[\w.@+/:-]{1,110}")
_SIDES = {"a": Criterion.A_BETTER, "equal": Criterion.EQUAL, "b": Criterion.B_BETTER}
_RATINGS = {rating.name.lower(): rating.value for rating in Rating}
_CONFIDENCE = {confidence.name.lower(): confidence.value for confidence in Confidence}
_FLAGS = {flag.name.lower(): flag.value for flag in Flag}


@dataclass(frozen=True)
class EarlierVersion:
    """What a judgment said before it was changed."""

    number: int
    said: Verdict
    renderer: int | None
    given_at: datetime


@dataclass(frozen=True)
class JudgedComparison:
    """One person's judgment; the responses of `compared` stand in the order shown.

    `origin` is what has no row in another project: numbers of guidelines and rounds, how the comparison was drawn.
    """

    line: int
    annotator: str
    compared: Comparison
    verdict: Verdict
    earlier: list[EarlierVersion]
    shown_at: datetime | None
    created_at: datetime
    changed_at: datetime | None
    seconds: float | None
    active_seconds: float | None
    renderer: int | None
    group: str
    origin: dict

    @property
    def is_ranking(self) -> bool:
        return self.verdict.rating is None


def read(path: str | os.PathLike) -> Iterator[JudgedComparison]:
    """Raises RecordError for the first line that is none of an export's."""
    for line, row in iter_rows(path):
        yield _judged(_Line(row, path, line))


class _Line:
    """A JSON object and the place it came from. Fields within it are named with dots: `said.rating`."""

    def __init__(self, row: dict, path, line: int, within: str = ""):
        self.row, self.path, self.line, self.within = row, path, line, within

    def error(self, field: str, expected: str, **values) -> RecordError:
        return RecordError(self.path, self.line, self.within + field, expected, **values)

    def inner(self, field: str, value) -> "_Line":
        if not isinstance(value, dict):
            raise self.error(field, "an object")
        return _Line(value, self.path, self.line, f"{self.within}{field}.")

    def one_of(self, field: str, values: dict, *, required: bool = False):
        """The meaning of a word; None where there is none."""
        value = self.row.get(field)
        if value is None and not required:
            return None
        if not isinstance(value, str) or value not in values:
            words = ", ".join(values)
            if required:
                raise self.error(field, ONE_OF, words=words)
            raise self.error(field, "one of %(words)s, or null", words=words)
        return values[value]

    def text(self, field: str, longest: int) -> str:
        value = self.row.get(field)
        if value is None:
            return ""
        if not isinstance(value, str) or len(value) > longest:
            raise self.error(field, "a text of at most %(longest)s characters, or null", longest=longest)
        if not is_storable(value):
            raise self.error(field, STORABLE)
        return value

    def whole(self, field: str, low: int = 0, high: int = 32767) -> int | None:
        return self.each_whole(field, self.row.get(field), low, high)

    def each_whole(self, field: str, value, low: int, high: int) -> int | None:
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            raise self.error(field, "a whole number from %(low)s to %(high)s, or null", low=low, high=high)
        return value

    def number(self, field: str, high: float = LARGEST) -> float | None:
        value = self.row.get(field)
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= high:
            if high == LARGEST:
                raise self.error(field, "a number of at least 0, or null")
            raise self.error(field, "a number from 0 to %(high)s, or null", high=high)
        return float(value)

    def truth(self, field: str) -> bool:
        if not isinstance(value := self.row.get(field) or False, bool):
            raise self.error(field, "true or false")
        return value

    def time(self, field: str, *, required: bool = False) -> datetime | None:
        value = self.row.get(field)
        if value is None and not required:
            return None
        try:
            moment = datetime.fromisoformat(value)
            moment.astimezone(UTC)  # as it is stored: the first and the last day of the calendar may not be there
        except (TypeError, ValueError, OverflowError):
            moment = None
        if moment is None or moment.tzinfo is None:
            raise self.error(field, "a time with its zone such as 2026-01-31T16:59:52+00:00")
        return moment

    def list(self, field: str, count: int | None = None) -> list:
        value = self.row.get(field)
        if value is None:
            value = [None] * (count or 0)
        if not isinstance(value, list) or (count is not None and len(value) != count):
            if count is None:
                raise self.error(field, "a list")
            raise self.error(field, "a list of %(count)s entries, one a response", count=count)
        return value


def _judged(line: _Line) -> JudgedComparison:
    compared = stored_record(line.row, "comparisons", line.path, line.line)
    count = len(compared.responses)
    is_ranking = line.one_of("kind", {"pair": False, "ranking": True}, required=True)
    fewest, most = (FEWEST_RANKED, MOST_RESPONSES) if is_ranking else (2, 2)
    if not fewest <= count <= most:
        raise line.error("responses", "two responses for a pair, four to nine for a ranking")
    if len({(response.text, response.model) for response in compared.responses}) < count:
        raise line.error("responses", "responses that differ in their text or their model")
    annotator = line.row.get("annotator")
    if not isinstance(annotator, str) or not _ANNOTATOR.fullmatch(annotator) or annotator == JUDGE_PREFIX:
        raise line.error("annotator", "a pseudonym: letters, digits and . @ + / : - _ only, 110 at most")
    criteria = line.inner("criteria", line.row.get("criteria") or {})
    verdict = _verdict(line, criteria, count, is_ranking)
    earlier, guidelines = [], []
    for place, entry in enumerate(line.list("earlier")):
        version = line.inner(f"earlier[{place}]", entry)
        said = version.inner("said", version.row.get("said"))
        if version.row.get("version") != place + 1:
            raise version.error("version", "%(number)s: versions count from 1", number=place + 1)
        earlier.append(EarlierVersion(
            place + 1, _verdict(said, said, count, is_ranking), version.whole("renderer"),
            version.time("given_at", required=True),
        ))  # fmt: skip
        guidelines.append(version.whole("guideline"))
    if (version := line.row.get("version")) not in (None, len(earlier) + 1):
        numbers = {"number": len(earlier) + 1, "version": version}
        raise line.error("version", "%(number)s, one more than there are earlier ones, not %(version)s", **numbers)
    seconds, active = line.number("seconds"), line.number("active_seconds")
    if active is not None and (seconds is None or active > seconds):
        raise line.error("active_seconds", "at most as many as seconds")
    return JudgedComparison(
        line=line.line, annotator=annotator, compared=compared, verdict=verdict, earlier=earlier,
        shown_at=line.time("shown_at"), created_at=line.time("created_at", required=True),
        changed_at=line.time("changed_at", required=bool(earlier)) if earlier else None,
        seconds=seconds, active_seconds=active, renderer=line.whole("renderer"), group=line.text("group", LONGEST_NAME),
        origin={
            "guideline": line.whole("guideline"), "earlier_guidelines": guidelines, "round": line.whole("round"),
            "draw_probability": line.number("draw_probability", 1), "extra": line.truth("extra"),
            "imported": line.truth("imported"),
        },
    )  # fmt: skip


def _verdict(line: _Line, criteria: _Line, count: int, is_ranking: bool) -> Verdict:
    scores = [
        line.each_whole(f"overall[{place}]", value, LOWEST_SCORE, HIGHEST_SCORE)
        for place, value in enumerate(line.list("overall", count))
    ]
    return Verdict(
        rating=None if is_ranking else line.one_of("rating", _RATINGS, required=True),
        ranks=_ranks(line, count) if is_ranking else (),
        overall=tuple(scores),
        flags=tuple(_flags(line, place, names) for place, names in enumerate(line.list("flags", count))),
        confidence=line.one_of("confidence", _CONFIDENCE),
        note=line.text("note", LONGEST_NOTE),
        edited=line.text("edited", LONGEST_EDIT),
        **{name: criteria.one_of(name, _SIDES) for name in CRITERIA},
    )


def _ranks(line: _Line, count: int) -> tuple[int, ...]:
    ranks = [line.each_whole(f"ranks[{place}]", rank, 1, count) for place, rank in enumerate(line.list("ranks", count))]
    if set(ranks) != set(range(1, len(set(ranks)) + 1)):
        raise line.error("ranks", "a rank for each response, from 1 on and without gaps")
    return tuple(ranks)


def _flags(line: _Line, place: int, names) -> int:
    if names is not None and (not isinstance(names, list) or not all(name in _FLAGS for name in map(str, names))):
        raise line.error(f"flags[{place}]", "a list of %(words)s", words=", ".join(_FLAGS))
    return sum({_FLAGS[name] for name in names or []})
