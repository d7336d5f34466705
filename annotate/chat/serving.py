"""Models of the registry, served to the chat by the worker: a child process each, ended with the worker.

A row says what is wanted (`served`) and who serves it (`server`, under a lease), as with runs: a claim is one
conditional UPDATE, and the models of a worker that died are served by the next one.
"""

import contextlib
import os
import re
import signal
import subprocess
import sys
from datetime import datetime, timedelta

from django.conf import settings
from django.db.models import Q
from django.utils import timezone

from annotate.errors import UserError
from annotate.models import ChatEndpoint
from annotate.runs.child import LEASH, SITE_SECRETS
from annotate.runs.directory import model_path

LEASE = timedelta(seconds=20)
STOP_SECONDS = 5.0
# What `python -m training serve` prints once it answers.
READY = re.compile(r"^serving .* on (http://\S+)$", re.MULTILINE)
LAST_WORDS = 4000


class ModelServers:
    """The models that this worker serves. Call `beat` every second or so, from one thread."""

    def __init__(self, worker: str):
        self.worker = worker
        self.processes: dict[int, subprocess.Popen] = {}

    def beat(self, now: datetime | None = None) -> None:
        """Renews what is served here, ends what is wanted no more, starts what is wanted and nobody serves.

        In this order: a lease that ran out while this machine was busy is renewed, where nobody else has taken it.
        """
        now = now or timezone.now()
        for pk in list(self.processes):
            self._look_after(pk, now)
        free = Q(lease_until=None) | Q(lease_until__lt=now)
        for endpoint in ChatEndpoint.objects.filter(free, served=True).select_related("model"):
            lease = {"server": self.worker, "lease_until": now + LEASE, "base_url": ""}
            if ChatEndpoint.objects.filter(free, pk=endpoint.pk, served=True).update(**lease):
                self._start(endpoint)

    def stop(self) -> None:
        for pk in list(self.processes):
            self._end(pk)

    def _start(self, endpoint: ChatEndpoint) -> None:
        if endpoint.pk in self.processes:
            self._kill(endpoint.pk)
        try:
            command = ["-m", "training", "serve", model_path(endpoint.model), "--port", "0"]
        except UserError as error:
            self._end(endpoint.pk, problem=error.message)
            return
        environment = {name: value for name, value in os.environ.items() if name not in SITE_SECRETS}
        log = _log(endpoint.pk)
        log.parent.mkdir(parents=True, exist_ok=True)
        with open(log, "wb") as output:
            self.processes[endpoint.pk] = subprocess.Popen(
                [sys.executable, str(LEASH), str(os.getpid()), sys.executable, *command],
                cwd=settings.BASE_DIR, env=environment, stdin=subprocess.DEVNULL, stdout=output,
                stderr=subprocess.STDOUT, start_new_session=True,
            )  # fmt: skip

    def _look_after(self, pk: int, now: datetime) -> None:
        said = _log(pk).read_text(encoding="utf-8", errors="replace")[-LAST_WORDS:]
        if self.processes[pk].poll() is not None:
            lines = [line.strip() for line in said.splitlines() if line.strip()]
            self._end(pk, problem=lines[-1] if lines else "The model’s server ended without a word.")
            return
        ready = READY.search(said)
        news = {"lease_until": now + LEASE} | ({"base_url": ready[1]} if ready else {})
        if not ChatEndpoint.objects.filter(pk=pk, server=self.worker, served=True).update(**news):
            self._end(pk)

    def _end(self, pk: int, *, problem: str = "") -> None:
        """Ends the process; with a `problem` the model is not tried again until somebody asks for it."""
        self._kill(pk)
        news = {"server": "", "lease_until": None, "base_url": ""}
        if problem:
            news |= {"served": False, "problem": problem[:500]}
        ChatEndpoint.objects.filter(pk=pk, server=self.worker).update(**news)

    def _kill(self, pk: int) -> None:
        process = self.processes.pop(pk, None)
        if process is None:
            return
        for number in (signal.SIGTERM, signal.SIGKILL):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, number)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(STOP_SECONDS)


def _log(pk: int):
    return settings.VAR_DIR / "serving" / f"{pk}.log"
