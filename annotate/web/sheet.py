"""The labeling form: what a project asks about the responses shown, what is filled in, and what was sent."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from operator import or_

from django.conf import settings
from django.http import QueryDict
from django.utils.translation import get_language
from django.utils.translation import gettext_lazy as _

from annotate.labeling.verdict import HIGHEST_SCORE, LOWEST_SCORE, Verdict
from annotate.models import Project, Response
from annotate.models.judgment import FLAG_LABELS, MOST_RESPONSES, Confidence, Rating

LETTERS = "ABCDEFGHI"
CRITERIA = [("helpful", _("Helpful")), ("truthful", _("Truthful")), ("harmless", _("Harmless"))]
# In the order in which they stand side by side.
CLOSENESS = {
    Rating.A_BETTER: _("clearly"),
    Rating.A_SLIGHTLY_BETTER: _("truly close"),
    Rating.EQUAL: _("neither is better"),
    Rating.B_SLIGHTLY_BETTER: _("truly close"),
    Rating.B_BETTER: _("clearly"),
    Rating.BOTH_BAD: _("neither may be learnt from"),
}
# The settings of a project that say what the form asks.
_ASKED = (
    "allow_equal", "allow_both_bad", "ask_criteria", "ask_confidence", "ask_overall", "ask_flags", "ask_edited",
    "require_note",
)  # fmt: skip
_VERDICT_SIDES = [(1, "A"), (0, "="), (-1, "B")]


@dataclass(frozen=True)
class Choice:
    """One of several buttons; `hint` says a little more."""

    value: int
    label: str
    chosen: bool
    hint: str = ""


@dataclass(frozen=True)
class ResponseSheet:
    """A response as it is shown, and what is asked about it alone. `rank` is None where none is given."""

    place: int
    letter: str
    response: Response
    rank: int | None
    overall: list[Choice]
    flags: list[Choice]


@dataclass(frozen=True)
class Sheet:
    """The whole form. What a project does not ask for is an empty list or False."""

    is_ranking: bool
    responses: list[ResponseSheet]
    ratings: list[Choice]
    criteria: list[tuple[str, str, list[Choice]]]
    confidence: list[Choice]
    asks_edit: bool
    needs_note: bool
    note: str
    edited: str

    @property
    def ranks(self) -> range:
        return range(1, len(self.responses) + 1)

    @property
    def letters(self) -> list[str]:
        return [response.letter for response in self.responses]

    @property
    def asks_about_each(self) -> bool:
        return any(response.overall or response.flags for response in self.responses)

    @property
    def folds(self) -> bool:
        """Whether there is more to say than the bar has room for."""
        return self.asks_edit or (self.asks_about_each and not self.is_ranking)


def sheet_of(project: Project, shown: Sequence[Response], given: Verdict | None = None) -> Sheet:
    """The form for the responses `shown` from A on; `given` is what it has been filled in with before."""
    is_ranking = len(shown) > 2
    given = given or Verdict()
    criteria = [
        (name, label, [Choice(value, side, getattr(given, name) == value) for value, side in _VERDICT_SIDES])
        for name, label in CRITERIA
    ]
    confidence = [Choice(value, label, given.confidence == value) for value, label in Confidence.choices]
    return Sheet(
        is_ranking=is_ranking,
        responses=[_response_sheet(project, place, response, given) for place, response in enumerate(shown)],
        ratings=[] if is_ranking else _ratings(project, given),
        criteria=criteria if project.ask_criteria and not is_ranking else [],
        confidence=confidence if project.ask_confidence else [],
        asks_edit=project.ask_edited,
        needs_note=project.require_note,
        note=given.note,
        edited=given.edited,
    )


def same_form(project: Project, sheet: Sheet, user) -> str:
    """What the empty form's buttons and fields depend on, so that the page draws them once and keeps them: the same
    text, the same form. "" while templates are worked on: there is nothing to keep then.
    """
    if settings.DEBUG:
        return ""
    asked = [getattr(project, name) for name in _ASKED]
    return repr((get_language(), len(sheet.responses), asked, sorted(user.keys.items())))


def read_sheet(sent: QueryDict) -> dict:
    """What the form sent, as `annotate.labeling.verdict.read_verdict` takes it."""
    places = range(MOST_RESPONSES)
    plain = ("rating", "confidence", "note", "edited", *(name for name, _label in CRITERIA))
    return {name: sent.get(name, "") for name in plain} | {
        "ranks": [sent.get(f"rank-{place}", "") for place in places],
        "overall": [sent.get(f"overall-{place}", "") for place in places],
        "flags": [_sum(sent.getlist(f"flags-{place}")) for place in places],
    }


def filled_in(sent: QueryDict, count: int) -> Verdict:
    """What the form said about `count` responses, to be shown again; what means nothing is left out."""
    said = read_sheet(sent)
    return Verdict(
        ranks=tuple(map(_number, said["ranks"][:count])) if count > 2 else (),
        overall=tuple(map(_number, said["overall"][:count])),
        flags=tuple(_number(flags) or 0 for flags in said["flags"][:count]),
        note=said["note"],
        edited=said["edited"],
        **{name: _number(said[name]) for name in ("rating", "confidence", *(name for name, _label in CRITERIA))},
    )


def _number(text) -> int | None:
    try:
        return int(text)
    except (TypeError, ValueError):
        return None


def _response_sheet(project: Project, place: int, response: Response, given: Verdict) -> ResponseSheet:
    overall = given.overall[place] if given.overall else None
    flags = given.flags[place] if given.flags else 0
    scores = range(LOWEST_SCORE, HIGHEST_SCORE + 1) if project.ask_overall else []
    return ResponseSheet(
        place=place,
        letter=LETTERS[place],
        response=response,
        rank=given.ranks[place] if given.ranks else None,
        overall=[Choice(score, str(score), overall == score) for score in scores],
        flags=[Choice(flag.value, label, bool(flags & flag)) for flag, label in FLAG_LABELS.items()]
        if project.ask_flags
        else [],
    )


def _ratings(project: Project, given: Verdict) -> list[Choice]:
    """From “A is better” to “B is better”, a tie in the middle and “both are bad” at the end."""
    left_out = {Rating.EQUAL: not project.allow_equal, Rating.BOTH_BAD: not project.allow_both_bad}
    return [
        Choice(rating.value, rating.label, given.rating == rating, hint)
        for rating, hint in CLOSENESS.items()
        if not left_out.get(rating)
    ]


def _sum(values: list[str]) -> int | str:
    """Flags as one number; what is no number goes on as it is, to be refused by name."""
    try:
        return reduce(or_, map(int, values), 0)
    except ValueError:
        return "?"
