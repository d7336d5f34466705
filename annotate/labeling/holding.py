"""Responses that tell who wrote them: looked at by an admin, served or left out, and held back until then.

What is held back has no slot that anybody could draw: the queue needs to know nothing about it.
"""

from collections.abc import Iterable

from django.db import transaction
from django.db.models import F, Q, QuerySet
from django.utils.translation import gettext as _

from annotate import access
from annotate.errors import UserError
from annotate.labeling.comparisons import is_held_back, look_for_leaks, set_judgments_wanted
from annotate.labeling.locks import lock_project
from annotate.models import Comparison, GoldQuestion, Project, Response, Slot

# Responses that are looked at in one transaction.
CHUNK = 1000
# Responses that one request looks through: a second or two.
AT_ONCE = 20_000

FOUND, SERVED, LEFT_OUT = Response.LeakState.FOUND, Response.LeakState.SERVED, Response.LeakState.LEFT_OUT


def leaks_of(project: Project) -> QuerySet[Response]:
    """The responses in which something was found and that are still to be looked at, the oldest first."""
    # The condition of the index `response_leaks` word for word: SQLite does not see that FOUND implies it.
    found = Response.objects.filter(~Q(leak_state=""), leak_state=FOUND)
    return found.filter(prompt__project=project).order_by("pk")


def unchecked(project: Project) -> QuerySet[Response]:
    """The responses that nobody has looked for leaks in: they were stored before texts were checked."""
    # The sum keeps planners from reading all prompts of the project instead of the few responses.
    return Response.objects.annotate(of=F("prompt__project") + 0).filter(of=project.pk, leaks_checked_at=None)


def check_stored(project: Project, *, most: int | None = None, user=None) -> int:
    """Looks for leaks in what is unchecked, at most in `most` responses; returns how many that tell were not known.

    What is found waits for an admin like what comes in, and is held back where the project does so. It may be stopped
    at any moment and called again. `user` None is the machine's own administrator.
    """
    if user is not None:
        access.require(user, project, access.Role.ADMIN)
    left, found = float("inf") if most is None else most, 0
    while left > 0:
        with transaction.atomic():
            lock_project(project)
            rows = list(unchecked(project).select_related("model").order_by("pk")[: int(min(CHUNK, left))])
            before = {row.pk: row.leak_state for row in rows}
            for row in rows:
                look_for_leaks(row)
            Response.objects.bulk_update(rows, ["leaks", "leak_state", "leaks_checked_at"], batch_size=200)
            changed = [row for row in rows if row.leak_state != before[row.pk]]
            if project.hold_leaks and changed:
                _settle(project, _comparisons_of(project, [row.pk for row in changed]))
        found += sum(row.leak_state == FOUND for row in changed)
        left -= len(rows)
        if len(rows) < CHUNK:
            break
    return found


@transaction.atomic
def review_leak(project: Project, pk: int, state: str, *, user) -> Response:
    """An admin looked at response `pk`: it may be served as it is, or is left out of every comparison from now on.

    Raises UserError for another state than these two, or a response of another project.
    """
    access.require(user, project, access.Role.ADMIN)
    lock_project(project)
    if state not in {SERVED, LEFT_OUT}:
        raise UserError(_("A response is either served or left out."), field="state")
    response = Response.objects.filter(pk=pk, prompt__project=project).exclude(leak_state="").first()
    if response is None:
        raise UserError(_("This response is not in this project, or tells nothing."), field="response")
    response.leak_state = state
    response.save(update_fields=["leak_state"])
    _settle(project, _comparisons_of(project, [response.pk]))
    return response


@transaction.atomic
def set_hold(project: Project, hold: bool, *, user) -> None:
    """Whether responses in which something was found wait for an admin; it holds for those that are there as well."""
    access.require(user, project, access.Role.ADMIN)
    lock_project(project)
    project.hold_leaks = hold
    project.save(update_fields=["hold_leaks"])
    _settle(project, _comparisons_of(project, leaks_of(project).values("pk")))


def _comparisons_of(project: Project, responses) -> QuerySet[Comparison]:
    concerned = Q(first__in=responses) | Q(second__in=responses) | Q(candidates__response__in=responses)
    handed_out = Q(judgments_wanted__gt=0) | Q(gold__active=True)
    return Comparison.objects.filter(concerned, handed_out, project=project).distinct()


def _settle(project: Project, comparisons: Iterable[Comparison]) -> None:
    """Unused slots are set apart where a comparison is held back, and come back where it is not.

    A gold question that is held back is taken out of service, and stays so until an admin takes it back.
    """
    for comparison in comparisons:
        if is_held_back(project, comparison.responses):
            Slot.objects.filter(comparison=comparison, free_from__isnull=False).update(apart=True)
            GoldQuestion.objects.filter(comparison=comparison).update(active=False)
        elif comparison.judgments_wanted:
            set_judgments_wanted(comparison, comparison.judgments_wanted)
