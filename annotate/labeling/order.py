"""The ranks of slots: made anew when a comparison is judged and when the project's policy changes."""

import itertools
from collections.abc import Sequence

from django.db import connection, transaction
from django.db.models import Count, F, Q

from annotate.labeling.comparisons import batches
from annotate.labeling.counters import forget_looked_through
from annotate.labeling.policies import RANKS, Known
from annotate.models import Comparison, Project, Slot
from annotate.models.judgment import by_people
from annotate.models.project import QueuePolicy

# New ranks in one statement.
TOGETHER = 500
# Under these a judgment changes the order.
_MOVED_BY_JUDGMENTS = {QueuePolicy.BREADTH, QueuePolicy.UNCERTAINTY}


def judged(project: Project, comparison: Comparison) -> None:
    """After a judgment: the comparison's other slots take their new place. Call it in the judgment's transaction."""
    if project.queue_policy in _MOVED_BY_JUDGMENTS and comparison.judgments_wanted > 1:
        _rank(project, [comparison.pk])


@transaction.atomic
def reorder(project: Project) -> None:
    """After a change of policy: every slot that is not used up takes its new place."""
    if project.queue_policy == QueuePolicy.OLDEST:
        Slot.objects.filter(project=project, free_from__isnull=False).exclude(rank=0).update(rank=0)
    else:
        waiting = Comparison.objects.filter(project=project, slots__free_from__isnull=False, slots__apart=False)
        for batch in batches(waiting.distinct().order_by("pk").values_list("pk", flat=True)):
            _rank(project, batch)
    forget_looked_through(project)


def known_of(comparisons: Sequence[int]) -> dict[int, Known]:
    """What is known about each comparison, by its primary key."""
    people = by_people("judgments__")
    rows = (
        Comparison.objects.filter(pk__in=comparisons)
        .order_by()
        .values_list("pk", "round__number", "uncertainty")
        .annotate(
            for_first=Count("judgments", filter=Q(judgments__winner=F("first")) & people),
            for_second=Count("judgments", filter=Q(judgments__winner=F("second")) & people),
            for_neither=Count("judgments", filter=Q(judgments__winner__isnull=True) & people),
        )
    )
    return {
        pk: Known(first, second, equal, round=number or 0, uncertainty=uncertainty)
        for pk, number, uncertainty, first, second, equal in rows
    }


def _rank(project: Project, comparisons: Sequence[int]) -> None:
    rank = RANKS[project.queue_policy]
    ranks = [(pk, rank(known)) for pk, known in known_of(comparisons).items()]
    for start in range(0, len(ranks), TOGETHER):
        _store(ranks[start : start + TOGETHER])


def _store(ranks: list[tuple[int, float]]) -> None:
    """One statement for all of them, for they may be as many different ranks as comparisons."""
    cases, places = " ".join(["WHEN %s THEN %s"] * len(ranks)), ", ".join(["%s"] * len(ranks))
    unused = f"comparison_id IN ({places}) AND free_from IS NOT NULL"
    if connection.features.has_select_for_update_skip_locked:
        # A slot that somebody is just taking or using up is left alone, so that no two wait for each other.
        unused = f"id IN (SELECT id FROM annotate_slot WHERE {unused} FOR NO KEY UPDATE SKIP LOCKED)"
    values = [*itertools.chain.from_iterable(ranks), *(comparison for comparison, _rank in ranks)]
    with connection.cursor() as cursor:
        cursor.execute(f"UPDATE annotate_slot SET rank = CASE comparison_id {cases} END WHERE {unused}", values)
