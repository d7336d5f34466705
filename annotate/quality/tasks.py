"""The Celery task behind the quality page: thin, idempotent, given an id only."""

from annotate.background import claims
from annotate.celery import app
from annotate.models import QualityReport
from annotate.quality.report import make


@app.task(name="annotate.quality.tasks.compute_report")
def compute_report(project_id: int) -> None:
    """Compute the figures of a project's quality page, or nothing where they are made or in other hands."""
    claims.attempt(QualityReport, project_id, make)
