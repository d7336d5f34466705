"""Who makes a row of BackgroundWork: asked for, claimed under a lease, made, or failed with the reason in words.

The row is the truth and a message only nudges, as with runs (annotate/runs/claim.py): every change of state is one
conditional UPDATE whose row count decides, so doubled messages, two workers and a request may race for the same row.
"""

import contextlib
import logging
import threading
import uuid
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from typing import TypeVar

from django.db import DatabaseError, connection, connections, transaction
from django.db.models import F, Q
from django.utils import timezone
from django.utils.translation import gettext_noop

from annotate.background.presence import worker_name
from annotate.disk import is_disk_full
from annotate.errors import UserError
from annotate.models.background import BackgroundWork

log = logging.getLogger(__name__)

Row = TypeVar("Row", bound=BackgroundWork)
State = BackgroundWork.State

LEASE = timedelta(seconds=60)
RENEW_EVERY = 5.0
MAX_ATTEMPTS = 3
# What has waited this long since its last message is nudged again: the message may be lost.
NUDGE_AGAIN_AFTER = timedelta(seconds=60)

# Kept in English and shown in the reader's language.
WORKER_DIED = gettext_noop(
    "The worker died three times while it made this. It may need more memory than there is; its log may say more."
)
DISK_FULL = gettext_noop("The disk is full; nothing half-written was kept. Make room, then try again.")


# Set once, when this process has been told to stop.
stopping = threading.Event()


class LostOwnership(Exception):
    """Somebody else makes the row by now, or it is gone: write nothing more."""


class Stopping(Exception):
    """This worker is to stop: the next one begins again."""


def ask(rows) -> bool:
    """Of a queryset of one row: to be made (again) from now on. False where it is being made already."""
    asked = {"state": State.BEING_MADE, "error": "", "attempt": 0, "dispatched_at": None}
    return bool(rows.exclude(state=State.BEING_MADE).update(**asked))


def nudge(row: BackgroundWork, task) -> None:
    """Send the task for this row once the transaction is committed. If the broker is away, `sweep` sends it again."""
    transaction.on_commit(lambda: _send(type(row), row.pk, task))


def claim(model: type[Row], pk: int, now: datetime | None = None) -> Row | None:
    """Own the row for one lease, or None where it is made, or in other hands."""
    now = now or timezone.now()
    token = f"{worker_name()}:{uuid.uuid4().hex[:12]}"
    free = Q(lease_until__isnull=True) | Q(lease_until__lt=now)
    won = model.objects.filter(free, pk=pk, state=State.BEING_MADE, attempt__lt=MAX_ATTEMPTS).update(
        worker=token, lease_until=now + LEASE, attempt=F("attempt") + 1
    )
    return model.objects.filter(pk=pk, worker=token).first() if won else None


def owned(row: Row):
    """The row as a queryset that is empty once another claim has it."""
    return type(row).objects.filter(pk=row.pk, state=State.BEING_MADE, worker=row.worker)


def finish(row: Row, **made) -> None:
    """Ready, with what was made of it. Raises LostOwnership."""
    _end(row, state=State.READY, **made)


def fail(row: Row, error: str) -> None:
    """Not made, and why. Raises LostOwnership."""
    _end(row, state=State.FAILED, error=error)


def hand_back(row: Row) -> None:
    """To be made by somebody else, and this attempt does not count. Raises LostOwnership."""
    _end(row, attempt=F("attempt") - 1)


@contextlib.contextmanager
def kept(row: Row, progress: Callable[[], dict] = dict) -> Iterator[Callable[[], None]]:
    """Inside, a thread renews the lease and writes `progress()` along, by a connection of its own.

    Gives what a long loop calls now and then: it raises LostOwnership or Stopping where going on is of no use. Within a
    transaction nobody else sees the row, and nothing is renewed.
    """
    over, lost = threading.Event(), threading.Event()

    def renew() -> None:
        try:
            while not over.wait(RENEW_EVERY):
                with contextlib.suppress(DatabaseError):  # busy for a moment: the lease outlasts several of these
                    if not owned(row).update(lease_until=timezone.now() + LEASE, **progress()):
                        return lost.set()
        finally:
            connections.close_all()

    def look() -> None:
        if lost.is_set():
            raise LostOwnership(f"{row}")
        if stopping.is_set():
            raise Stopping

    renewing = threading.Thread(target=renew, name=f"lease of {row}", daemon=True)
    if not connection.in_atomic_block:
        renewing.start()
    try:
        yield look
    finally:
        over.set()
        if renewing.ident:
            renewing.join()


def attempt(model: type[Row], pk: int, make: Callable[[Row], None]) -> None:
    """What a task does: make the row if it is to be had; whatever goes wrong becomes its reason."""
    row = claim(model, pk)
    if row is None:
        return
    try:
        try:
            make(row)
        except LostOwnership:
            raise
        except Stopping:
            hand_back(row)
        except Exception as error:
            log.exception("%s could not be made", row)
            fail(row, reason(error))
    except LostOwnership:
        log.warning("%s is in other hands by now; this attempt is dropped", row)


def reason(error: BaseException) -> str:
    """Why it failed, in a sentence or two for people."""
    if isinstance(error, UserError):
        return str(error.message)
    if is_disk_full(error):
        return DISK_FULL
    return f"{type(error).__name__}: {error}. The worker's log says where."[:2000]


def sweep(model: type[BackgroundWork], task, now: datetime | None = None, *, also_waiting: bool = True) -> None:
    """Take up again what a worker that died left; with `also_waiting`, send lost messages again."""
    now = now or timezone.now()
    dead = model.objects.filter(state=State.BEING_MADE, lease_until__lt=now)
    nobodys = {"lease_until": None, "worker": "", "dispatched_at": None}
    dead.filter(attempt__gte=MAX_ATTEMPTS).update(state=State.FAILED, error=WORKER_DIED, **nobodys)
    dead.update(**nobodys)
    if not also_waiting:
        return
    forgotten = Q(dispatched_at__isnull=True) | Q(dispatched_at__lt=now - NUDGE_AGAIN_AFTER)
    waiting = model.objects.filter(forgotten, state=State.BEING_MADE, lease_until__isnull=True)
    for row in waiting.order_by("pk"):
        if model.objects.filter(forgotten, pk=row.pk, lease_until__isnull=True).update(dispatched_at=now):
            nudge(row, task)


def _end(row: Row, **fields) -> None:
    if not owned(row).update(lease_until=None, worker="", dispatched_at=None, **fields):
        raise LostOwnership(f"{row}")


def _send(model: type[BackgroundWork], pk: int, task) -> None:
    model.objects.filter(pk=pk).update(dispatched_at=timezone.now())
    try:
        task.apply_async(args=[pk], retry=False)
    except Exception:  # whatever a broker's client raises, the sweep sends the message again
        log.exception("The message for %s %s was not sent; the sweep will send it again.", model.__name__, pk)
        model.objects.filter(pk=pk).update(dispatched_at=None)
