"""The Celery task: thin, idempotent, given an id only."""

from annotate.background.presence import worker_name
from annotate.celery import app
from annotate.runs import claim, worker
from annotate.runs.follow import supervise


@app.task(name="annotate.runs.tasks.execute_run")
def execute_run(run_id: int) -> None:
    """Make one attempt at the run, or nothing where another worker has it or it has ended."""
    if (run := claim.claim(run_id, worker_name())) is not None:
        with worker.busy():
            supervise(run, worker.stopping)
