"""The people wing of Prefloop: site, REST API, labeling queue, datasets and runs. Never imports torch."""

from annotate.celery import app as celery_app

__all__ = ["celery_app"]
