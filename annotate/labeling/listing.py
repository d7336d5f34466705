"""The project's comparisons as its admins list them: how many people each wants, and how many have judged it."""

import json

from django.db.models import Count, IntegerField, OuterRef, Q, QuerySet, Subquery
from django.db.models.functions import Coalesce

from annotate.models import Comparison, Judgment, Project, Slot
from annotate.models.judgment import by_people

ALL, OPEN, DIFFERENT = "all", "open", "different"


def listed(project: Project, *, shown: str = ALL, containing: str = "") -> QuerySet[Comparison]:
    """The newest first, each with `judged`, the number of people's judgments; gold questions want no number.

    `shown`: ALL, those with an OPEN place, or those that want a DIFFERENT number than the project does (imported
    votes and chats want none). `containing` is looked for in the prompt.
    """
    judged = Judgment.objects.filter(by_people(), comparison=OuterRef("pk")).order_by()
    number = judged.values("comparison").annotate(number=Count("pk")).values("number")
    rows = Comparison.objects.filter(project=project, gold__isnull=True)
    if shown == OPEN:
        open_slots = Slot.objects.filter(project=project, free_from__isnull=False, apart=False)
        rows = rows.filter(pk__in=open_slots.values("comparison"))
    elif shown == DIFFERENT:
        rows = rows.exclude(judgments_wanted__in=[0, project.judgments_wanted])
    if containing:
        # One database keeps JSON as text with escapes, the other one as characters.
        escaped = json.dumps(containing)[1:-1]
        rows = rows.filter(Q(prompt__messages__icontains=containing) | Q(prompt__messages__icontains=escaped))
    return (
        rows.annotate(judged=Coalesce(Subquery(number), 0, output_field=IntegerField()))
        .select_related("prompt", "project")
        .order_by("-id")
    )
