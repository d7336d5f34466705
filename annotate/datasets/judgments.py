"""One line a judgment, with everything that is known about how it was made: for those who analyse or cite it.

People are pseudonyms: the same person has the same one in every snapshot of a project, and another in every project.
What they wrote is left as it is, so a note may still tell who wrote it. What came from another server by moving.py is
told as it was told there: the same pseudonyms, and the numbers of guidelines and rounds that were meant there.
"""

from collections.abc import Iterator
from dataclasses import fields
from datetime import datetime

from django.utils.crypto import salted_hmac

from annotate.labeling.verdict import Verdict
from annotate.models import Judgment, Project
from annotate.models.judgment import JUDGE_PREFIX, Confidence, Flag, Rating

# What the names of users begin with that stand for somebody's pseudonym on another server.
IMPORTED_PREFIX = "annotator:"
CRITERIA = ("helpful", "truthful", "harmless")
_SIDES = {1: "a", 0: "equal", -1: "b", None: None}


def judgment_lines(judgments) -> Iterator[tuple[str, dict]]:
    """(digest of the prompt, line) for each of `judgments`, a queryset."""
    found = (
        judgments.select_related(
            "comparison__prompt", "comparison__project", "comparison__round", "annotator", "guideline", "reservation",
            "left", "right",
        )
        .prefetch_related("assessments", "earlier_versions__guideline")
        .order_by("comparison__prompt__digest", "id")
    )  # fmt: skip
    for judgment in found.iterator(2000):
        yield judgment.comparison.prompt.digest, judgment_line(judgment)


def judgment_line(judgment: Judgment) -> dict:
    """Lists have an entry a response, in the order shown; `responses[0]` is A."""
    comparison, reservation = judgment.comparison, judgment.reservation
    shown = judgment.shown
    of_place = {row.place: row for row in judgment.assessments.all()}
    rows = [of_place.get(place) for place in range(len(shown))]
    earlier = judgment.earlier_versions.all()
    origin = judgment.origin or {
        "guideline": judgment.guideline and judgment.guideline.number,
        "earlier_guidelines": [version.guideline and version.guideline.number for version in earlier],
        "round": comparison.round and comparison.round.number,
        "draw_probability": reservation and reservation.draw_probability,
        "extra": reservation is not None and judgment.slot_id is None,
        "imported": judgment.shown_at is None,
    }
    return {
        "annotator": pseudonym(comparison.project, judgment.annotator.username),
        "kind": comparison.kind,
        "prompt": comparison.prompt.messages,
        "responses": [{"text": response.text, "model": response.generator or None} for response in shown],
        "rating": None if judgment.is_ranking else Rating(judgment.rating).name.lower(),
        "ranks": [row.rank for row in rows] if judgment.is_ranking else None,
        "criteria": {name: _SIDES[getattr(judgment, name)] for name in CRITERIA},
        "overall": [row and row.overall for row in rows],
        "flags": [flag_names(row.flags if row else 0) for row in rows],
        "confidence": judgment.confidence and Confidence(judgment.confidence).name.lower(),
        "note": judgment.note,
        "edited": judgment.edited or None,
        "shown_at": _time(judgment.shown_at),
        "created_at": _time(judgment.created_at),
        "seconds": judgment.seconds,
        "active_seconds": judgment.active_seconds,
        "guideline": origin["guideline"],
        "renderer": judgment.renderer,
        "draw_probability": origin["draw_probability"],
        "extra": origin["extra"],
        "imported": origin["imported"],
        "round": origin["round"],
        "group": comparison.group or None,
        "version": judgment.version,
        "changed_at": _time(judgment.changed_at),
        "earlier": [
            {
                "version": version.number,
                "given_at": _time(version.given_at),
                "guideline": guideline,
                "renderer": version.renderer,
                "said": _said(version.said),
            }
            for version, guideline in zip(earlier, origin["earlier_guidelines"], strict=True)
        ],
    }


def pseudonym(project: Project, username: str) -> str:
    """Twelve hex digits that nobody without this site's secret key can trace back; a model keeps its `judge:NAME`."""
    if username.startswith(JUDGE_PREFIX):
        return username
    if username.startswith(IMPORTED_PREFIX):
        return username.removeprefix(IMPORTED_PREFIX)
    return salted_hmac(f"annotator of {project.slug}", username, algorithm="sha256").hexdigest()[:12]


def flag_names(flags: int) -> list[str]:
    return [flag.name.lower() for flag in Flag if flags & flag]


def _said(said: dict) -> dict:
    """An earlier version in the words of a line; its fields in one order, whatever order the database keeps."""
    words = {
        "rating": None if said["rating"] is None else Rating(said["rating"]).name.lower(),
        "confidence": said["confidence"] and Confidence(said["confidence"]).name.lower(),
        "flags": [flag_names(flags) for flags in said["flags"]],
        "ranks": said["ranks"] or None,
        "edited": said["edited"] or None,
        **{name: _SIDES[said[name]] for name in CRITERIA},
    }
    return {field.name: (said | words)[field.name] for field in fields(Verdict)}


def _time(moment: datetime | None) -> str | None:
    return moment and moment.isoformat()
