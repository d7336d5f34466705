"""Review of demonstrations by somebody else than their author: accept, return with a comment, edit and accept.

A state changes by one conditional UPDATE on state and revision, so of two reviewers at once one decides, and nobody
decides on a text that changed under their hands. Every text and every decision stays in the history.
"""

from datetime import datetime

from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.utils import timezone
from django.utils.translation import gettext as _

from annotate import access
from annotate.demonstrations.writing import checked_text
from annotate.errors import UserError
from annotate.labeling.locks import lock_annotator
from annotate.models import Demonstration, DemonstrationVersion
from annotate.models.comparison import text_digest

LONGEST_COMMENT = 5000
Action, State = DemonstrationVersion.Action, Demonstration.State


@transaction.atomic
def accept(
    demonstration: Demonstration, user, *, revision: int, text: str | None = None, comment: str = "",
    now: datetime | None = None,
) -> Demonstration:  # fmt: skip
    """From now on it is trained on, with `text` in place of the author's where one is given."""
    _require_review(demonstration, user)
    text = demonstration.completion if text is None else checked_text(text)
    action = Action.ACCEPTED if text == demonstration.completion else Action.EDITED
    return _decide(demonstration, user, State.ACCEPTED, action, revision, text, _comment(comment), now)


@transaction.atomic
def return_to_author(
    demonstration: Demonstration, user, *, revision: int, comment: str, now: datetime | None = None
) -> Demonstration:
    """The author sees the comment and may revise the text. Raises UserError without a comment."""
    _require_review(demonstration, user)
    comment = _comment(comment)
    if not comment:
        raise UserError(_("Please say what is to be changed."), field="comment")
    text = demonstration.completion
    return _decide(demonstration, user, State.RETURNED, Action.RETURNED, revision, text, comment, now)


@transaction.atomic
def revise(
    demonstration: Demonstration, user, completion: str, *, revision: int, now: datetime | None = None
) -> Demonstration:
    """The author's new text for a returned demonstration, which waits for review again."""
    if demonstration.author_id != user.pk:
        raise PermissionDenied("Only its author revises a demonstration.")
    lock_annotator(user, demonstration.prompt.project)
    entry = DemonstrationVersion(action=Action.REVISED, text=checked_text(completion), by=user, revision=revision + 1)
    return _move(demonstration, entry, State.RETURNED, State.SUBMITTED, None, now)


def _decide(demonstration, user, state, action, revision, text, comment, now) -> Demonstration:
    entry = DemonstrationVersion(action=action, text=text, comment=comment, by=user, revision=revision + 1)
    return _move(demonstration, entry, State.SUBMITTED, state, user, now)


def _move(
    demonstration: Demonstration, entry: DemonstrationVersion, before: str, after: str, reviewer, now: datetime | None
) -> Demonstration:
    """To the state `after`, if the row still is what its reader saw; the same decision sent twice is made once."""
    seen = Demonstration.objects.filter(pk=demonstration.pk, state=before, revision=entry.revision - 1)
    moved = seen.update(
        state=after, reviewer=reviewer, completion=entry.text, digest=text_digest(entry.text), revision=entry.revision
    )
    if moved:
        entry.demonstration, entry.created_at = demonstration, now or timezone.now()
        entry.save()
    elif not demonstration.versions.filter(
        revision=entry.revision, action=entry.action, text=entry.text, comment=entry.comment, by=entry.by
    ).exists():
        raise UserError(_("This demonstration has changed meanwhile. Please read it again."), field="revision")
    demonstration.refresh_from_db()
    return demonstration


def _require_review(demonstration: Demonstration, user) -> None:
    access.require(user, demonstration.prompt.project, access.REVIEWER)
    if demonstration.author_id == user.pk:
        raise UserError(_("Somebody else has to review what you have written."))


def _comment(comment: str) -> str:
    comment = comment.replace("\r\n", "\n").replace("\0", "").strip()
    if len(comment) > LONGEST_COMMENT:
        raise UserError(_("A comment has at most 5,000 characters."), field="comment")
    return comment
