"""The same installation on PostgreSQL and Redis, chosen by environment alone: a queued run is found and finished."""

import json
import shutil
import subprocess
import sys

import psycopg
import pytest

from annotate.management.commands.serve import worker_command
from tests.annotate.installation import ROOT, embedded
from tests.annotate.runs_kit import FAKE_TRAINER
from tests.servers import NEVER, postgres, postgres_programs, redis, wait_for

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(postgres_programs() is None, reason="no PostgreSQL server is installed"),
    pytest.mark.skipif(shutil.which("redis-server") is None, reason="no Redis server is installed"),
]

QUEUE_A_RUN = """
import django; django.setup()
from annotate.runs import claim
from tests.annotate.runs_kit import make_project, make_run
claim.dispatch(make_run(make_project()).pk)
"""


def test_a_run_is_made_with_postgresql_and_redis(tmp_path):
    var = tmp_path / "var"
    var.mkdir()
    with postgres() as database, redis(tmp_path) as broker:
        environment = embedded(var) | {
            "DATABASE_URL": database,
            "CELERY_BROKER_URL": broker,
            "TRAINING_LAUNCHER": f"{sys.executable} {FAKE_TRAINER}",
            "FAKE_TRAINER": json.dumps({"steps": 3}),
        }
        for command in (["manage.py", "migrate", "-v0"], ["-c", QUEUE_A_RUN]):
            subprocess.run([sys.executable, *command], cwd=ROOT, env=environment, check=True)
        worker = subprocess.Popen(worker_command("default", "gpu"), cwd=ROOT, env=environment, start_new_session=True)

        def finished():
            with psycopg.connect(database) as connection:
                return connection.execute(
                    "SELECT state, attempt FROM annotate_run WHERE state = 'succeeded'"
                ).fetchone()

        try:
            assert wait_for(finished, "the end of the run") == ("succeeded", 1)
        finally:
            worker.terminate()
            worker.wait(NEVER)
    assert not (var / "prefloop.sqlite3").exists()
    assert not (var / "broker").exists()
