"""One attempt at a run, with a real child process: every way in which it may end, and what is written then."""

import json
import os
import shutil
import subprocess
import sys
import threading
from datetime import timedelta
from pathlib import Path

import psutil
import pytest
from django.conf import settings as django_settings
from django.db import OperationalError

from annotate.models import ModelVersion, Run
from annotate.runs import child, claim, events, follow
from tests.annotate.runs_kit import claimed, make_dataset, make_model, make_project, make_run, use_fake_trainer
from tests.servers import NEVER

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def quick_and_clean(monkeypatch):
    """Rolled-back tests use the same run ids again."""
    monkeypatch.setattr(follow, "LOOK_EVERY", 0.02)
    yield
    shutil.rmtree(django_settings.RUNS_DIR, ignore_errors=True)


@pytest.fixture
def attempt(monkeypatch, settings):
    """attempt(run, **plan): claim, supervise with the stand-in trainer, and return the row."""

    def go(run=None, stopping=follow.NEVER, **plan) -> Run:
        use_fake_trainer(monkeypatch, settings, **plan)
        run = run or make_run()
        follow.supervise(claimed(run), stopping)
        run.refresh_from_db()
        assert not processes_of(run), "the attempt left a process behind"
        return run

    return go


def directory_of(run):
    return django_settings.RUNS_DIR / str(run.pk)


def processes_of(run) -> list[psutil.Process]:
    """Every process that names the run's directory in its command."""
    found = []
    for process in psutil.process_iter(["cmdline"]):
        if str(directory_of(run)) in (process.info["cmdline"] or []):
            found.append(process)
    return found


def test_a_run_that_succeeds(attempt):
    run = attempt(make_run(params={"epochs": 2}), steps=5)
    assert (run.state, run.error, run.step, run.total_steps) == ("succeeded", "", 5, 5)
    assert run.lease_until is None and run.worker == ""
    assert run.log_tail.splitlines()[-1] == "step 5 of 5"

    written = json.loads((directory_of(run) / "config.json").read_text())
    assert written["recipe"] == "sft" and written["epochs"] == 2
    assert written["data"] == str(directory_of(run) / "data" / "demonstrations.jsonl")
    assert json.loads(Path(written["data"]).read_text()) == {"prompt": "Say 0.", "completion": "0"}

    lines = (directory_of(run) / "events.jsonl").read_text().splitlines()
    stored = list(run.events.values_list("number", "kind", "step"))
    assert stored == [(n, json.loads(line)["kind"], json.loads(line)["step"]) for n, line in enumerate(lines, 1)]

    model = run.model_made
    assert (model.kind, model.source, model.metrics) == ("policy", f"runs/{run.pk}/model", {"loss": 0.25})
    assert model.parent == run.base_model
    assert json.loads((directory_of(run) / "model/config.json").read_text())["made_from"].endswith("loop-starter")
    run.project.refresh_from_db()
    assert run.project.policy == model, "the project's first policy is promoted"


@pytest.mark.parametrize(
    ("then", "reason"),
    [
        ("refuse", "data.jsonl, line 3: expected valid JSON"),
        ("refuse before any event", "unknown recipe"),
        ("killed", "was killed (SIGKILL), most likely because the machine ran out of memory"),
        ("segfault", "was ended by signal 11. Its last words: step 4 of 4"),
        ("raise", "failed with exit status 1. Its last words: RuntimeError: the loss is not finite"),
        ("fill the disk", "The disk is full."),
        ("silent", "ended without saying that it succeeded"),
        ("half a line", "ended without saying that it succeeded"),
        ("no model", "ended without a whole model"),
    ],
)
def test_a_run_that_fails_says_why_and_registers_nothing(attempt, then, reason):
    run = attempt(then=then)
    assert run.state == "failed"
    assert reason in run.error
    assert not ModelVersion.objects.filter(run=run).exists()
    assert run.finished_at and run.lease_until is None


