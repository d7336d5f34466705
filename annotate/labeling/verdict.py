"""A verdict: everything that a person says about a comparison, checked, and as the rows that store it."""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, fields

from django.utils.translation import gettext as _

from annotate.errors import UserError
from annotate.models import Assessment, Judgment, Project, Response
from annotate.models.judgment import ALL_FLAGS, Confidence, Criterion, Rating

LONGEST_NOTE = 5000
LONGEST_EDIT = 50_000
LOWEST_SCORE, HIGHEST_SCORE = 1, 7
LEFT_WINS = {Rating.A_BETTER, Rating.A_SLIGHTLY_BETTER}
RIGHT_WINS = {Rating.B_BETTER, Rating.B_SLIGHTLY_BETTER}


@dataclass(frozen=True)
class Verdict:
    """What was said, the responses in the order shown: a `rating` of a pair, or `ranks` of a ranking.

    `ranks` counts from 1, the best, without gaps; tied responses share a rank. `overall` (1 to 7 or None) and `flags`
    (sums of Flag) have an entry a response. Criteria are 1 for A, 0, −1 for B, or None.
    """

    rating: int | None = None
    ranks: tuple[int, ...] = ()
    helpful: int | None = None
    truthful: int | None = None
    harmless: int | None = None
    overall: tuple[int | None, ...] = ()
    flags: tuple[int, ...] = ()
    confidence: int | None = None
    note: str = ""
    edited: str = ""

    @classmethod
    def of(cls, judgment: Judgment) -> "Verdict":
        """What a stored judgment says now."""
        of_place = {assessment.place: assessment for assessment in judgment.assessments.all()}
        rows = [of_place.get(place) for place in range(len(of_place) if judgment.is_ranking else 2)]
        plain = {field.name for field in fields(cls)} - {"ranks", "overall", "flags"}
        return cls(
            ranks=tuple(row.rank for row in rows) if judgment.is_ranking else (),
            overall=tuple(row and row.overall for row in rows),
            flags=tuple(row.flags if row else 0 for row in rows),
            **{name: getattr(judgment, name) for name in plain},
        )

    def as_json(self) -> dict:
        return {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(self).items()}

    def columns(self, shown: Sequence[Response]) -> dict:
        """The columns of the judgment; `shown` are the responses from A on."""
        left, right = (None, None) if self.ranks else shown
        winner = left if self.rating in LEFT_WINS else right if self.rating in RIGHT_WINS else None
        plain = ("rating", "helpful", "truthful", "harmless", "confidence", "note", "edited")
        return {"left": left, "right": right, "winner": winner, **{name: getattr(self, name) for name in plain}}

    def assessments(self, judgment: Judgment, shown: Sequence[Response]) -> list[Assessment]:
        """A row for each response of a ranking, and for those of a pair about which something was said."""
        ranks = self.ranks or (None,) * len(shown)
        rows = zip(shown, ranks, self.overall, self.flags, strict=True)
        return [
            Assessment(judgment=judgment, response=response, place=place, rank=rank, overall=overall, flags=flags)
            for place, (response, rank, overall, flags) in enumerate(rows)
            if rank or overall or flags
        ]


