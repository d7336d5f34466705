"""The Celery application: light tasks on the queue `default`, training runs on the queue `gpu`."""

import os

from celery import Celery
from kombu.transport import TRANSPORT_ALIASES

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "annotate.settings")

# The file-system transport of annotate/runs/broker.py stands in for kombu's own, for the reasons given there.
TRANSPORT_ALIASES["filesystem"] = "annotate.runs.broker:Transport"

app = Celery("annotate")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks(["annotate.runs", "annotate.quality", "annotate.datasets"])
app.autodiscover_tasks(["annotate.chat", "annotate.background"], related_name="worker")
