"""Who writes which answer: a prompt of the pool with a place that is theirs for a lease, or a prompt of their own.

A place is held by a unique constraint, and taken from a lapsed writing by one conditional UPDATE whose row count
decides. A text is never thrown away: what is submitted after its place was taken becomes one demonstration more.
"""

import uuid
from datetime import datetime, timedelta

from django.db import IntegrityError, transaction
from django.db.models import QuerySet
from django.utils import timezone
from django.utils.translation import gettext as _

from annotate.errors import UserError
from annotate.labeling import attention
from annotate.labeling.comparisons import add_prompts
from annotate.labeling.locks import lock_annotator
from annotate.labeling.standing import refuse_paused
from annotate.models import Demonstration, DemonstrationVersion, Project, Prompt, Writing
from annotate.models.comparison import text_digest

LONGEST_TEXT = 50_000
# A place found free is gone at the INSERT only if somebody took it in between: then look again.
ATTEMPTS = 5

Action, State = DemonstrationVersion.Action, Demonstration.State


@transaction.atomic
def next_writing(project: Project, user, *, now: datetime | None = None) -> Writing | None:
    """The prompt that `user` answers next, reserved for them with its draft; None where none is left for them.

    What they have begun comes first. Of the others the prompt with the fewest answers does, then the oldest. Raises
    PermissionDenied if `user` may not label here, UserError where the project wants no demonstrations.
    """
    now = now or timezone.now()
    lock_annotator(user, project)
    _require_open(project, user)
    begun = Writing.objects.filter(project=project, writer=user, prompt__isnull=False, ended_at=None)
    for writing in begun.select_related("project", "prompt"):
        if _keep(writing, now) or writing.draft:
            return writing
        writing.delete()  # nothing written, and its place belongs to somebody else by now
    lapsed = Writing.objects.filter(project=project, place__isnull=False, ended_at=None, lease_until__lte=now)
    lapsed.update(place=None)
    for _attempt in range(ATTEMPTS):
        prompt = _open_prompts(project, user).first()
        if prompt is None:
            return None
        place = _free_place(prompt, now)
        if place >= _wanted(project, prompt.pk):
            continue  # its last place was taken between these two looks
        try:
            with transaction.atomic():
                return Writing.objects.create(
                    project=project, prompt=prompt, writer=user, place=place, lease_until=_lease_end(project, now),
                    started_at=now,
                )  # fmt: skip
        except IntegrityError:
            continue
    return None


@transaction.atomic
def own_writing(project: Project, user, *, now: datetime | None = None) -> Writing:
    """The prompt of their own that `user` is at, with what they have so far; a new one where there is none."""
    now = now or timezone.now()
    lock_annotator(user, project)
    _require_open(project, user)
    if not project.own_prompts:
        raise UserError(_("Prompts of one's own are not asked for in this project."))
    begun = Writing.objects.filter(project=project, writer=user, prompt=None, ended_at=None)
    return begun.select_related("project").first() or Writing.objects.create(
        project=project, writer=user, lease_until=_lease_end(project, now), started_at=now
    )


def writing_of(key: str | uuid.UUID, user) -> Writing:
    """The writing with this key. Raises UserError where `user` has none."""
    try:
        return Writing.objects.select_related("project", "prompt").get(key=uuid.UUID(str(key)), writer=user)
    except (ValueError, Writing.DoesNotExist):
        raise UserError(_("This prompt was not reserved for you."), field="key") from None


@transaction.atomic
def save_draft(
    user,
    key: str | uuid.UUID,
    draft: str,
    *,
    own_prompt: str = "",
    active_seconds: float | str | None = None,
    now: datetime | None = None,
) -> bool:
    """Keeps what is written so far and renews the lease. False if the place belongs to somebody else by now.

    After the submit nothing happens: a late draft must not bring an old text back.
    """
    now = now or timezone.now()
    writing = writing_of(key, user)
    lock_annotator(user, writing.project)
    draft, own_prompt = draft.replace("\0", ""), own_prompt.replace("\0", "")
    _check_length(draft, "completion")
    _check_length(own_prompt, "prompt")
    if Writing.objects.filter(pk=writing.pk, ended_at=None).update(draft=draft, own_prompt=own_prompt):
        attention.credit(writing, writing.started_at, active_seconds, now)
    return writing.prompt_id is None or _keep(writing, now)


@transaction.atomic
def skip_writing(user, key: str | uuid.UUID, *, now: datetime | None = None) -> None:
    """Somebody else may answer this prompt; `user` is not offered it again. Sent twice it is done once."""
    writing = writing_of(key, user)
    lock_annotator(user, writing.project)
    Writing.objects.filter(pk=writing.pk, ended_at=None).update(ended_at=now or timezone.now(), place=None)