def test_a_missing_dataset_file_fails_with_its_name(attempt):
    run = make_run()
    (django_settings.DATASETS_DIR / f"{run.dataset.sha256}.jsonl").unlink()
    run = attempt(run)
    assert run.state == "failed"
    assert "loop demonstrations 1 are missing" in run.error


def test_damaged_rows_are_not_trained_on(attempt):
    project = make_project()
    run = make_run(project, dataset=make_dataset(project, rows=7))
    path = django_settings.DATASETS_DIR / f"{run.dataset.sha256}.jsonl"
    path.write_text(path.read_text().replace("Say 3.", "Say 4."))
    run = attempt(run)
    assert run.state == "failed" and "damaged" in run.error
    path.unlink()


def test_a_missing_model_fails_with_its_name(attempt):
    project = make_project()
    model = make_model(project, name="gone")
    (django_settings.VAR_DIR / model.source / "config.json").unlink()
    (django_settings.VAR_DIR / model.source / "model.safetensors").unlink()
    (django_settings.VAR_DIR / model.source).rmdir()
    run = attempt(make_run(project, base_model=model))
    assert run.state == "failed"
    assert "The files of the model gone are missing" in run.error


def test_a_hub_model_is_passed_on_by_its_id(attempt):
    project = make_project()
    model = ModelVersion.objects.create(project=project, kind="policy", name="qwen", source="Qwen/Qwen2.5-0.5B")
    run = attempt(make_run(project, base_model=model))
    assert json.loads((directory_of(run) / "config.json").read_text())["model"] == "Qwen/Qwen2.5-0.5B"


def test_a_launcher_that_does_not_start_fails_the_run(attempt, settings, monkeypatch):
    run = make_run()
    use_fake_trainer(monkeypatch, settings)
    settings.TRAINING_LAUNCHER = "/nowhere/accelerate launch"
    follow.supervise(claimed(run))
    run.refresh_from_db()
    assert run.state == "failed" and "No such file" in run.error


def on_step(monkeypatch, number, action):
    """Call `action` when the event of this step is stored."""
    store = events.store

    def storing(rows):
        store(rows)
        if any(row.step == number for row in rows):
            action()

    monkeypatch.setattr(events, "store", storing)


def test_cancelling_stops_the_child_after_a_checkpoint(attempt, monkeypatch):
    run = make_run()
    on_step(monkeypatch, 2, lambda: Run.objects.filter(pk=run.pk).update(cancel_requested=True))
    run = attempt(run, steps=100_000, pause=0.05)
    assert (run.state, run.error) == ("cancelled", "")
    assert list((directory_of(run) / "checkpoints").iterdir())
    assert 2 <= run.step < 100_000


def test_a_child_that_ignores_sigterm_is_killed(attempt, monkeypatch):
    monkeypatch.setattr(follow, "GRACE", 0.2)
    run = make_run()
    on_step(monkeypatch, 2, lambda: Run.objects.filter(pk=run.pk).update(cancel_requested=True))
    run = attempt(run, steps=100_000, pause=0.01, ignore_term=True)
    assert run.state == "cancelled"


def test_a_stopping_worker_hands_its_run_back_and_the_next_goes_on_from_the_checkpoint(
    attempt, monkeypatch, tmp_path
):
    stopping, hold = threading.Event(), tmp_path / "hold"
    hold.touch()
    on_step(monkeypatch, 2, stopping.set)
    run = attempt(stopping=stopping, steps=40, hold=[5, str(hold)])
    assert (run.state, run.attempt, run.finished_at) == ("queued", 0, None)
    stopped_at = run.step
    hold.unlink()

    run = attempt(run, steps=40)
    assert (run.state, run.step) == ("succeeded", 40)
    starts = [event.data["resumed_from"] for event in run.events.filter(kind="start")]
    assert starts[0] is None and starts[1] >= stopped_at
    numbers = list(run.events.values_list("number", flat=True))
    assert numbers == list(range(1, len(numbers) + 1)), "both attempts are in the diary, each line once"


