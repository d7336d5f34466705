"""How far a project and each of its people have come: the database's side of throughput, cost and “my progress”."""

from collections import defaultdict
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from statistics import median

from django.db.models import Case, Count, F, FloatField, Q, Sum, Value, When
from django.db.models.functions import Coalesce, TruncDate
from django.utils import timezone

from annotate.labeling.progress import open_for, queue_state
from annotate.models import Judgment, Project, User
from annotate.models.judgment import by_people
from annotate.quality.gold import MATCHES, Record, gold_record
from annotate.quality.throughput import Projection, by_day, cost_per_judgment, project_end

# The days that the pages show.
DAYS = 28
# Where the page did not measure active time, a judgment counts with at most this much: who went to lunch did not judge.
MOST_SECONDS = 900.0
# An own agreement over fewer answers of others says nothing.
FEWEST_SHARED = 10
LAST = 100

_SPENT = Coalesce(
    "active_seconds",
    Case(When(seconds__gt=MOST_SECONDS, then=Value(MOST_SECONDS)), default=F("seconds"), output_field=FloatField()),
)


@dataclass(frozen=True)
class PersonProgress:
    """What one person judged, all in all and in the last DAYS days (`recent`); `seconds` is their median then."""

    name: str
    judgments: int
    recent: int
    seconds: float | None
    hours: float
    cost: float | None
    gold: Record


@dataclass(frozen=True)
class ProjectProgress:
    """`hours` and `cost` are of all judgments made here; `cost_each` is what one costs."""

    days: list[tuple[date, int]]
    judgments: int
    wanted: int
    done: int
    hours: float
    cost: float | None
    cost_each: float | None
    end: Projection | None
    people: list[PersonProgress]


@dataclass(frozen=True)
class OwnProgress:
    """`agreement` is the share of others' votes on the same pairs that are the same, over `shared` votes."""

    days: list[tuple[date, int]]
    judged: int
    skipped: int
    left: int
    today: int
    seconds: float | None
    agreement: float | None
    shared: int
    gold: Record | None


def project_progress(project: Project, user, *, now: datetime | None = None) -> ProjectProgress:
    """As `user`, an admin, sees it. In seven queries, none of which reads more than the last DAYS days row by row."""
    now = now or timezone.now()
    made = _made_here(project)
    counts = _per_day(made.filter(created_at__gte=now - timedelta(days=DAYS)))
    totals = made.aggregate(judgments=Count("pk"), seconds=Sum(_SPENT))
    state = queue_state(project, user)
    seconds = totals["seconds"] or 0.0
    each = cost_per_judgment(project.rate_per_hour, seconds, totals["judgments"])
    today = timezone.localdate(now)
    return ProjectProgress(
        days=by_day(counts, today, DAYS),
        judgments=totals["judgments"],
        wanted=state.total_wanted,
        done=state.total_done,
        hours=seconds / 3600,
        cost=None if each is None else each * totals["judgments"],
        cost_each=each,
        end=project_end(counts, state.total_wanted - state.total_done, today),
        people=_people(project, now),
    )


def own_progress(project: Project, user, *, now: datetime | None = None) -> OwnProgress:
    """What a person sees about themselves: never another person's name or vote."""
    now = now or timezone.now()
    mine = _made_here(project).filter(annotator=user)
    counts = _per_day(mine.filter(created_at__gte=now - timedelta(days=DAYS)))
    state = queue_state(project, user)
    last = mine.order_by("-created_at").values_list(Coalesce("active_seconds", "seconds"), flat=True)[:LAST]
    known = [seconds for seconds in last if seconds is not None]
    shared, same = _agreement(project, user)
    today = timezone.localdate(now)
    return OwnProgress(
        days=by_day(counts, today, DAYS),
        judged=state.judged,
        skipped=state.skipped,
        left=open_for(project, user, now=now),
        today=counts.get(today, 0),
        seconds=median(known) if known else None,
        agreement=same / shared if shared >= FEWEST_SHARED else None,
        shared=shared,
        gold=gold_record(project, user.pk) if project.show_gold_accuracy else None,
    )


def _made_here(project: Project):
    return Judgment.objects.filter(comparison__project=project, reservation__isnull=False)


def _per_day(judgments) -> dict[date, int]:
    rows = judgments.annotate(day=TruncDate("created_at")).order_by().values_list("day").annotate(count=Count("pk"))
    return dict(rows)


def _agreement(project: Project, user) -> tuple[int, int]:
    """How many votes others gave on the ordinary pairs that `user` judged, and how many of them are the same."""
    others = Judgment.objects.filter(
        by_people(), comparison__project=project, comparison__gold__isnull=True, rating__isnull=False,
        comparison__judgments__annotator=user, comparison__judgments__rating__isnull=False,
    ).exclude(annotator=user)  # fmt: skip
    mine = "comparison__judgments"
    same = Q(winner=F(f"{mine}__winner")) | Q(winner__isnull=True, rating=F(f"{mine}__rating"))
    found = others.aggregate(shared=Count("pk"), same=Count("pk", filter=same))
    return found["shared"], found["same"]


def _people(project: Project, now: datetime) -> list[PersonProgress]:
    """Who judged in the last DAYS days, the busiest first."""
    recent = defaultdict(list)
    rows = _made_here(project).filter(created_at__gte=now - timedelta(days=DAYS)).values_list("annotator", _SPENT)
    for annotator, seconds in rows.iterator():
        recent[annotator].append(seconds)
    totals = {
        row["annotator"]: row
        for row in _made_here(project).filter(annotator__in=recent).order_by().values("annotator")
        .annotate(judgments=Count("pk"), seconds=Sum(_SPENT))
    }  # fmt: skip
    as_gold = Q(comparison__gold__active=True, comparison__gold__purpose="gold")
    answered = {
        row["annotator"]: Record(row["matched"], row["answered"])
        for row in _made_here(project)
        .filter(as_gold, annotator__in=recent, created_at__gte=F("comparison__gold__created_at"))
        .order_by().values("annotator").annotate(matched=Count("pk", filter=MATCHES), answered=Count("pk"))
    }  # fmt: skip
    names = dict(User.objects.filter(pk__in=recent).values_list("pk", "username"))
    people = []
    for pk, times in recent.items():
        total, known = totals[pk], [seconds for seconds in times if seconds is not None]
        spent = total["seconds"] or 0.0
        each = cost_per_judgment(project.rate_per_hour, spent, total["judgments"])
        people.append(
            PersonProgress(
                name=names[pk], judgments=total["judgments"], recent=len(times),
                seconds=median(known) if known else None, hours=spent / 3600,
                cost=None if each is None else each * total["judgments"], gold=answered.get(pk, Record(0, 0)),
            )
        )  # fmt: skip
    return sorted(people, key=lambda person: (-person.recent, person.name))
