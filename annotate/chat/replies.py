"""The rows of replies as a worker moves them: claimed for a lease, filled as the text comes, ended once.

Each change is one conditional UPDATE, so of several workers one has a reply, and who has lost it writes nothing more.
"""

import os
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db import transaction
from django.db.models import F, Q
from django.utils import timezone
from django.utils.translation import gettext_noop

from annotate.chat.chats import messages_before
from annotate.chat.client import NOTHING, UNREACHABLE, Target
from annotate.labeling.leaks import find_leaks
from annotate.models import ChatEndpoint, ChatReply

LEASE = timedelta(seconds=30)
MAX_ATTEMPTS = 3
NOT_SERVED = gettext_noop("No model is there to answer any more.")
TELLS = gettext_noop("This answer told which model wrote it, so it is not shown. Please ask again.")
State = ChatReply.State


@dataclass(frozen=True, eq=False)
class Job:
    """A claimed reply: `owner` proves the claim, `target` and `messages` are what to ask.

    `hidden`: nobody is to read a text that tells who wrote it (the project's `hold_leaks`).
    """

    reply: int
    owner: str
    endpoint: int
    target: Target
    messages: list[dict]
    hidden: bool = False

    def tells(self, text: str) -> list[str]:
        """The phrases of `text` that may not be read."""
        return find_leaks(text, [self.target.model]) if self.hidden else []


def claim(
    worker: str, most: int, now: datetime | None = None, *, room: Mapping[int, int] | None = None, each: int = 64
) -> list[Job]:
    """Up to `most` replies that this worker fetches now, the oldest first, and of one endpoint up to `each`.

    `room` is what is left of `each` for endpoints that answer already: what a slow one owes keeps no other waiting. A
    reply of a served model goes to the worker that serves it, which may be the only one to reach its address.
    """
    room = dict(room or {})
    now = now or timezone.now()
    _give_up(now)
    answers = Q(endpoint__model=None) | Q(endpoint__served=True, endpoint__server=worker)
    full = [endpoint for endpoint, left in room.items() if left <= 0]
    due = ChatReply.objects.filter(_free(now), answers).exclude(endpoint__base_url="").exclude(endpoint__in=full)
    due = due.order_by("queued_at")
    jobs = []
    for reply in due.select_related("turn__chat__project", "endpoint")[: max(0, most)]:
        if room.setdefault(reply.endpoint_id, each) <= 0:
            continue
        owner = f"{worker}:{uuid.uuid4().hex[:12]}"
        endpoint = reply.endpoint
        won = ChatReply.objects.filter(_free(now), pk=reply.pk).update(
            state=State.RUNNING, worker=owner, lease_until=now + LEASE, attempt=F("attempt") + 1, text="",
            generator=endpoint.model_name, model=endpoint.model_id,
        )  # fmt: skip
        if won:
            room[endpoint.pk] -= 1
            target, hidden = _target(endpoint, reply.seed), reply.turn.chat.project.hold_leaks
            jobs.append(Job(reply.pk, owner, endpoint.pk, target, messages_before(reply.turn), hidden))
    return jobs


@transaction.atomic
def write(texts: dict[Job, str], now: datetime | None = None) -> None:
    """What has come so far, all in one transaction; the leases are renewed."""
    lease = (now or timezone.now()) + LEASE
    for job, text in texts.items():
        news = {} if job.tells(text) else {"text": text}
        _owned(job).update(**news, lease_until=lease)


@transaction.atomic
def finish(job: Job, text: str, *, error: str = "", problem: str = "", now: datetime | None = None) -> None:
    """The end of a reply: its whole text, or `error` for the person who waits and `problem` for the admin.

    A text that tells who wrote it where that is `hidden` is an error, and not kept.
    """
    now = now or timezone.now()
    text = text.replace("\0", "").strip()
    if told := job.tells(text):
        text, error, problem = "", TELLS, f"An answer told who wrote it: {', '.join(told)}"
    if not error and not text:
        error = problem = NOTHING
    state = State.FAILED if error else State.DONE
    ended = _owned(job).update(state=state, text=text, error=error, lease_until=None, worker="", finished_at=now)
    if ended:
        news = {"problem": problem[:500]} if error else {"problem": "", "answered_at": now}
        ChatEndpoint.objects.filter(pk=job.endpoint).update(**news)


def hand_back(job: Job) -> None:
    """Its worker stops in good order: another one asks afresh, and this attempt does not count."""
    _owned(job).update(state=State.QUEUED, worker="", lease_until=None, attempt=F("attempt") - 1, text="")


def _owned(job: Job):
    return ChatReply.objects.filter(pk=job.reply, state=State.RUNNING, worker=job.owner)


def _free(now: datetime) -> Q:
    return (Q(state=State.QUEUED) | Q(state=State.RUNNING, lease_until__lt=now)) & Q(attempt__lt=MAX_ATTEMPTS)


def _give_up(now: datetime) -> None:
    """Replies that nobody will fetch: their worker died again and again, or their model is served no more."""
    lapsed = Q(state=State.QUEUED) | Q(state=State.RUNNING, lease_until__lt=now)
    ended = {"state": State.FAILED, "lease_until": None, "worker": "", "finished_at": now}
    ChatReply.objects.filter(lapsed, attempt__gte=MAX_ATTEMPTS).update(error=UNREACHABLE, **ended)
    gone = Q(endpoint=None) | Q(endpoint__model__isnull=False, endpoint__served=False)
    for pk in ChatReply.objects.filter(lapsed, gone).values_list("pk", flat=True):
        ChatReply.objects.filter(lapsed, pk=pk).update(error=NOT_SERVED, **ended)


def _target(endpoint: ChatEndpoint, seed: int) -> Target:
    key = os.environ.get(endpoint.key_variable, "") if endpoint.key_variable else ""
    return Target(endpoint.base_url, endpoint.model_name, key, endpoint.temperature, endpoint.max_tokens, seed)
