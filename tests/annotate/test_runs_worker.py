"""Real Celery workers on the file-system broker: messages lost, doubled and damaged, children and workers killed."""

import os
import signal

import pytest

from tests.annotate.installation import SECONDS, Installation

pytestmark = pytest.mark.slow


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
    second = installation.queue_run()
    hold = installation.holding(1)
    worker = installation.start_worker(steps=40, hold=hold)
    installation.wait_for("first step", lambda: installation.run(first)["step"] >= 1)
    os.killpg(installation.trainers(first)[0].pid, signal.SIGKILL)
    os.unlink(hold[1])
    assert "killed (SIGKILL)" in installation.wait_for_state(first, "failed")["error"]
    assert not installation.sql("SELECT 1 FROM annotate_modelversion WHERE run_id = ?", first)
    installation.wait_for_state(second, "succeeded")
    assert worker.poll() is None


def test_a_killed_worker_takes_its_child_along_and_the_next_worker_goes_on(installation):
    run = installation.queue_run()
    worker = installation.start_worker(steps=200, hold=installation.holding(5))
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


def test_a_worker_that_is_told_to_stop_hands_its_run_back(installation):
    run = installation.queue_run()
    worker = installation.start_worker(steps=200, hold=installation.holding(5))
    installation.wait_for("some steps", lambda: installation.run(run)["step"] >= 5)
    worker.terminate()
    assert worker.wait(SECONDS) == 0
    stopped = installation.run(run)
    assert (stopped["state"], stopped["attempt"], stopped["worker"]) == ("queued", 0, "")
    assert not installation.trainers(run)

    installation.start_worker(steps=200)
    assert installation.wait_for_state(run, "succeeded")["attempt"] == 1


def test_a_snapshot_without_a_message_is_made_and_the_worker_is_known(installation):
    asked = int(installation.python(
        "from annotate.labeling.comparisons import add_prompts; from annotate.models import Dataset\n"
        "from tests.annotate.runs_kit import make_project\n"
        "project = make_project()\n"
        "add_prompts(project, [[{'role': 'user', 'content': 'Why?'}]], in_pool=True)\n"
        "print(Dataset.objects.create(project=project, kind='prompts', state='being_made').pk)"
    ))  # fmt: skip
    installation.start_worker()
    made = "SELECT rows, number FROM annotate_dataset WHERE id = ? AND state = 'ready'"
    installation.wait_for("snapshot", lambda: installation.sql(made, asked))
    assert installation.sql(made, asked) == [(1, 1)]
    assert installation.sql("SELECT queue FROM annotate_worker ORDER BY queue") == [("default",), ("gpu",)]
