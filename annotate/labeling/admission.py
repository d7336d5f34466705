"""What lets people on: acknowledging changed guidelines, pausing a person, lifting the pause, passing the test."""

from datetime import datetime

from django.db import transaction
from django.utils import timezone
from django.utils.translation import gettext as _

from annotate import access
from annotate.errors import UserError
from annotate.models import Membership, Project, User

Pause = Membership.Pause
LONGEST_NOTE = 1000


def acknowledge_guidelines(project: Project, user, number: int) -> None:
    """`user` has read version `number`. Never moves back, so an old page sent late undoes nothing. Raises UserError."""
    access.require(user, project, access.Role.ANNOTATOR)
    version = project.guideline_versions.filter(number=number).first()
    if version is None:
        raise UserError(_("There is no version %(number)s of the guidelines.") % {"number": number}, field="number")
    mine = project.memberships.filter(user=user)
    mine.filter(acknowledged__isnull=True).update(acknowledged=version)
    mine.filter(acknowledged__lt=version.pk).update(acknowledged=version)


def pause(project: Project, person: User, *, user, note: str = "", now: datetime | None = None) -> None:
    """An admin takes a person's queue away for now; `note` is what they read on their page. Twice changes the note."""
    access.require(user, project, access.Role.ADMIN)
    note = note.strip()
    if len(note) > LONGEST_NOTE:
        raise UserError(_("A note has at most %(most)s characters.") % {"most": LONGEST_NOTE}, field="note")
    _annotator(project, person)
    mine = project.memberships.filter(user=person)
    mine.update(paused_at=now or timezone.now(), pause_reason=Pause.ADMIN, pause_note=note)


def pause_for(membership: Membership, reason: str, now: datetime) -> bool:
    """Pauses who crossed a threshold; False where they are paused already. One UPDATE, so twice is once."""
    waiting = Membership.objects.filter(pk=membership.pk, paused_at__isnull=True)
    return bool(waiting.update(paused_at=now, pause_reason=reason, pause_note=""))


@transaction.atomic
def lift_pause(project: Project, person: User, *, user, now: datetime | None = None) -> None:
    """An admin lets a paused person go on. What they answered before no longer counts towards a threshold; after a test
    that they did not pass it is another try. Raises UserError where they are not paused.
    """
    access.require(user, project, access.Role.ADMIN)
    _annotator(project, person)
    paused = project.memberships.filter(user=person, paused_at__isnull=False)
    if not paused.update(paused_at=None, pause_reason="", pause_note="", counted_since=now or timezone.now()):
        raise UserError(_("%(name)s is not paused.") % {"name": person.username}, field="username")


@transaction.atomic
def qualify(project: Project, person: User, *, user, now: datetime | None = None) -> None:
    """An admin opens the project to a person without the test, or although they did not pass it."""
    access.require(user, project, access.Role.ADMIN)
    _annotator(project, person)
    now = now or timezone.now()
    mine = project.memberships.filter(user=person)
    mine.update(qualified_at=now)
    mine.filter(pause_reason=Pause.TEST).update(paused_at=None, pause_reason="", counted_since=now)


def _annotator(project: Project, person: User) -> Membership:
    membership = project.memberships.filter(user=person).first()
    if membership is None or membership.role != Membership.Role.ANNOTATOR:
        raise UserError(
            _("%(name)s is no annotator of this project.") % {"name": person.username}, field="username"
        )
    return membership
