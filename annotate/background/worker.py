"""What a Celery worker does for the background besides its tasks: a thread that says it lives, and sweeps.

A worker that is busy sends no message again: what waits behind its own task is waiting, not lost.
"""

import contextlib
import logging
import threading

from celery.signals import task_postrun, task_prerun, worker_ready, worker_shutting_down
from django.db import DatabaseError, close_old_connections

from annotate.background import claims, presence
from annotate.datasets.tasks import make_snapshot
from annotate.models import Dataset, QualityReport
from annotate.quality.tasks import compute_report

log = logging.getLogger(__name__)

# What is made in the background, and by which task.
MADE_BY = {Dataset: make_snapshot, QualityReport: compute_report}

_tasks_here: set[str] = set()


@worker_ready.connect
def start_thread(sender, **kwargs) -> None:
    queues = list(sender.app.amqp.queues.consume_from)
    threading.Thread(target=look_until, args=[claims.stopping, queues], name="background", daemon=True).start()


@worker_shutting_down.connect
def stop_thread(**kwargs) -> None:
    claims.stopping.set()


@task_prerun.connect
def task_begins(task_id, **kwargs) -> None:
    _tasks_here.add(task_id)


@task_postrun.connect
def task_ends(task_id, **kwargs) -> None:
    _tasks_here.discard(task_id)


def look_until(stopping: threading.Event, queues: list[str]) -> None:
    """Says that this worker lives, and sweeps where it makes what is swept, until told to stop."""
    while not stopping.is_set():
        try:
            close_old_connections()
            presence.say(queues)
            if presence.LIGHT_QUEUE in queues:
                for model, task in MADE_BY.items():
                    claims.sweep(model, task, also_waiting=not _tasks_here)
        except Exception:  # a database that is away for a moment must not end this
            log.exception("A look at the background work failed; the next one tries again.")
        stopping.wait(presence.SAY_EVERY)
    with contextlib.suppress(DatabaseError):
        presence.leave()
    close_old_connections()
