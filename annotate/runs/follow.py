"""One attempt at a run, from start to end: the child is followed, the row kept alive, and the outcome written."""

import logging
import math
import threading
import time

from django.db import DatabaseError, connection, transaction

from annotate.disk import is_disk_full
from annotate.errors import UserError
from annotate.models import Run, RunEvent
from annotate.runs import child, claim, events
from annotate.runs.claim import LostOwnership
from annotate.runs.directory import prepare, run_directory
from annotate.runs.recipes import RECIPES
from annotate.runs.registry import register_model
from annotate.runs.rounds import open_round

log = logging.getLogger(__name__)

LOOK_EVERY = 0.5  # seconds between two looks at the events and at a cancellation
HEARTBEAT_EVERY = 5.0  # seconds between two writes that carry no news
GRACE = 30.0  # seconds that a stopped child has for its checkpoint
NEVER = threading.Event()


def supervise(run: Run, stopping: threading.Event = NEVER) -> None:
    """Make one attempt at a claimed run and write how it ended. Raises nothing for what a run may do wrong.

    When `stopping` is set (the worker is to end), the child writes a checkpoint and the run goes back to the queue.
    """
    try:
        _attempt(run, stopping)
    except LostOwnership:
        log.warning("Run %s has another owner by now; its child here was ended.", run.pk)
    except UserError as error:
        _fail(run, str(error))
    except (OSError, DatabaseError) as error:
        log.exception("Run %s cannot be followed.", run.pk)
        _fail(run, _trouble(error))


def _attempt(run: Run, stopping: threading.Event) -> None:
    directory = prepare(run)
    follower = _Follower(run)
    follower.catch_up()
    if follower.succeeded:  # the child had ended well when its worker died
        _succeed(run, follower)
        return
    follower.outcome = None
    with child.start(run.recipe, directory) as process:
        wanted = _follow(run, process, follower, stopping)
        status = process.end()
    follower.catch_up()
    if status == 0 and follower.succeeded:
        _succeed(run, follower)
    elif wanted == "cancel":
        claim.finish(run, Run.State.CANCELLED, log_tail=child.log_tail(directory))
    elif wanted == "stop":
        claim.hand_back(run)
    else:
        tail = child.log_tail(directory)
        claim.finish(run, Run.State.FAILED, child.reason(status, follower.error, tail), log_tail=tail)


def _follow(run: Run, process: child.Child, follower: "_Follower", stopping: threading.Event) -> str | None:
    """Until the child ends: copy its events, renew the lease, pass on a wish to stop. Returns that wish."""
    wanted = None
    while not process.wait(LOOK_EVERY):
        if stopping.is_set():
            wanted = wanted or "stop"
        try:
            follower.look()
            if follower.cancel_requested():
                wanted = wanted or "cancel"
        except DatabaseError:
            if follower.lease_is_over():
                raise
            log.warning("The database does not answer; run %s goes on as long as its lease lasts.", run.pk)
            connection.close_if_unusable_or_obsolete()
        if wanted:
            process.ask_to_stop(GRACE)
    return wanted


class _Follower:
    """What has been read of a run's events, and when its row was last written."""

    def __init__(self, run: Run):
        self.run = run
        self.directory = run_directory(run)
        self.reader = events.EventReader(run, self.directory)
        self.outcome: RunEvent | None = run.events.filter(kind__in=["start", "end"]).order_by("number").last()
        self.unsaved: list[RunEvent] = []
        self.written_at = -math.inf

    @property
    def succeeded(self) -> bool:
        end = self.outcome
        return end is not None and end.kind == "end" and end.data.get("status") == "succeeded"

    @property
    def error(self) -> str:
        return str(self.outcome.data.get("error") or "") if self.outcome and self.outcome.kind == "end" else ""

    @property
    def metrics(self) -> dict:
        return self.outcome.data.get("metrics") or {}

    def lease_is_over(self) -> bool:
        return time.monotonic() - self.written_at > claim.LEASE.total_seconds()

    def cancel_requested(self) -> bool:
        """Raises LostOwnership where the row is no longer this attempt's."""
        requested = claim.owned(self.run).values_list("cancel_requested", flat=True).first()
        if requested is None:
            raise LostOwnership(f"run {self.run.pk}")
        return requested

    def look(self) -> bool:
        """Store what is new and renew the lease, where there is news or it is time. Returns whether there was news."""
        self.unsaved += self.reader.read()
        new = self.unsaved
        if not new and time.monotonic() - self.written_at < HEARTBEAT_EVERY:
            return False
        # In one transaction: an attempt that has lost the run stores no events either.
        with transaction.atomic():
            claim.heartbeat(self.run, log_tail=child.log_tail(self.directory), **events.progress_of(new))
            events.store(new)
        self.unsaved = []
        self.written_at = time.monotonic()
        for event in new:
            if event.kind in {"start", "end"}:
                self.outcome = event
        return bool(new)

    def catch_up(self) -> None:
        """Look until there is no news."""
        while self.look():
            pass


def _succeed(run: Run, follower: _Follower) -> None:
    """State, model and new round appear in one transaction, or the run fails and none of them does."""
    with transaction.atomic():
        claim.finish(run, Run.State.SUCCEEDED, log_tail=child.log_tail(follower.directory))
        if RECIPES[run.recipe].makes:
            register_model(run, follower.metrics)
        if hasattr(run, "round"):
            open_round(run.round)


def _trouble(error: Exception) -> str:
    return f"{'The disk is full' if is_disk_full(error) else 'The run could not be followed'}. {error}"


def _fail(run: Run, error: str) -> None:
    try:
        claim.finish(run, Run.State.FAILED, error)
    except LostOwnership:
        log.warning("Run %s failed, but has another owner by now: %s", run.pk, error)
    except DatabaseError:
        # The lease runs out and the sweep takes the run up again, when the database takes writes again.
        log.exception("Run %s failed and the database does not take it: %s", run.pk, error)
