"""How far a person and the project have come: what the labeling page's progress line and its empty state show."""

from dataclasses import dataclass
from datetime import datetime

from django.db.models import Count, Q
from django.utils import timezone

from annotate.labeling.queue import for_person
from annotate.models import Judgment, Project, Skip, Slot


@dataclass(frozen=True)
class QueueState:
    """Counts of comparisons from one person's side (the first four), and of the project's slots (the last two).

    `open_for_me` includes what is reserved for this person; `reserved_by_others` may become free for them.
    `total_done` never passes `total_wanted`: extra and imported judgments use up no slot.
    """

    judged: int
    skipped: int
    open_for_me: int
    reserved_by_others: int
    total_wanted: int
    total_done: int


def queue_state(project: Project, user, *, now: datetime | None = None) -> QueueState:
    """In four queries."""
    now = now or timezone.now()
    slots = Slot.objects.filter(project=project)
    totals = slots.aggregate(wanted=Count("id"), done=Count("id", filter=Q(free_from__isnull=True)))
    mine_or_free = Q(free_from__lte=now) | Q(holder=user)
    left = for_person(slots.filter(free_from__isnull=False), user).aggregate(
        all=Count("comparison", distinct=True),
        open=Count("comparison", distinct=True, filter=mine_or_free),
    )
    return QueueState(
        judged=Judgment.objects.filter(annotator=user, comparison__project=project).count(),
        skipped=Skip.objects.filter(annotator=user, comparison__project=project).count(),
        open_for_me=left["open"],
        reserved_by_others=left["all"] - left["open"],
        total_wanted=totals["wanted"],
        total_done=totals["done"],
    )