def read_verdict(
    project: Project,
    shown: Sequence[Response],
    *,
    rating=None,
    ranks: Sequence = (),
    helpful=None,
    truthful=None,
    harmless=None,
    overall: Sequence = (),
    flags: Sequence = (),
    confidence=None,
    note: str = "",
    edited: str = "",
) -> Verdict:
    """What was sent about the responses `shown`, as numbers or their texts; "" and None are nothing said.

    `flags` has a number, the sum of its Flags, for each response. Raises UserError that names the field. What the
    project does not ask for is kept if it comes all the same, except a tie and "both bad", which must be allowed.
    """
    is_ranking = len(shown) > 2
    criteria = {"helpful": helpful, "truthful": truthful, "harmless": harmless}
    criteria = {name: _criterion(name, value) for name, value in criteria.items()}
    for name, verdict in criteria.items():
        if is_ranking and verdict is not None:
            raise UserError(_("Verdicts on single criteria are asked about pairs, not about rankings."), field=name)
    verdict = Verdict(
        rating=None if is_ranking else _rating(rating, project),
        ranks=_ranks(ranks, len(shown), project) if is_ranking else (),
        overall=_each(overall, len(shown), "overall", _overall),
        flags=tuple(flags or 0 for flags in _each(flags, len(shown), "flags", _flags)),
        confidence=_one_of(confidence, Confidence.values, "confidence", _("Please choose how sure you are.")),
        note=read_text(note, LONGEST_NOTE, "note", _("A note")),
        edited=read_text(edited, LONGEST_EDIT, "edited", _("An improved answer")),
        **criteria,
    )
    if project.require_note and not verdict.note:
        raise UserError(_("Please say in a few words why: this project asks for a reason."), field="note")
    if any(verdict.edited == response.text.strip() for response in shown):
        # Opened, and left as it was.
        verdict = Verdict(**(asdict(verdict) | {"edited": ""}))
    return verdict


def implied_pairs(ranks: Sequence[int]) -> Iterable[tuple[int, int]]:
    """(better, worse) for every two places of different rank; those of the same rank are not in it."""
    places = range(len(ranks))
    return ((one, other) for one in places for other in places if ranks[one] < ranks[other])


def _rating(value, project: Project) -> int:
    allowed = {*Rating.values}
    if not project.allow_equal:
        allowed.discard(Rating.EQUAL)
    if not project.allow_both_bad:
        allowed.discard(Rating.BOTH_BAD)
    message = _("Please choose one of the ratings.")
    rating = _one_of(value, allowed, "rating", message)
    if rating is None:
        raise UserError(message, field="rating")
    return rating


def _ranks(values: Sequence, count: int, project: Project) -> tuple[int, ...]:
    """Ranks without gaps: 1, 1, 3 becomes 1, 1, 2."""
    message = _("Please give each of the %(count)d responses a rank.") % {"count": count}
    ranks = _each(values, count, "ranks", lambda value: _one_of(value, range(1, count + 1), "ranks", message))
    if None in ranks:
        raise UserError(message, field="ranks")
    if len(set(ranks)) < count and not project.allow_equal:
        raise UserError(_("Two responses have the same rank; here each rank is given once."), field="ranks")
    dense = {rank: number for number, rank in enumerate(sorted(set(ranks)), 1)}
    return tuple(dense[rank] for rank in ranks)


def _each(values: Sequence, count: int, field: str, read) -> tuple:
    """`read` of one value a response; values that are not given are None."""
    read_values = [read(value) for value in values]
    if any(value is not None for value in read_values[count:]):
        raise UserError(_("There are only %(count)d responses.") % {"count": count}, field=field)
    return (*read_values[:count], *[None] * (count - len(read_values)))


def _overall(value) -> int | None:
    scores = range(LOWEST_SCORE, HIGHEST_SCORE + 1)
    return _one_of(value, scores, "overall", _("The overall quality is a number from 1 to 7."))


def _flags(value) -> int | None:
    return _one_of(value, range(ALL_FLAGS + 1), "flags", _("These flags are not known.")) or None


def _criterion(name: str, value) -> int | None:
    message = _("“%(name)s” takes 1 (A), 0 (equal), -1 (B), or nothing.") % {"name": name.capitalize()}
    return _one_of(value, Criterion.values, name, message)


def _one_of(value, allowed, field: str, message: str) -> int | None:
    if value is None or value == "":
        return None
    try:
        number = int(value)
    except (TypeError, ValueError):
        number = None
    if number not in allowed:
        raise UserError(message, field=field)
    return number


def read_text(value: str, longest: int, field: str, name: str) -> str:
    """`value` without the space around it. Raises UserError that names the field where it is too long."""
    text = value.replace("\r\n", "\n").replace("\0", "").strip()
    if len(text) > longest:
        counts = {"name": name, "longest": longest, "length": len(text)}
        message = _("%(name)s has at most %(longest)d characters; this one has %(length)d.") % counts
        raise UserError(message, field=field)
    return text