def test_losing_the_run_ends_the_child_and_writes_nothing_more(attempt, monkeypatch):
    run = make_run()

    def taken_over():
        Run.objects.filter(pk=run.pk).update(worker="somebody else", attempt=2)

    on_step(monkeypatch, 2, taken_over)
    run = attempt(run, steps=100_000, pause=0.02)
    assert (run.state, run.worker, run.attempt) == ("running", "somebody else", 2)
    assert run.step < 100_000 and run.error == ""
    stored = run.events.count()
    assert stored < len((directory_of(run) / "events.jsonl").read_text().splitlines()), "its last lines are not ours"


def test_a_run_whose_worker_died_after_the_childs_end_is_only_registered(attempt):
    run = attempt(steps=3)
    ModelVersion.objects.filter(run=run).delete()
    Run.objects.filter(pk=run.pk).update(state="queued", finished_at=None)
    events_before = run.events.count()
    run = attempt(run, then="raise")
    assert run.state == "succeeded" and run.model_made
    assert run.events.count() == events_before, "the trainer was not started again"


def test_events_that_were_stored_before_are_not_doubled(attempt):
    run = attempt(then="raise", steps=3)
    before = list(run.events.values_list("number", "kind"))
    lines = (directory_of(run) / "events.jsonl").read_bytes().splitlines()
    events.store([events.RunEvent(run=run, number=n, **events.parse_event(line)) for n, line in enumerate(lines, 1)])
    assert list(run.events.values_list("number", "kind")) == before


def test_a_phase_lasts_until_the_next_step():
    def event(kind, step, **data):
        return events.RunEvent(kind=kind, step=step, data=data)

    begun = [event("start", 0, total=9), event("progress", 0, total=9, phase="sampling")]
    assert events.progress_of(begun) == {"step": 0, "total_steps": 9, "phase": "sampling"}
    assert events.progress_of([*begun, event("metrics", 1, total=9)])["phase"] == ""


def test_only_whole_lines_are_read_and_bad_ones_passed_over(tmp_path):
    run = make_run()
    path = tmp_path / "events.jsonl"
    reader = events.EventReader(run, tmp_path)
    assert reader.read() == [], "no file yet"
    path.write_text('{"kind": "start", "step": 0}\n{"kind": "metr')
    assert [(e.number, e.kind) for e in reader.read()] == [(1, "start")]
    with open(path, "a") as file:
        file.write('ics", "step": 1, "values": {"loss": NaN, "name": "a\\u0000b"}}\nnot json\n[1]\n{"kind": "end"}\n')
    rows = reader.read()
    assert [(e.number, e.kind, e.step) for e in rows] == [(2, "metrics", 1), (5, "end", 0)]
    assert rows[0].data["values"] == {"loss": None, "name": "ab"}
    assert reader.read() == []


def test_a_trainer_left_by_a_killed_worker_is_ended_before_the_next_starts(attempt, settings, monkeypatch):
    """A worker in another process starts the trainer and dies at once; the trainer does not notice (no leash)."""
    run = make_run()
    use_fake_trainer(monkeypatch, settings, steps=100_000, pause=0.01, ignore_term=True)
    directory = directory_of(run)
    directory.mkdir(parents=True)
    (directory / "config.json").write_text('{"model": "m"}')
    script = (
        "import django, sys; from pathlib import Path; django.setup(); from annotate.runs import child\n"
        "process = child.start('sft', Path(sys.argv[1])).process\n"
        "while not Path(sys.argv[1], 'events.jsonl').exists(): pass\n"
        "import os; os.kill(os.getpid(), 9)"
    )
    environment = {**os.environ, "TRAINING_LAUNCHER": settings.TRAINING_LAUNCHER,
                   "DJANGO_SETTINGS_MODULE": "annotate.settings", "PREFLOOP_VAR": str(settings.VAR_DIR)}
    died = subprocess.run([sys.executable, "-c", script, str(directory)], env=environment)
    assert died.returncode == -9
    orphans = processes_of(run)
    assert orphans, "the trainer ignores the leash's SIGTERM and goes on"
    run = attempt(run, steps=3)
    assert run.state == "succeeded"
    assert not any(orphan.is_running() and orphan.status() != psutil.STATUS_ZOMBIE for orphan in orphans)


