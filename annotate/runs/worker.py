"""What a Celery worker does besides its tasks: it sweeps, and when it is to stop it says so to its run.

The sweep is a thread in every worker that takes runs, and not a beat process: nothing more to start, no message that
waits behind a long run, and nothing that outlives a killed worker.
"""

import contextlib
import logging
import threading

from celery.signals import worker_ready, worker_shutting_down
from django.db import close_old_connections

from annotate.background.presence import GPU_QUEUE
from annotate.runs import claim

log = logging.getLogger(__name__)

SWEEP_EVERY = 15.0

# Set once, when this process has been told to stop.
stopping = threading.Event()
_running_here = 0
_lock = threading.Lock()


@contextlib.contextmanager
def busy():
    """Inside, this worker makes an attempt at a run."""
    global _running_here
    with _lock:
        _running_here += 1
    try:
        yield
    finally:
        with _lock:
            _running_here -= 1


@worker_ready.connect
def start_sweeping(sender, **kwargs) -> None:
    if GPU_QUEUE in sender.app.amqp.queues.consume_from:
        threading.Thread(target=_sweep_until_stopped, name="sweep", daemon=True).start()


@worker_shutting_down.connect
def stop_runs(**kwargs) -> None:
    stopping.set()


def _sweep_until_stopped() -> None:
    while not stopping.is_set():
        try:
            close_old_connections()
            # What waits while this worker is busy waits for it, and is not lost.
            claim.sweep(nudge=not _running_here)
        except Exception:  # a database that is away for a moment must not end the sweeping
            log.exception("The sweep failed; it is tried again.")
        stopping.wait(SWEEP_EVERY)
