"""Who owns a run: claims, leases, heartbeats, and the sweep that finds what was lost.

The row is the truth. Every change of a run's state here is one conditional UPDATE whose row count decides, so that any
number of workers, sweeps and doubled messages may race: one of them wins, the others do nothing.
"""

import logging
import uuid
from datetime import datetime, timedelta

from django.db import transaction
from django.db.models import Exists, F, OuterRef, Q
from django.db.models.functions import Coalesce
from django.utils import timezone

from annotate.models import Dataset, Run

log = logging.getLogger(__name__)

LEASE = timedelta(seconds=60)
# A claim that ends with its worker's death counts; after this many the run itself is suspected.
MAX_ATTEMPTS = 3
# A queued run whose last message is this old is nudged again: the message may be lost.
NUDGE_AGAIN_AFTER = timedelta(seconds=60)

WORKER_DIED = (
    f"The worker died or lost contact {MAX_ATTEMPTS} times during this run. It may need more memory than there is; "
    "look at the log, then resume or retry."
)


# Of a run's own columns only, so that a second claim sees what the first has changed: a join would be looked up before.
_NO_DATA_YET = Exists(Dataset.objects.filter(pk=OuterRef("dataset")).exclude(state=Dataset.State.READY))


class LostOwnership(Exception):
    """Another worker owns the run by now, or it was ended from outside: write nothing more."""


def claim(run_id: int, worker: str, now: datetime | None = None) -> Run | None:
    """Own the run for one lease, or None where it is not to be had.

    To be had is a queued run whose data is ready, and a running one whose lease has run out. `Run.worker` becomes a
    token that no other claim has, and with it every later write proves its ownership.
    """
    now = now or timezone.now()
    token = f"{worker}:{uuid.uuid4().hex[:12]}"
    free = Q(state=Run.State.QUEUED) | Q(state=Run.State.RUNNING, lease_until__lt=now)
    won = Run.objects.filter(free, ~_NO_DATA_YET, pk=run_id, attempt__lt=MAX_ATTEMPTS, cancel_requested=False).update(
        state=Run.State.RUNNING,
        attempt=F("attempt") + 1,
        worker=token,
        lease_until=now + LEASE,
        started_at=Coalesce(F("started_at"), now),
    )
    return Run.objects.filter(pk=run_id, worker=token).first() if won else None


def owned(run: Run):
    """The run's row as a queryset that is empty once another claim has it."""
    return Run.objects.filter(pk=run.pk, state=Run.State.RUNNING, worker=run.worker, attempt=run.attempt)


def heartbeat(run: Run, now: datetime | None = None, **progress) -> None:
    """Renew the lease and write `progress` (step, total_steps, phase, log_tail). Raises LostOwnership."""
    if not owned(run).update(lease_until=(now or timezone.now()) + LEASE, **progress):
        raise LostOwnership(f"run {run.pk}")


def finish(run: Run, state: str, error: str = "", now: datetime | None = None, **last) -> None:
    """End an owned run, with `last` fields written along. Raises LostOwnership."""
    if not owned(run).update(
        state=state, error=error, lease_until=None, worker="", finished_at=now or timezone.now(), **last
    ):
        raise LostOwnership(f"run {run.pk}")


def hand_back(run: Run) -> None:
    """Return an owned run to the queue because its worker stops in good order; that attempt does not count."""
    if not owned(run).update(
        state=Run.State.QUEUED, lease_until=None, worker="", attempt=F("attempt") - 1, dispatched_at=None
    ):
        raise LostOwnership(f"run {run.pk}")


def dispatch(run_id: int) -> None:
    """Nudge a worker, once the current transaction is committed. A broker out of reach loses nothing: see `sweep`."""
    transaction.on_commit(lambda: _send(run_id))


def _send(run_id: int) -> None:
    from annotate.runs.tasks import execute_run  # tasks imports this module

    Run.objects.filter(pk=run_id).update(dispatched_at=timezone.now())
    try:
        execute_run.apply_async(args=[run_id], retry=False)
    except Exception:  # whatever a broker's client raises, the sweep sends the message again
        log.exception("The message for run %s was not sent; the sweep will send it again.", run_id)
        Run.objects.filter(pk=run_id).update(dispatched_at=None)


def sweep(now: datetime | None = None, *, nudge: bool = True) -> list[int]:
    """Recover runs whose worker died, and with `nudge` send lost messages again. Returns the runs that were nudged.

    A busy worker sweeps with `nudge=False`: what waits behind its own run is waiting, not lost.
    """
    now = now or timezone.now()
    _recover_dead(now)
    settle_data(now)
    if not nudge:
        return []
    forgotten = Q(dispatched_at__isnull=True) | Q(dispatched_at__lt=now - NUDGE_AGAIN_AFTER)
    nudged = []
    queued = Run.objects.filter(forgotten, ~_NO_DATA_YET, state=Run.State.QUEUED)
    for run_id in queued.order_by("id").values_list("pk", flat=True):
        # Of several sweeps at once one wins the row and sends; the others send nothing.
        if Run.objects.filter(forgotten, pk=run_id, state=Run.State.QUEUED).update(dispatched_at=now):
            dispatch(run_id)
            nudged.append(run_id)
    return nudged


def settle_data(now: datetime | None = None) -> None:
    """What a snapshot came to, for the queued runs that waited for it: the same as an earlier one, or a failure."""
    now = now or timezone.now()
    queued = Run.objects.filter(state=Run.State.QUEUED)
    for run in queued.filter(dataset__same_as__isnull=False).select_related("dataset"):
        queued.filter(pk=run.pk, dataset=run.dataset).update(dataset=run.dataset.same_as_id)
    for run in queued.filter(dataset__state=Dataset.State.FAILED).select_related("dataset"):
        words = f"The data of this run could not be frozen. {run.dataset.error}"
        queued.filter(pk=run.pk, dataset=run.dataset).update(state=Run.State.FAILED, error=words, finished_at=now)


def data_is_there(dataset_id: int) -> None:
    """The queued runs that waited for this snapshot go on, without waiting for a sweep."""
    waiting = Run.objects.filter(state=Run.State.QUEUED, dispatched_at__isnull=True, dataset=dataset_id)
    runs = list(waiting.values_list("pk", flat=True))
    settle_data()
    for run_id in runs:
        if Run.objects.filter(~_NO_DATA_YET, pk=run_id, state=Run.State.QUEUED, dispatched_at__isnull=True).exists():
            dispatch(run_id)


def _recover_dead(now: datetime) -> None:
    """Runs whose lease ran out: cancelled where that was asked for, else queued again, else failed."""
    dead = Run.objects.filter(state=Run.State.RUNNING, lease_until__lt=now)
    nobodys = {"lease_until": None, "worker": ""}
    # A run may also have been handed back in the moment in which somebody asked to cancel it.
    handed_back = Run.objects.filter(state=Run.State.QUEUED)
    for unwanted in (dead, handed_back):
        unwanted.filter(cancel_requested=True).update(state=Run.State.CANCELLED, finished_at=now, **nobodys)
    dead.filter(attempt__gte=MAX_ATTEMPTS).update(
        state=Run.State.FAILED, error=WORKER_DIED, finished_at=now, **nobodys
    )
    dead.update(state=Run.State.QUEUED, dispatched_at=None, **nobodys)