def test_the_leash_ends_the_child_of_a_killed_parent(tmp_path):
    script = (
        "import os, subprocess, sys\n"
        f"child = subprocess.Popen([sys.executable, {str(child.LEASH)!r}, str(os.getpid()), 'sleep', '60'])\n"
        "print(child.pid, flush=True)\n"
        "sys.stdin.read()"
    )
    parent = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, stdin=subprocess.PIPE, text=True)
    sleeper = psutil.Process(int(parent.stdout.readline()))
    while sleeper.name() != "sleep":
        pass
    parent.kill()
    parent.wait()
    sleeper.wait(timeout=NEVER)


def test_the_site_keeps_its_secrets_from_the_trainer(monkeypatch, settings, tmp_path):
    monkeypatch.setenv("SECRET_KEY", "s3cret")
    monkeypatch.setenv("DATABASE_URL", "postgres://user:s3cret@db/x")
    settings.TRAINING_LAUNCHER = "env"
    (tmp_path / "config.json").write_text("{}")
    settings.TRAINING_LAUNCHER = f"{sys.executable} -c 'import os; print(dict(os.environ))'"
    with child.start("sft", tmp_path) as process:
        while not process.wait(0.05):
            pass
    assert "PATH" in (tmp_path / "log.txt").read_text()
    assert "s3cret" not in (tmp_path / "log.txt").read_text()


def test_the_log_tail_is_plain_text(tmp_path):
    (tmp_path / "log.txt").write_bytes(b"old\n" * 5000 + b" 1%|#\r 50%|##\r100%|###\n\x1b[31mred\x00\xff\n")
    assert child.log_tail(tmp_path).splitlines()[-2:] == ["100%|###", "[31mred\ufffd"]
    assert len(child.log_tail(tmp_path)) <= child.LOG_TAIL_BYTES


@pytest.mark.django_db(transaction=True)
def test_a_database_that_does_not_answer_for_a_moment_ends_no_training(attempt, monkeypatch):
    heartbeat, failures = claim.heartbeat, iter([False, True, True, True])

    def flaky(*args, **kwargs):
        if next(failures, False):
            raise OperationalError("the server is restarting")
        heartbeat(*args, **kwargs)

    monkeypatch.setattr(claim, "heartbeat", flaky)
    run = attempt(steps=5, pause=0.05)
    assert run.state == "succeeded"
    numbers = list(run.events.values_list("number", flat=True))
    assert numbers == list(range(1, len(numbers) + 1)), "what could not be stored at first was stored later"


@pytest.mark.django_db(transaction=True)
def test_a_database_that_stays_away_fails_the_run_and_the_worker_lives(attempt, monkeypatch):
    monkeypatch.setattr(claim, "LEASE", timedelta(seconds=0.1))
    heartbeat, calls = claim.heartbeat, iter([False])

    def full(*args, **kwargs):
        if next(calls, True):
            raise OperationalError("database or disk is full")
        heartbeat(*args, **kwargs)

    monkeypatch.setattr(claim, "heartbeat", full)
    run = attempt(steps=100_000, pause=0.01)
    assert run.state == "failed" and run.error == "The disk is full. database or disk is full"


def test_a_disk_that_is_full_before_the_start_fails_the_run(attempt, monkeypatch):
    def full(*args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("annotate.runs.directory.os.replace", full)
    run = attempt()
    assert run.state == "failed" and run.error.startswith("The disk is full.")
