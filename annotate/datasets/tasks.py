"""The Celery task behind a snapshot of many rows: thin, idempotent, given an id only."""

from annotate.background import claims
from annotate.celery import app
from annotate.datasets.snapshots import make
from annotate.models import Dataset
from annotate.runs.claim import data_is_there


@app.task(name="annotate.datasets.tasks.make_snapshot")
def make_snapshot(dataset_id: int) -> None:
    """Make the snapshot, or nothing where it is made or in other hands; then the runs that wait for it go on."""
    claims.attempt(Dataset, dataset_id, make)
    data_is_there(dataset_id)
