"""How far a person and the project have come: what the labeling page's progress line and its empty state show."""

from dataclasses import dataclass
from datetime import datetime

from django.db import connection
from django.db.models import Exists, F, OuterRef, Q, QuerySet
from django.utils import timezone

from annotate.models import Judgment, Project, Skip, Slot


@dataclass(frozen=True)
class QueueState:
    """Comparisons that one person judged and skipped; of the project, judgments wanted, and how many of them are there.

    `total_done` never passes `total_wanted`: extra and imported judgments use up no slot.
    """

    judged: int
    skipped: int
    total_wanted: int
    total_done: int


# On every page, and so written out: to build it from a queryset takes longer than to run it.
_TOTALS = """
SELECT SUM(CASE WHEN user_id = %(user)s THEN judged END), SUM(CASE WHEN user_id = %(user)s THEN skipped END),
    (SELECT wanted FROM annotate_projecttally WHERE project_id = %(project)s), SUM(filled)
FROM annotate_persontally WHERE project_id = %(project)s"""


def queue_state(project: Project, user) -> QueueState:
    """From the running totals, in one query whose cost grows with the number of the project's people alone."""
    with connection.cursor() as cursor:
        cursor.execute(_TOTALS, {"project": project.pk, "user": user.pk})
        return QueueState(*(int(number or 0) for number in cursor.fetchone()))


def reserved_by_others(project: Project, user, *, now: datetime | None = None) -> int:
    """Comparisons that others hold and `user` may still get. Grows with what is held at the moment, and no further."""
    now = now or timezone.now()
    # Of all that is held anywhere, this project's: the sum keeps planners from reading all that is open in it.
    held = Slot.objects.annotate(of=F("project_id") + 0).filter(of=project.pk, apart=False, free_from__gt=now)
    held = held.exclude(holder=user)
    return for_person(held, user).values("comparison").distinct().count()


def open_for(project: Project, user, *, now: datetime | None = None) -> int:
    """Comparisons that `user` holds or could get now, counted one by one: for reports, not for every page."""
    now = now or timezone.now()
    open_now = Slot.objects.filter(Q(free_from__lte=now) | Q(holder=user), project=project, apart=False)
    return for_person(open_now.filter(free_from__isnull=False), user).values("comparison").distinct().count()


def for_person(slots: QuerySet[Slot], user) -> QuerySet[Slot]:
    """Those of `slots` whose comparison `user` has neither judged nor skipped."""
    same = Q(comparison=OuterRef("comparison"), annotator=user)
    return slots.filter(~Exists(Judgment.objects.filter(same)), ~Exists(Skip.objects.filter(same)))
