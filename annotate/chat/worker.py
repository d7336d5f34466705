"""What a Celery worker does for the chat besides its tasks: one thread that fetches replies and serves models."""

import logging
import threading
import time

from celery.signals import worker_ready, worker_shutting_down
from django.db import close_old_connections

from annotate.background.presence import GPU_QUEUE, worker_name
from annotate.chat.pump import ReplyPump
from annotate.chat.serving import ModelServers

log = logging.getLogger(__name__)

# While somebody chats, and while nobody does.
BUSY_SECONDS, IDLE_SECONDS = 0.4, 0.8
SERVERS_EVERY = 1.0

_stopping = threading.Event()


@worker_ready.connect
def start_chatting(sender, **kwargs) -> None:
    if GPU_QUEUE in sender.app.amqp.queues.consume_from:
        threading.Thread(target=chat_until, args=[_stopping], name="chat", daemon=True).start()


@worker_shutting_down.connect
def stop_chatting(**kwargs) -> None:
    _stopping.set()


def chat_until(stopping: threading.Event) -> None:
    """Fetches replies and serves models until told to stop. The models it has started end with this thread."""
    pump, servers = ReplyPump(worker_name()), ModelServers(worker_name())
    look_at_servers = 0.0
    while not stopping.is_set():
        busy = False
        try:
            close_old_connections()
            if time.monotonic() >= look_at_servers:
                look_at_servers = time.monotonic() + SERVERS_EVERY
                servers.beat()
            busy = pump.beat()
        except Exception:  # a database that is away for a moment must not end the chats
            log.exception("A beat of the chat failed; the next one tries again.")
        stopping.wait(BUSY_SECONDS if busy else IDLE_SECONDS)
    pump.stop()
    servers.stop()
    close_old_connections()
