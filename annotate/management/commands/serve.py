"""`manage.py serve`: the site and its workers together, on this machine only, until Ctrl-C.

One worker makes runs, one at a time and each for hours; another makes what people wait for (annotate/background/).
"""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import urllib.error
import urllib.request

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from annotate.background.presence import GPU_QUEUE, LIGHT_QUEUE
from annotate.demo.accounts import ACCOUNTS_FILE
from annotate.runs.child import LEASH

HOST = "127.0.0.1"
# The worker waits for its trainer's checkpoint (annotate/runs/follow.py: GRACE) and must outlive that.
STOP_SECONDS = 45.0
START_SECONDS = 60.0
LOOK_EVERY = 0.3


class Command(BaseCommand):
    help = "Run the site and its workers on this machine until Ctrl-C."

    def add_arguments(self, parser):
        parser.add_argument("--port", type=int, default=8000, help="port on 127.0.0.1 (default 8000)")

    def handle(self, *, port: int, **options):
        stop = threading.Event()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            if signal.getsignal(number) != signal.SIG_IGN or number != signal.SIGHUP:  # nohup means to go on
                signal.signal(number, lambda *_: stop.set())
        listener = _listen(port)
        address = f"http://{HOST}:{listener.getsockname()[1]}"
        children: dict[str, subprocess.Popen] = {}
        try:
            children["site"] = _start(_site_command(listener), pass_fds=(listener.fileno(),))
            children["worker"] = _start(worker_command(GPU_QUEUE))
            children["background worker"] = _start(worker_command(LIGHT_QUEUE, threads=2))
            self._announce(address, children, stop)
            dead = self._watch(children, stop)
        finally:
            listener.close()
            self._stop(children)
        if dead:
            raise CommandError(f"The {dead} ended by itself (exit status {children[dead].returncode}); all is stopped.")
        self.stdout.write("Stopped.")

    def _announce(self, address: str, children: dict, stop: threading.Event) -> None:
        """Tell where the site is, once it answers."""
        tries = int(START_SECONDS / LOOK_EVERY)
        for _ in range(tries):
            if stop.is_set() or _first_dead(children):
                return
            if _answers(address):
                break
            stop.wait(LOOK_EVERY)
        else:
            raise CommandError(f"The site does not answer within {START_SECONDS:.0f} seconds.")
        self.stdout.write(f"\n  Prefloop is at {address}")
        accounts = settings.VAR_DIR / ACCOUNTS_FILE
        if accounts.exists():
            names = ", ".join(json.loads(accounts.read_text()))
            self.stdout.write(f"  Demo accounts ({names}) and their passwords: {accounts}")
        self.stdout.write("  Ctrl-C stops the site and its workers.\n")
        self.stdout.flush()

    def _watch(self, children: dict, stop: threading.Event) -> str | None:
        """Until told to stop (None), or until a child ends (its name)."""
        while not stop.wait(LOOK_EVERY):
            if dead := _first_dead(children):
                return dead
        return None

    def _stop(self, children: dict) -> None:
        """SIGTERM to all; the worker's run writes a checkpoint. What does not end in time is killed."""
        if any(child.poll() is None for child in children.values()):
            self.stdout.write("\nStopping; a run in progress writes a checkpoint and goes on at the next start …")
            self.stdout.flush()
        for child in children.values():
            _signal(child, signal.SIGTERM)
        for child in children.values():
            with contextlib.suppress(subprocess.TimeoutExpired):
                child.wait(STOP_SECONDS)
        for child in children.values():
            _signal(child, signal.SIGKILL)
            child.wait()


def _listen(port: int) -> socket.socket:
    """The bound socket that gunicorn inherits, so that a port in use is known before anything starts."""
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((HOST, port))
        # On Linux a bind to a port that somebody listens on already fails here at the latest.
        listener.listen(128)
    except (OSError, OverflowError) as error:
        listener.close()
        raise CommandError(f"Port {port} on {HOST} cannot be used: {error}. Another one: PORT=8001 make up") from None
    return listener


def _site_command(listener: socket.socket) -> list[str]:
    return [
        sys.executable, "-m", "gunicorn", "annotate.wsgi:application", "--bind", f"fd://{listener.fileno()}",
        "--workers", "2", "--threads", "4", "--graceful-timeout", "5", "--log-level", "warning",
    ]  # fmt: skip


def worker_command(*queues: str, threads: int = 1) -> list[str]:
    """So many tasks at a time; gossip and mingle are for fleets and would leave files behind."""
    return [
        sys.executable, "-m", "celery", "--quiet", "--app", "annotate.celery", "worker", "--pool", "threads",
        "--concurrency", str(threads), "--queues", ",".join(queues), "--without-gossip", "--without-mingle",
        "--without-heartbeat", "--loglevel", "WARNING",
    ]  # fmt: skip


def _start(command: list[str], **options) -> subprocess.Popen:
    """In a session of its own, so that Ctrl-C reaches only this command; on the leash, so that it never outlives it.

    People see the site's own error pages, not Django's for developers, unless the environment asks for those.
    """
    leashed = [sys.executable, str(LEASH), str(os.getpid()), *command]
    environment = {"DEBUG": "0", **os.environ, "SECRET_KEY": settings.SECRET_KEY}
    return subprocess.Popen(
        leashed, cwd=settings.BASE_DIR, env=environment, start_new_session=True, stdin=subprocess.DEVNULL, **options
    )


def _first_dead(children: dict) -> str | None:
    return next((name for name, child in children.items() if child.poll() is not None), None)


def _answers(address: str) -> bool:
    try:
        urllib.request.urlopen(address, timeout=2).close()
    except urllib.error.HTTPError:
        return True
    except OSError:
        return False
    return True


def _signal(child: subprocess.Popen, number: int) -> None:
    """To the child's whole session."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child.pid, number)
