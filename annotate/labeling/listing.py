"""The project's comparisons as its admins list them: how many people each wants, and how many have judged it."""

import json
from collections.abc import Callable
from functools import cache as cached
from functools import reduce
from operator import or_

from django.db.models import Count, IntegerField, OuterRef, Q, QuerySet, Subquery
from django.db.models.functions import Coalesce

from annotate.models import Comparison, GoldQuestion, Judgment, Project, Prompt, Slot
from annotate.models.judgment import by_people

ALL, OPEN, DIFFERENT = "all", "open", "different"


class Listed:
    """What was asked for, the newest first, with a length and slices as a paginator wants them.

    Each row has `judged`, the number of people's judgments. Which rows are on a page is found by their keys alone, and
    from the nearer end, so the last page costs what the first does.
    """

    def __init__(self, asked_for: QuerySet[Comparison], count: Callable[[], int] | None = None):
        """`count`: a quicker way to count them than one by one."""
        self._asked_for = asked_for.order_by()
        self._counted = cached(count or self._asked_for.count)

    def __len__(self) -> int:
        return self._counted()

    def count(self) -> int:
        return len(self)

    def __getitem__(self, part: slice) -> list[Comparison]:
        start, stop, _step = part.indices(len(self))
        return list(in_full(Comparison.objects.filter(pk__in=self._keys(start, stop))))

    def _keys(self, start: int, stop: int) -> list[int]:
        keys = self._asked_for.values_list("pk", flat=True)
        if start < len(self) - stop:
            return list(keys.order_by("-pk")[start:stop])
        return list(keys.order_by("pk")[len(self) - stop : len(self) - start])


class Searched(Listed):
    """Where every prompt is read to find them: once, and all keys are kept."""

    def __init__(self, asked_for: QuerySet[Comparison]):
        self._found = cached(lambda: list(asked_for.order_by("-pk").values_list("pk", flat=True)))
        super().__init__(asked_for, lambda: len(self._found()))

    def _keys(self, start: int, stop: int) -> list[int]:
        return self._found()[start:stop]


def listed(project: Project, *, shown: str = ALL, containing: str = "") -> Listed:
    """`shown`: ALL, those with an OPEN place, or those that want a DIFFERENT number than the project does (imported
    votes and chats want none). `containing` is looked for in the prompt. Gold questions want no number.
    """
    rows = without_gold(project)
    if shown == OPEN:
        open_slots = Slot.objects.filter(project=project, free_from__isnull=False, apart=False)
        rows = rows.filter(pk__in=open_slots.values("comparison"))
    elif shown == DIFFERENT:
        rows = rows.exclude(judgments_wanted__in=[0, project.judgments_wanted])
    if containing:
        return Searched(rows.filter(prompt__in=_prompts(project, containing).values("pk")))
    if shown == ALL:
        return Listed(rows, lambda: project.comparisons.count() - _gold(project).count())
    return Listed(rows)


def without_gold(project: Project) -> QuerySet[Comparison]:
    """All that are no gold question, of which there are few: looked up once, not once a comparison."""
    return Comparison.objects.filter(project=project).exclude(pk__in=_gold(project).values("comparison"))


def _gold(project: Project) -> QuerySet[GoldQuestion]:
    return GoldQuestion.objects.filter(comparison__project=project)


def _prompts(project: Project, containing: str) -> QuerySet[Prompt]:
    """Each prompt is read once, however many comparisons are of it."""
    # One database keeps JSON as text with escapes, the other one as characters.
    ways = {containing, json.dumps(containing)[1:-1]}
    found = reduce(or_, (Q(messages__icontains=way) for way in sorted(ways)))
    return Prompt.objects.filter(found, project=project)


def in_full(rows: QuerySet[Comparison]) -> QuerySet[Comparison]:
    """`rows` as they are shown, the newest first."""
    judged = Judgment.objects.filter(by_people(), comparison=OuterRef("pk")).order_by()
    number = judged.values("comparison").annotate(number=Count("pk")).values("number")
    return (
        rows.annotate(judged=Coalesce(Subquery(number), 0, output_field=IntegerField()))
        .select_related("prompt", "project")
        .order_by("-id")
    )
