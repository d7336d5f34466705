"""The ranks of slots: made anew when a comparison is judged and when the project's policy changes."""

import itertools
from collections import defaultdict
from collections.abc import Sequence
from functools import partial
from operator import itemgetter

from django.db import connection, transaction
from django.db.models import Count, F, Q

from annotate.labeling.comparisons import batches
from annotate.labeling.counters import forget_looked_through
from annotate.labeling.locks import lock_project
from annotate.labeling.policies import RANKS, Known
from annotate.models import Assessment, Comparison, Project, Slot
from annotate.models.judgment import by_people
from annotate.models.project import QueuePolicy

# New ranks in one statement; and, when the policy changes, comparisons in one transaction: a moment's work.
TOGETHER = 500
# Under these a judgment changes the order.
_MOVED_BY_JUDGMENTS = {QueuePolicy.BREADTH, QueuePolicy.UNCERTAINTY}


def judged(project: Project, comparison: Comparison) -> None:
    """After a judgment: the comparison's other slots take their new place. Call it in the judgment's transaction."""
    if project.queue_policy in _MOVED_BY_JUDGMENTS and comparison.judgments_wanted > 1:
        _rank(project, [comparison.pk])


def reorder(project: Project) -> None:
    """After a change of policy: every slot that is not used up takes its new place.

    A part after the other, each by the policy of that moment: nobody who wants a pair waits for all of them.
    """
    waiting = Slot.objects.filter(project=project, free_from__isnull=False)
    if project.queue_policy == QueuePolicy.OLDEST:
        waiting = waiting.exclude(rank=0)
    comparisons = waiting.order_by("comparison_id").values_list("comparison_id", flat=True).distinct()
    for batch in batches(comparisons, TOGETHER):
        with transaction.atomic():
            lock_project(project)
            _rank(project, batch, wait=True)
    transaction.on_commit(partial(forget_looked_through, project))


def known_of(comparisons: Sequence[int]) -> dict[int, Known]:
    """What is known about each comparison, by its primary key."""
    people = by_people("judgments__")
    rows = (
        Comparison.objects.filter(pk__in=comparisons)
        .order_by()
        .values_list("pk", "kind", "round__number", "uncertainty")
        .annotate(
            for_first=Count("judgments", filter=Q(judgments__winner=F("first")) & people),
            for_second=Count("judgments", filter=Q(judgments__winner=F("second")) & people),
            for_neither=Count("judgments", filter=Q(judgments__winner__isnull=True) & people),
        )
    )
    rows = list(rows)
    ranked = _ranked([pk for pk, kind, *_, judged in rows if kind == Comparison.Kind.RANKING and judged])
    return {
        pk: Known(first, second, equal, round=number or 0, uncertainty=uncertainty, ranked=ranked.get(pk, ()))
        for pk, _kind, number, uncertainty, first, second, equal in rows
    }


def _ranked(rankings: Sequence[int]) -> dict[int, tuple[tuple[float, float, float], ...]]:
    """Of each ranking the votes on every two of its responses, as `Known.ranked` has them."""
    if not rankings:
        return {}
    given = (
        Assessment.objects.filter(by_people("judgment__"), judgment__comparison__in=rankings, rank__isnull=False)
        .order_by("judgment", "response")
        .values_list("judgment__comparison", "judgment", "response", "rank")
    )
    votes = defaultdict(lambda: defaultdict(lambda: [0, 0, 0]))
    for (ranking, _judgment), rows in itertools.groupby(given, key=itemgetter(0, 1)):
        for (*_, one, rank), (*_, other, other_rank) in itertools.combinations(rows, 2):
            votes[ranking][one, other][0 if rank < other_rank else 1 if rank > other_rank else 2] += 1
    return {ranking: tuple(map(tuple, pairs.values())) for ranking, pairs in votes.items()}


def _rank(project: Project, comparisons: Sequence[int], *, wait: bool = False) -> None:
    """A slot that somebody is just taking or using up is waited for, or left alone: a person who holds one slot waits
    for no other.
    """
    rank = RANKS[project.queue_policy]
    ranks = [(pk, rank(known)) for pk, known in known_of(comparisons).items()]
    for part in batches(ranks, TOGETHER):
        _store(part, wait)


def _store(ranks: list[tuple[int, float]], wait: bool) -> None:
    """One statement for all of them, for they may be as many different ranks as comparisons."""
    cases, places = " ".join(["WHEN %s THEN %s"] * len(ranks)), ", ".join(["%s"] * len(ranks))
    unused = f"comparison_id IN ({places}) AND free_from IS NOT NULL"
    if connection.features.has_select_for_update_skip_locked and not wait:
        unused = f"id IN (SELECT id FROM annotate_slot WHERE {unused} FOR NO KEY UPDATE SKIP LOCKED)"
    values = [*itertools.chain.from_iterable(ranks), *(comparison for comparison, _rank in ranks)]
    with connection.cursor() as cursor:
        cursor.execute(f"UPDATE annotate_slot SET rank = CASE comparison_id {cases} END WHERE {unused}", values)
