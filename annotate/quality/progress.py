"""How far a project and each of its people have come: the database's side of throughput, cost and “my progress”."""

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from statistics import median

from django.db.models import Q, QuerySet, Sum
from django.db.models.functions import Coalesce
from django.utils import timezone

from annotate.labeling.progress import project_totals, queue_state
from annotate.models import DayTally, Judgment, Project
from annotate.models.judgment import MADE_HERE, by_people, ordinary
from annotate.quality.gold import Record, gold_record, gold_records
from annotate.quality.throughput import Projection, by_day, cost_per_judgment, project_end

# The days that the pages show.
DAYS = 28
# An own agreement over fewer answers of others says nothing.
FEWEST_SHARED = 10
# How many of a person's last judgments tell their speed, and how many pairs their agreement with others.
LAST, LAST_PAIRS = 100, 500


@dataclass(frozen=True)
class PersonProgress:
    """What one person judged, all in all and in the last DAYS days (`recent`); `seconds` is the mean of these."""

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
    """`agreement` is the share of others' votes on the same last pairs that are the same, over `shared` votes; `left`
    are the judgments that the whole project still wants.

    Nothing here may tell which of the last answers met a gold question. So agreement and `gold` are those of before
    today, and `left` is of the state that this person is shown (labeling/progress.py).
    """

    days: list[tuple[date, int]]
    judged: int
    skipped: int
    left: int
    today: int
    seconds: float | None
    agreement: float | None
    shared: int
    gold: Record | None


def project_progress(project: Project, *, now: datetime | None = None) -> ProjectProgress:
    """In seven queries of running totals: whatever was judged, only people and days make it longer."""
    now = now or timezone.now()
    today = now.astimezone(UTC).date()
    made = DayTally.objects.filter(project=project).order_by()
    counts = dict(made.filter(day__gt=today - timedelta(days=DAYS)).values_list("day").annotate(n=Sum("judgments")))
    totals = made.aggregate(judgments=Sum("judgments", default=0), seconds=Sum("seconds", default=0.0))
    wanted, done = project_totals(project)
    each = cost_per_judgment(project.rate_per_hour, totals["seconds"], totals["judgments"])
    return ProjectProgress(
        days=by_day(counts, today, DAYS),
        judgments=totals["judgments"],
        wanted=wanted,
        done=done,
        hours=totals["seconds"] / 3600,
        cost=None if each is None else each * totals["judgments"],
        cost_each=each,
        end=project_end(counts, wanted - done, today),
        people=_people(project, today),
    )


def own_progress(project: Project, user, *, now: datetime | None = None) -> OwnProgress:
    """What a person sees about themselves: never another person's name or vote."""
    now = now or timezone.now()
    today = now.astimezone(UTC).date()
    midnight = datetime.combine(today, time(), UTC)
    mine = DayTally.objects.filter(project=project, user=user)
    counts = dict(mine.filter(day__gt=today - timedelta(days=DAYS)).values_list("day", "judgments"))
    state = queue_state(project, user)
    last = _made_here(project, user).values_list(Coalesce("active_seconds", "seconds"), flat=True)[:LAST]
    known = [seconds for seconds in last if seconds is not None]
    shared, same = _agreement(project, user, midnight)
    return OwnProgress(
        days=by_day(counts, today, DAYS),
        judged=state.judged,
        skipped=state.skipped,
        left=state.total_wanted - state.total_done,
        today=counts.get(today, 0),
        seconds=median(known) if known else None,
        agreement=same / shared if shared >= FEWEST_SHARED else None,
        shared=shared,
        gold=gold_record(project, user.pk, until=midnight) if project.show_gold_accuracy else None,
    )


def _made_here(project: Project, user) -> QuerySet[Judgment]:
    """The newest first."""
    made = Judgment.objects.filter(MADE_HERE, annotator=user, comparison__project=project)
    return made.order_by("-pk")


def _agreement(project: Project, user, until: datetime) -> tuple[int, int]:
    """How many votes others gave on the last ordinary pairs of `user`, and how many of them are the same."""
    mine = dict(
        _made_here(project, user)
        .filter(ordinary(), rating__isnull=False, created_at__lt=until)
        .values_list("comparison", "winner")[:LAST_PAIRS]
    )
    others = (
        Judgment.objects.filter(
            by_people(), ordinary(), comparison__in=list(mine), rating__isnull=False, created_at__lt=until
        )
        .exclude(annotator=user)
        .values_list("comparison", "winner")
    )
    same = [winner == mine[comparison] for comparison, winner in others]
    return len(same), sum(same)


def _people(project: Project, today: date) -> list[PersonProgress]:
    """Who judged in the last DAYS days, the busiest first."""
    lately = Q(day__gt=today - timedelta(days=DAYS))
    rows = (
        DayTally.objects.filter(project=project).order_by().values("user", "user__username")
        .annotate(
            made=Sum("judgments"), spent=Sum("seconds"), recent=Sum("judgments", filter=lately),
            spent_lately=Sum("seconds", filter=lately),
        )
        .filter(recent__gt=0)
    )  # fmt: skip
    records = gold_records(project)
    people = []
    for row in rows:
        each = cost_per_judgment(project.rate_per_hour, row["spent"], row["made"])
        people.append(
            PersonProgress(
                name=row["user__username"], judgments=row["made"], recent=row["recent"],
                seconds=row["spent_lately"] / row["recent"], hours=row["spent"] / 3600,
                cost=None if each is None else each * row["made"], gold=records.get(row["user"], Record(0, 0)),
            )
        )  # fmt: skip
    return sorted(people, key=lambda person: (-person.recent, person.name))
