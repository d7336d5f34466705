"""An installation of its own in a folder: database, broker, and the processes that a test starts in it."""

import contextlib
import functools
import json
import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil

from annotate.management.commands.serve import worker_command
from tests.annotate.runs_kit import FAKE_TRAINER
from tests.servers import NEVER

ROOT = Path(__file__).resolve().parents[2]
# For what a process does soon, or never: it begins by importing all of Django and Celery, beside whatever else runs.
SECONDS = 5 * NEVER
DATABASE = "prefloop.sqlite3"


class Installation:
    """A var/ folder with a migrated database, an empty broker and the stand-in trainer."""

    def __init__(self, var: Path):
        self.var = var
        self.log = var / "processes.log"
        self.processes: list[subprocess.Popen] = []
        self.environment = embedded(var) | {"TRAINING_LAUNCHER": f"{sys.executable} {FAKE_TRAINER}"}
        shutil.copy(_migrated_database(), var / DATABASE)

    def python(self, code: str) -> str:
        script = f"import django; django.setup()\n{code}"
        done = subprocess.run(
            [sys.executable, "-c", script], env=self.environment, cwd=ROOT, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def queue_run(self, messages: int = 1) -> int:
        """A queued run with so many messages in the broker."""
        return int(self.python(
            "from annotate.models import Project; from annotate.runs import claim\n"
            "from tests.annotate.runs_kit import make_project, make_run\n"
            "run = make_run(Project.objects.first() or make_project())\n"
            f"for _ in range({messages}): claim.dispatch(run.pk)\n"
            "print(run.pk)"
        ))  # fmt: skip

    def start(self, command: list[str], **environment: str) -> subprocess.Popen:
        """A process in a session of its own that writes to `log`."""
        with open(self.log, "a") as log:
            process = subprocess.Popen(
                command, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
                env={**self.environment, **environment},
            )  # fmt: skip
        self.processes.append(process)
        return process

    def start_worker(self, **plan) -> subprocess.Popen:
        return self.start(worker_command("default", "gpu"), FAKE_TRAINER=json.dumps(plan))

    def sql(self, statement: str, *values) -> list:
        with contextlib.closing(sqlite3.connect(self.var / DATABASE, timeout=SECONDS)) as database, database:
            return database.execute(statement, values).fetchall()

    def run(self, pk: int) -> dict:
        names = ("state", "attempt", "step", "error", "worker")
        rows = self.sql(f"SELECT {', '.join(names)} FROM annotate_run WHERE id = ?", pk)
        return dict(zip(names, rows[0], strict=True))

    def wait_for(self, what, condition):
        give_up_at = time.monotonic() + SECONDS
        while not condition():
            assert time.monotonic() < give_up_at, f"no {what}:\n{self.log.read_text()[-3000:]}"
            subprocess.run(["sleep", "0.05"])

    def wait_for_state(self, pk: int, state: str) -> dict:
        self.wait_for(f"state {state} of run {pk}, which is {self.run(pk)}", lambda: self.run(pk)["state"] == state)
        return self.run(pk)

    def holding(self, step: int) -> list:
        """A trainer's `hold`: it waits at this step until the file is gone."""
        file = self.var / "hold"
        file.touch()
        return [step, str(file)]

    def trainers(self, pk: int) -> list[psutil.Process]:
        directory = str(self.var / "runs" / str(pk))
        found = []
        for process in psutil.process_iter(["cmdline", "status"]):
            if directory in (process.info["cmdline"] or []) and process.info["status"] != psutil.STATUS_ZOMBIE:
                found.append(process)
        return found

    def messages(self) -> list[str]:
        return sorted(path.name for path in (self.var / "broker" / "queue").iterdir())

    def stop(self):
        for process in self.processes:
            if process.poll() is None:
                process.terminate()
                process.wait(SECONDS)


def embedded(var: Path) -> dict[str, str]:
    """The environment of an installation that needs no servers, with the product's own settings."""
    servers = {"DATABASE_URL", "CELERY_BROKER_URL"}
    environment = {name: value for name, value in os.environ.items() if name not in servers}
    return environment | {"PREFLOOP_VAR": str(var), "DJANGO_SETTINGS_MODULE": "annotate.settings"}


@functools.cache
def _migrated_database() -> Path:
    """Made once for all installations of this test process."""
    var = Path(tempfile.mkdtemp(prefix="prefloop-test-"))
    command = [sys.executable, "manage.py", "migrate", "--verbosity", "0"]
    subprocess.run(command, cwd=ROOT, env=embedded(var), check=True)
    return var / DATABASE
