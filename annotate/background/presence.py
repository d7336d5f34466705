"""Which workers live: each says so every few seconds, so that a page can tell waiting from waiting for nobody."""

import os
import socket
from datetime import datetime, timedelta

from django.utils import timezone

from annotate.models import Worker

SAY_EVERY = 15.0
# One that was not heard of for so long is gone.
GONE_AFTER = timedelta(seconds=60)

LIGHT_QUEUE, GPU_QUEUE = "default", "gpu"


def worker_name() -> str:
    """This process, for people to read: host and process id."""
    return f"{socket.gethostname()}:{os.getpid()}"


def is_there(queue: str = LIGHT_QUEUE, now: datetime | None = None) -> bool:
    """Whether a worker that takes this queue's messages lives, busy or not."""
    return Worker.objects.filter(queue=queue, seen_at__gt=(now or timezone.now()) - GONE_AFTER).exists()


def say(queues: list[str], now: datetime | None = None) -> None:
    """This process lives and takes these queues. Whoever is long gone is forgotten."""
    now = now or timezone.now()
    for queue in queues:
        Worker.objects.update_or_create(name=worker_name(), queue=queue, defaults={"seen_at": now})
    Worker.objects.filter(seen_at__lt=now - GONE_AFTER).delete()


def leave() -> None:
    """This process stops in good order."""
    Worker.objects.filter(name=worker_name()).delete()
