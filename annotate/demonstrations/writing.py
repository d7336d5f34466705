"""Who writes which answer: a prompt of the pool with a place that is theirs for a lease, or a prompt of their own.

A place is held by a unique constraint, and given out under the lock of its prompt's row: nobody is told that nothing is
left because others were quicker. A text is never thrown away: what is submitted after its place was taken becomes one
demonstration more.
"""

import uuid
from datetime import datetime, timedelta

from django.db import connection, transaction
from django.db.models import QuerySet
from django.utils import timezone
from django.utils.translation import gettext as _

from annotate.errors import UserError
from annotate.labeling import attention
from annotate.labeling.comparisons import add_prompts
from annotate.labeling.locks import lock_annotator
from annotate.labeling.standing import require_open
from annotate.models import Demonstration, DemonstrationVersion, Project, Prompt, Writing
from annotate.models.comparison import text_digest

LONGEST_TEXT = 50_000

Action, State = DemonstrationVersion.Action, Demonstration.State


def next_writing(project: Project, user, *, now: datetime | None = None) -> Writing | None:
    """The prompt that `user` answers next, reserved for them with its draft; None where none is left for them.

    What they have begun comes first. Of the others the prompt with the fewest answers does, then the oldest. Raises
    PermissionDenied if `user` may not label here, UserError where the project wants no demonstrations.
    """
    now = now or timezone.now()
    _free_lapsed(project.writings.exclude(writer=user), now)
    with transaction.atomic():
        lock_annotator(user, project)
        _require_open(project, user)
        return _begun(project, user, now) or _begin(project, user, now)


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
    require_open(project, user)


def _begun(project: Project, user, now: datetime) -> Writing | None:
    begun = Writing.objects.filter(project=project, writer=user, prompt__isnull=False, ended_at=None)
    for writing in begun.select_related("project", "prompt"):
        if _keep(writing, now) or writing.draft:
            return writing
        writing.delete()  # nothing written, and its place belongs to somebody else by now
    return None


def _begin(project: Project, user, now: datetime) -> Writing | None:
    prompt = _first_locked(_open_prompts(project, user))
    return prompt and Writing.objects.create(
        project=project, prompt=prompt, writer=user, place=_free_place(prompt), lease_until=_lease_end(project, now),
        started_at=now,
    )  # fmt: skip


def _keep(writing: Writing, now: datetime) -> bool:
    """Renews the lease. A place that was lost meanwhile is taken again if there is a free one."""
    lease = _lease_end(writing.project, now)
    mine = Writing.objects.filter(pk=writing.pk, ended_at=None)
    if mine.filter(place__isnull=False).update(lease_until=lease):
        return True
    _free_lapsed(Writing.objects.filter(prompt=writing.prompt_id), now)
    prompt = _first_locked(_lacking_answers(writing.project).filter(pk=writing.prompt_id))
    return bool(prompt and mine.update(place=_free_place(prompt), lease_until=lease))


def _open_prompts(project: Project, user) -> QuerySet[Prompt]:
    """Prompts of the pool for `user`, who has met none of them yet.

    In the order of an index, so that its first is found without looking at what is answered.
    """
    pool = _lacking_answers(project).filter(in_pool=True)
    return pool.exclude(writings__writer=user).order_by("places_taken", "id")


def _lacking_answers(project: Project) -> QuerySet[Prompt]:
    """Prompts that want an answer which nobody is writing (Prompt.places_taken)."""
    return project.prompts.filter(places_taken__lt=project.demonstrations_wanted)


def _first_locked(prompts: QuerySet[Prompt]) -> Prompt | None:
    """The first of `prompts`, whose places stay as they are until the transaction ends.

    One that somebody is just taking is passed over while there is another, and waited for before the answer is none.
    Who waits for several does so in one order, as a row that turns out to be taken stays locked.
    """
    if not connection.features.has_select_for_update_skip_locked:
        return prompts.first()  # SQLite has one writer at a time
    return (
        prompts.select_for_update(no_key=True, skip_locked=True).first()
        or prompts.order_by("pk").select_for_update(no_key=True).first()
    )


def _free_lapsed(writings: QuerySet[Writing], now: datetime) -> None:
    """Takes the places of those among `writings` whose lease ran out.

    Their rows are locked in one order and before their prompts', and a prompt that somebody is just taking is left to
    the next time: so no two wait for each other.
    """
    lapsed = writings.filter(place__isnull=False, ended_at=None, lease_until__lte=now)
    if not lapsed.exists():
        return
    with transaction.atomic():
        if connection.features.has_select_for_update_skip_locked:
            rows = list(lapsed.order_by("key").select_for_update(no_key=True).values_list("key", "prompt"))
            prompts = Prompt.objects.filter(pk__in=[prompt for _key, prompt in rows]).order_by()
            free = set(prompts.select_for_update(no_key=True, skip_locked=True).values_list("pk", flat=True))
            lapsed = Writing.objects.filter(pk__in=[key for key, prompt in rows if prompt in free])
        lapsed.update(place=None)


def _free_place(prompt: Prompt) -> int:
    """The lowest place without a holder: below the number wanted, as `prompt` lacks answers."""
    places = set(prompt.writings.filter(place__isnull=False).values_list("place", flat=True))
    return next(place for place in range(len(places) + 1) if place not in places)


def _lease_end(project: Project, now: datetime) -> datetime:
    return now + timedelta(seconds=project.lease_seconds)
