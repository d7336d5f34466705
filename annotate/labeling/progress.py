"""How far a person and the project have come, from running totals: what the home page and the labeling page show."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime

from django.db import connection
from django.db.models import Exists, F, OuterRef, Q, QuerySet, Sum
from django.utils import timezone

from annotate.models import Judgment, PersonTally, Project, ProjectTally, Skip, Slot
from annotate.models.judgment import by_people
from annotate.prepared import planned_cursor


@dataclass(frozen=True)
class QueueState:
    """Comparisons that one person judged and skipped; of the project, judgments wanted, and how many of them are there.

    For that person's eyes: a judgment of theirs that filled no slot is in `total_done` all the same, for a total that
    stands still after one answer would tell them that it was a gold question. It passes `total_wanted` never and
    reaches it only when all is done. `project_totals` has the exact numbers.
    """

    judged: int
    skipped: int
    total_wanted: int
    total_done: int


# On every page, and so written out: to build it from a queryset takes longer than to run it.
_TOTALS = """
SELECT SUM(CASE WHEN user_id = %(user)s THEN judged END), SUM(CASE WHEN user_id = %(user)s THEN skipped END),
    (SELECT wanted FROM annotate_projecttally WHERE project_id = %(project)s), SUM(filled),
    SUM(CASE WHEN user_id = %(user)s THEN judged - filled END)
FROM annotate_persontally WHERE project_id = %(project)s"""


def queue_state(project: Project, user) -> QueueState:
    """From the running totals, in one query whose cost grows with the number of the project's people alone."""
    with planned_cursor(connection) as cursor:
        cursor.execute(_TOTALS, {"project": project.pk, "user": user.pk})
        return _state(*cursor.fetchone())


def queue_states(projects: Collection[Project], user) -> dict[int, QueueState]:
    """The same of several projects by their primary keys, in two queries."""
    of = {"project__in": projects}
    mine = Q(user=user)
    wanted = dict(ProjectTally.objects.filter(**of).values_list("project", "wanted"))
    rows = {
        row["project"]: row
        for row in PersonTally.objects.filter(**of).order_by().values("project").annotate(
            judged_here=Sum("judged", filter=mine), skipped_here=Sum("skipped", filter=mine), done=Sum("filled"),
            beside=Sum(F("judged") - F("filled"), filter=mine),
        )
    }  # fmt: skip
    return {
        project.pk: _state(
            *(rows.get(project.pk, {}).get(name) for name in ("judged_here", "skipped_here")),
            wanted.get(project.pk),
            *(rows.get(project.pk, {}).get(name) for name in ("done", "beside")),
        )
        for project in projects
    }


def project_totals(project: Project) -> tuple[int, int]:
    """Judgments wanted, and how many of them are there: exact, so for researchers and admins only."""
    tally = ProjectTally.objects.filter(project=project).values_list("wanted", flat=True).first()
    done = PersonTally.objects.filter(project=project).aggregate(done=Sum("filled"))["done"]
    return tally or 0, done or 0


def judgments_by_people(project: Project) -> int:
    """All of them, imported votes, ties and answers to gold questions too; none that a model made."""
    return PersonTally.objects.filter(by_people(of="user"), project=project).aggregate(n=Sum("judged"))["n"] or 0


def _state(judged, skipped, wanted, done, beside) -> QueueState:
    """`beside`: of what this person judged, what used up no slot."""
    judged, skipped, wanted, done, beside = (int(number or 0) for number in (judged, skipped, wanted, done, beside))
    seen = done if done >= wanted else min(done + max(0, beside), wanted - 1)
    return QueueState(judged, skipped, wanted, seen)


def reserved_by_others(project: Project, user, *, now: datetime | None = None) -> int:
    """Comparisons that others hold and `user` may still get. Grows with what is held at the moment, and no further."""
    now = now or timezone.now()
    # Of all that is held anywhere, this project's: the sum keeps planners from reading all that is open in it.
    held = Slot.objects.annotate(of=F("project_id") + 0).filter(of=project.pk, apart=False, free_from__gt=now)
    held = held.exclude(holder=user)
    return for_person(held, user).values("comparison").distinct().count()


def for_person(slots: QuerySet[Slot], user) -> QuerySet[Slot]:
    """Those of `slots` whose comparison `user` has neither judged nor skipped."""
    same = Q(comparison=OuterRef("comparison"), annotator=user)
    return slots.filter(~Exists(Judgment.objects.filter(same)), ~Exists(Skip.objects.filter(same)))
