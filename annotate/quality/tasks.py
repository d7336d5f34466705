"""The Celery task behind the quality page: thin, idempotent, given an id only."""

from annotate.celery import app
from annotate.quality.report import compute


@app.task(name="annotate.quality.tasks.compute_report")
def compute_report(project_id: int) -> None:
    """Compute the figures of a project's quality page, or nothing where they are up to date."""
    compute(project_id)
