"""Whether a person may get the next item now, and if not, why: the sentence that their labeling page shows."""

from dataclasses import dataclass

from django.db.models import QuerySet
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from annotate.errors import UserError
from annotate.models import Membership, Project

OPEN, QUALIFYING, PAUSED, GUIDELINES_CHANGED = "open", "qualifying", "paused", "guidelines_changed"

_PAUSES = {
    Membership.Pause.TEST: _(
        "Thank you for taking the test. This time it did not reach the mark, which happens to careful people too. "
        "Your answers and the explanations are under “My progress”; an admin of the project can give you another try."
    ),
    Membership.Pause.GOLD: _(
        "Some of your last answers differ from ones that are known, so we paused here to look at them together. "
        "Nothing you judged is lost. Please read the guidelines again; an admin has been told and will be in touch."
    ),
    Membership.Pause.HURRY: _(
        "Your last judgments came faster than most people can read both responses, so we paused here. "
        "Nothing that you judged is lost. An admin has been told and will be in touch."
    ),
    Membership.Pause.ADMIN: _("An admin of this project has paused your queue. Nothing that you judged is lost."),
}
_QUALIFYING = _("These first pairs are a short test. Afterwards you see for each of them what was expected, and why.")
_GUIDELINES_CHANGED = _("The guidelines have changed. Please read what is new before you go on.")
# What is no comparison has no page of its own for these.
_UNDER_COMPARE = {
    GUIDELINES_CHANGED: _("The guidelines have changed. Please read what is new under “Compare” before you go on."),
    QUALIFYING: _("A short test comes first. Please take it under “Compare”."),
}


@dataclass(frozen=True)
class Standing:
    """`state`: OPEN gets any item, QUALIFYING only those of the test, PAUSED and GUIDELINES_CHANGED none."""

    state: str
    message: str | Promise = ""

    @property
    def is_held_up(self) -> bool:
        return self.state in {PAUSED, GUIDELINES_CHANGED}


_OPEN = Standing(OPEN)


def standing(project: Project, user) -> Standing:
    """Where `user` stands in `project`, in one query."""
    return standing_of(project, project.memberships.filter(user=user).first())


def require_open(project: Project, user) -> None:
    """Raises UserError with the explanation where the person is held up: for work that is no comparison."""
    found = standing(project, user)
    if found.state != OPEN:
        raise UserError(str(_UNDER_COMPARE.get(found.state, found.message)))


def standing_of(project: Project, membership: Membership | None) -> Standing:
    """The same of a membership that is loaded, without a query. Only annotators are ever held up: an admin who judges,
    and staff without any membership, could lift whatever stops them.
    """
    if membership is None or membership.role != Membership.Role.ANNOTATOR:
        return _OPEN
    if membership.paused_at:
        return Standing(PAUSED, membership.pause_note or _PAUSES[Membership.Pause(membership.pause_reason)])
    if must_acknowledge(project, membership):
        return Standing(GUIDELINES_CHANGED, _GUIDELINES_CHANGED)
    if project.qualification_pass is not None and membership.qualified_at is None:
        return Standing(QUALIFYING, _QUALIFYING)
    return _OPEN


def waiting_to_hear(project: Project) -> QuerySet[Membership]:
    """Whom their answers have paused, and whom no admin has let go on yet."""
    return project.memberships.filter(paused_at__isnull=False).exclude(pause_reason=Membership.Pause.ADMIN)


def must_acknowledge(project: Project, membership: Membership) -> bool:
    """Whether the guidelines changed since this person acknowledged them; versions of a project have rising ids."""
    if not project.must_acknowledge_guidelines or project.must_read_id is None:
        return False
    return (membership.acknowledged_id or 0) < project.must_read_id
