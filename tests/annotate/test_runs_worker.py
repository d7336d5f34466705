"""Real Celery workers on the file-system broker: messages lost, doubled and damaged, children and workers killed."""

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from annotate.management.commands.serve import worker_command
from tests.annotate.runs_kit import FAKE_TRAINER

pytestmark = pytest.mark.slow
ROOT = Path(__file__).resolve().parents[2]
SECONDS = 40.0


class Installation:
    """A var/ folder of its own with a database, a broker, and the workers that the test starts."""

    def __init__(self, var: Path):
        self.var = var
        self.workers: list[subprocess.Popen] = []
        self.environment = {
            **os.environ,
            "PREFLOOP_VAR": str(var),
            "DJANGO_SETTINGS_MODULE": "annotate.settings",
            "TRAINING_LAUNCHER": f"{sys.executable} {FAKE_TRAINER}",
        }
        self.environment.pop("DATABASE_URL", None)
        self.environment.pop("CELERY_BROKER_URL", None)
        self.python("from django.core.management import call_command; call_command('migrate', verbosity=0)")

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

    def start_worker(self, **plan) -> subprocess.Popen:
        with open(self.var / "worker.log", "a") as log:
            worker = subprocess.Popen(
                worker_command(), cwd=ROOT, stdout=log, stderr=log, start_new_session=True,
                env={**self.environment, "FAKE_TRAINER": json.dumps(plan)},
            )  # fmt: skip
        self.workers.append(worker)
        return worker

    def sql(self, statement: str, *values) -> list:
        with sqlite3.connect(self.var / "prefloop.sqlite3", timeout=30) as database:
            return database.execute(statement, values).fetchall()

    def run(self, pk: int) -> dict:
        names = ("state", "attempt", "step", "error", "worker")
        rows = self.sql(f"SELECT {', '.join(names)} FROM annotate_run WHERE id = ?", pk)
        return dict(zip(names, rows[0], strict=True))

    def wait_for(self, what, condition):
        give_up_at = time.monotonic() + SECONDS
        while not condition():
            assert time.monotonic() < give_up_at, f"no {what}:\n{(self.var / 'worker.log').read_text()[-3000:]}"
            subprocess.run(["sleep", "0.05"])

    def wait_for_state(self, pk: int, state: str) -> dict:
        self.wait_for(f"state {state} of run {pk}, which is {self.run(pk)}", lambda: self.run(pk)["state"] == state)
        return self.run(pk)

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
        for worker in self.workers:
            if worker.poll() is None:
                worker.terminate()
                worker.wait(SECONDS)


@pytest.fixture
def installation(tmp_path):
    made = Installation(tmp_path)
    yield made
    made.stop()


def test_messages_may_be_doubled_damaged_or_lost(installation):
    queue = installation.var / "broker" / "queue"
    doubled = installation.queue_run(messages=3)
    lost = installation.queue_run(messages=0)
    (queue / "0_half-written.gpu.msg").write_text('{"body": "W1tdLC')
    (queue / "0_empty.gpu.msg").write_text("")

    worker = installation.start_worker(steps=3)
    for run in (doubled, lost):
        assert installation.wait_for_state(run, "succeeded")["attempt"] == 1
    installation.wait_for("empty queue", lambda: not installation.messages())
    assert worker.poll() is None, "the damaged messages did not end the worker"
    assert installation.sql("SELECT run_id, source FROM annotate_modelversion WHERE run_id IS NOT NULL ORDER BY 1") == [
        (doubled, f"runs/{doubled}/model"), (lost, f"runs/{lost}/model"),
    ]  # fmt: skip
    assert not list((installation.var / "broker" / "control").glob("*pidbox*")), "nothing that piles up"


def test_a_killed_child_fails_its_run_and_the_worker_takes_the_next(installation):
    first = installation.queue_run()
    worker = installation.start_worker(steps=40, pause=0.1)
    installation.wait_for("first step", lambda: installation.run(first)["step"] >= 1)
    second = installation.queue_run()
    os.killpg(installation.trainers(first)[0].pid, signal.SIGKILL)
    assert "killed (SIGKILL)" in installation.wait_for_state(first, "failed")["error"]
    assert not installation.sql("SELECT 1 FROM annotate_modelversion WHERE run_id = ?", first)
    installation.wait_for_state(second, "succeeded")
    assert worker.poll() is None


def test_a_killed_worker_takes_its_child_along_and_the_next_worker_goes_on(installation):
    run = installation.queue_run()
    worker = installation.start_worker(steps=200, pause=0.05)
    installation.wait_for("some steps", lambda: installation.run(run)["step"] >= 5)
    os.killpg(worker.pid, signal.SIGKILL)
    worker.wait()
    installation.wait_for("end of the orphan", lambda: not installation.trainers(run))
    assert installation.run(run)["state"] == "running", "nobody was left to write another state"

    installation.sql("UPDATE annotate_run SET lease_until = '2020-01-01 00:00:00' WHERE id = ?", run)  # time goes by
    installation.start_worker(steps=200)
    after = installation.wait_for_state(run, "succeeded")
    assert (after["attempt"], after["step"]) == (2, 200)
    resumed = installation.sql(
        "SELECT data ->> 'resumed_from' FROM annotate_runevent WHERE run_id = ? AND kind = 'start' ORDER BY number", run
    )
    assert resumed[0] == (None,) and int(resumed[1][0]) >= 5


def test_a_worker_that_is_told_to_stop_hands_its_run_back_within_seconds(installation):
    run = installation.queue_run()
    worker = installation.start_worker(steps=200, pause=0.05)
    installation.wait_for("some steps", lambda: installation.run(run)["step"] >= 5)
    worker.terminate()
    assert worker.wait(15) == 0
    stopped = installation.run(run)
    assert (stopped["state"], stopped["attempt"], stopped["worker"]) == ("queued", 0, "")
    assert not installation.trainers(run)

    installation.start_worker(steps=200)
    assert installation.wait_for_state(run, "succeeded")["attempt"] == 1
