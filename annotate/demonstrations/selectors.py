"""What the pages of demonstrations show: counts, one's own, and those that wait for review."""

from dataclasses import dataclass

from django.db.models import Count, OuterRef, Q, QuerySet, Subquery

from annotate.models import Demonstration, DemonstrationVersion, Project

Action, State = DemonstrationVersion.Action, Demonstration.State


@dataclass(frozen=True)
class WritingState:
    """Counts of one person's demonstrations by state, and of all that wait in the project for review by them."""

    submitted: int
    returned: int
    accepted: int
    to_review: int

    @property
    def written(self) -> int:
        return self.submitted + self.returned + self.accepted


def writing_state(project: Project, user) -> WritingState:
    """In one query."""
    of_project = Demonstration.objects.filter(prompt__project=project)
    counts = {state.value: Count("pk", filter=Q(author=user, state=state)) for state in State}
    waiting = Count("pk", filter=Q(state=State.SUBMITTED) & ~Q(author=user))
    return WritingState(**of_project.aggregate(**counts, to_review=waiting))


def written_by(project: Project, user) -> QuerySet[Demonstration]:
    """Newest first, each with the `comment` of its last review."""
    decisions = (Action.RETURNED, Action.ACCEPTED, Action.EDITED)
    last = DemonstrationVersion.objects.filter(demonstration=OuterRef("pk"), action__in=decisions)
    return (
        Demonstration.objects.filter(prompt__project=project, author=user)
        .select_related("prompt", "writing")
        .annotate(comment=Subquery(last.order_by("-revision").values("comment")[:1]))
        .order_by("-id")
    )


def written_in(project: Project, state: str) -> QuerySet[Demonstration]:
    """Those that people wrote, in one state; what waits longest comes first, what is decided newest first."""
    rows = Demonstration.objects.filter(prompt__project=project, state=state, writing__isnull=False)
    rows = rows.select_related("prompt", "author", "reviewer", "writing")
    return rows.order_by("id" if state == State.SUBMITTED else "-id")