@transaction.atomic
def submit_demonstration(
    user,
    key: str | uuid.UUID,
    completion: str,
    *,
    prompt: str = "",
    active_seconds: float | str | None = None,
    now: datetime | None = None,
) -> Demonstration:
    """Stores the answer of `user` for review; `prompt` is the text of a prompt of their own.

    The same key twice gives the same row, with the text of the first. Raises UserError for an unknown key and for an
    empty or endless text, PermissionDenied for a person who may not label here any more.
    """
    now = now or timezone.now()
    writing = writing_of(key, user)
    lock_annotator(user, writing.project)
    if earlier := Demonstration.objects.filter(writing=writing).first():
        return earlier
    completion = checked_text(completion)
    if writing.prompt is None:
        text = checked_text(prompt, "prompt")
        (own,) = add_prompts(writing.project, [[{"role": "user", "content": text}]]).rows
        if Writing.objects.filter(prompt=own, writer=user).exists():
            raise UserError(_("You have answered this prompt already. Please write another one."), field="prompt")
        writing.prompt = own
    attention.credit(writing, writing.started_at, active_seconds, now)
    writing.ended_at, writing.draft, writing.own_prompt = now, "", ""
    writing.save(update_fields=["prompt", "ended_at", "draft", "own_prompt"])
    demonstration = Demonstration.objects.create(
        prompt=writing.prompt, completion=completion, digest=text_digest(completion), author=user, writing=writing,
        state=State.SUBMITTED,
    )  # fmt: skip
    DemonstrationVersion.objects.create(
        demonstration=demonstration, revision=1, action=Action.WRITTEN, text=completion, by=user, created_at=now
    )
    return demonstration


def checked_text(text: str, field: str = "completion") -> str:
    """The text as stored: lines end in one way, no space around. Raises UserError where it is empty or endless."""
    text = text.replace("\r\n", "\n").replace("\0", "").strip()
    if not text:
        raise UserError(_("Please write an answer.") if field == "completion" else _("Please write a prompt."), field)
    _check_length(text, field)
    return text


def _check_length(text: str, field: str) -> None:
    if len(text) > LONGEST_TEXT:
        raise UserError(
            _("A text has at most %(most)s characters; this one has %(length)s.")
            % {"most": f"{LONGEST_TEXT:,}", "length": f"{len(text):,}"},
            field,
        )


def _require_open(project: Project, user) -> None:
    if not project.writing or project.archived:
        raise UserError(_("Nobody writes demonstrations in this project at the moment."))
    refuse_paused(project, user)


def _open_prompts(project: Project, user) -> QuerySet[Prompt]:
    """Prompts of the pool that lack an answer which nobody is writing, and that `user` has not met.

    In the order of an index, so that its first is found without looking at what is answered (Prompt.places_taken).
    """
    wanting = project.prompts.filter(in_pool=True, places_taken__lt=project.demonstrations_wanted)
    return wanting.exclude(writings__writer=user).order_by("places_taken", "id")


def _free_place(prompt: Prompt, now: datetime) -> int:
    """The lowest place without a holder, after what is held by nobody any more was taken away."""
    prompt.writings.filter(place__isnull=False, ended_at=None, lease_until__lte=now).update(place=None)
    places = set(prompt.writings.filter(place__isnull=False).values_list("place", flat=True))
    return next(place for place in range(len(places) + 1) if place not in places)


def _wanted(project: Project, prompt_id: int) -> int:
    """How many demonstrations of this prompt people write: those that were imported are there already."""
    return project.demonstrations_wanted - Demonstration.objects.filter(prompt=prompt_id, writing=None).count()


def _keep(writing: Writing, now: datetime) -> bool:
    """Renews the lease. A place that was lost meanwhile is taken again if there is a free one."""
    lease = _lease_end(writing.project, now)
    mine = Writing.objects.filter(pk=writing.pk, ended_at=None)
    if mine.filter(place__isnull=False).update(lease_until=lease):
        return True
    place = _free_place(writing.prompt, now)
    if place >= _wanted(writing.project, writing.prompt_id):
        return False
    try:
        with transaction.atomic():
            return bool(mine.update(place=place, lease_until=lease))
    except IntegrityError:  # somebody else was quicker
        return False


def _lease_end(project: Project, now: datetime) -> datetime:
    return now + timedelta(seconds=project.lease_seconds)
