"""`manage.py serve`: the site and the worker start together and end together, however one of them ends."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import urllib.request

import psutil
import pytest

from tests.annotate.installation import ROOT, SECONDS, Installation

pytestmark = pytest.mark.slow


@pytest.fixture
def installation(tmp_path):
    made = Installation(tmp_path)
    yield made
    made.stop()


def serve(installation, port: int = 0, **plan) -> tuple[subprocess.Popen, str, list[psutil.Process]]:
    """(the process, its address, everything it started) once the site answers; port 0 takes a free one."""
    command = [sys.executable, "manage.py", "serve", "--port", str(port)]
    process = installation.start(command, FAKE_TRAINER=json.dumps(plan))
    installation.wait_for("address", lambda: "Ctrl-C stops" in installation.log.read_text())
    address = re.search(r"http://127\.0\.0\.1:\d+", installation.log.read_text()).group()
    return process, address, psutil.Process(process.pid).children(recursive=True)


def alive(processes) -> list[psutil.Process]:
    return [one for one in processes if one.is_running() and one.status() != psutil.STATUS_ZOMBIE]


def child(processes, word: str) -> psutil.Process:
    return next(one for one in processes if any(word in part for part in one.cmdline()))


def test_ctrl_c_stops_both_and_the_run_goes_on_at_the_next_start(installation):
    run = installation.queue_run()
    process, address, started = serve(installation, steps=200, hold=installation.holding(3))
    assert urllib.request.urlopen(f"{address}/login/").status == 200
    installation.wait_for("some steps", lambda: installation.run(run)["step"] >= 3)
    trainer = installation.trainers(run)
    process.send_signal(signal.SIGINT)
    assert process.wait(SECONDS) == 0
    assert not alive(started + trainer)
    assert "Traceback" not in installation.log.read_text()
    assert installation.run(run)["state"] == "queued"

    serve(installation, steps=200)
    assert installation.wait_for_state(run, "succeeded")["attempt"] == 1


@pytest.mark.parametrize("name", ["gunicorn", "celery"])
def test_when_one_dies_the_other_is_stopped_and_the_reason_told(installation, name):
    process, _, started = serve(installation)
    os.kill(child(started, name).pid, signal.SIGKILL)
    assert process.wait(SECONDS) == 1
    installation.wait_for("end of all", lambda: not alive(started))
    assert f"{'site' if name == 'gunicorn' else 'worker'} ended by itself" in installation.log.read_text()
    assert "Traceback" not in installation.log.read_text()


def test_killed_itself_it_leaves_nothing_behind(installation):
    process, _, started = serve(installation)
    process.kill()
    process.wait()
    installation.wait_for("end of all", lambda: not alive(started))


def test_a_port_in_use_is_one_sentence(installation):
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        command = [sys.executable, "manage.py", "serve", "--port", str(port)]
        done = subprocess.run(command, cwd=ROOT, env=installation.environment, capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stdout == "" and len(done.stderr.splitlines()) == 1
    assert f"Port {port} on 127.0.0.1 cannot be used" in done.stderr
