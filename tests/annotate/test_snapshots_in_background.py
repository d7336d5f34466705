"""Snapshots of many rows: asked for in a request, made by a worker, and what waits for them."""

import threading
import time
from types import SimpleNamespace

import pytest
from django.conf import settings
from django.core.management import call_command
from django.db import connections
from django.utils import timezone
from rest_framework.test import APIClient

from annotate.background import claims
from annotate.datasets import snapshots
from annotate.datasets.exporting import export
from annotate.datasets.snapshots import create_snapshot, request_snapshot, rows, try_again
from annotate.datasets.tasks import make_snapshot
from annotate.errors import UserError
from annotate.labeling.queue import reserve_next
from annotate.labeling.submit import submit_judgment
from annotate.models import Dataset, Run, User
from annotate.runs import claim, launch, registry, selectors
from annotate.runs.tasks import execute_run
from tests.annotate.runs_kit import make_model

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def commit_at_once(monkeypatch):
    """What is sent on commit is sent at once, as outside a test's transaction."""
    monkeypatch.setattr("annotate.background.claims.transaction.on_commit", lambda send: send())


@pytest.fixture
def sent(monkeypatch):
    """The messages about snapshots, in place of a broker."""
    sent = []
    monkeypatch.setattr(make_snapshot, "apply_async", lambda args, **_: sent.append(args[0]))
    return sent


@pytest.fixture
def many(monkeypatch, sent):
    """Every number of rows is many; gives the messages."""
    monkeypatch.setattr(snapshots, "AT_ONCE", 0)
    return sent


@pytest.fixture
def judged(project, ada, pairs):
    """judged(2) adds so many judged pairs, and gives the project."""

    def add(count: int = 1):
        pairs(count, start=project.comparisons.count())
        for _ in range(count):
            submit_judgment(ada, reserve_next(project, ada).key, 1)
        return project

    return add


def full(_):
    raise OSError(28, "No space left on device")


def test_few_rows_are_there_at_once(judged, sent):
    dataset = request_snapshot(judged(2), "preferences")
    assert (dataset.state, dataset.number, dataset.rows, sent) == ("ready", 1, 2, [])
    assert request_snapshot(judged(0), "preferences") == dataset
    assert Dataset.objects.count() == 1


def test_many_are_made_by_a_worker_exactly_as_here(judged, many):
    project = judged(3)
    asked = request_snapshot(project, "preferences", ties=True, note="for the paper")
    assert (asked.state, asked.number, asked.sha256, many) == ("being_made", None, "", [asked.pk])
    with pytest.raises(UserError, match="not ready"):
        rows(asked)
    for format in ("jsonl", "parquet"):
        with pytest.raises(UserError, match="not ready"):
            export(asked, format)
    make_snapshot(asked.pk)
    asked.refresh_from_db()
    here = create_snapshot(project, "preferences", ties=True, note="another")
    assert asked.state == "ready" and asked.number == 1 and here.number == 2
    assert (asked.sha256, asked.rows, asked.facts) == (here.sha256, 3, here.facts)
    assert len(list(rows(asked))) == 3
    made = asked.created_at
    make_snapshot(asked.pk)
    asked.refresh_from_db()
    assert asked.created_at == made, "a message that comes twice"


def test_asked_twice_it_is_made_once(judged, many):
    project = judged()
    first = request_snapshot(project, "preferences")
    assert request_snapshot(project, "preferences") == first
    assert request_snapshot(project, "preferences", votes="all") != first, "that is another wish"
    assert len(many) == 2, "a message for each"
    make_snapshot(first.pk)
    unchanged = request_snapshot(project, "preferences")
    make_snapshot(unchanged.pk)
    for dataset in (first, unchanged):
        dataset.refresh_from_db()
    assert unchanged.same_as == first and unchanged.number is None
    assert unchanged not in snapshots.snapshots_of(project)
    assert list(rows(unchanged)) == list(rows(first)), "whoever was told this id still finds the rows"


def test_a_failure_is_told_leaves_nothing_and_is_tried_again(judged, many, monkeypatch):
    project = judged()
    asked = request_snapshot(project, "preferences")
    with monkeypatch.context() as patch:
        patch.setattr("annotate.datasets.snapshots.os.fsync", full)
        make_snapshot(asked.pk)
    asked.refresh_from_db()
    assert asked.state == "failed" and "disk is full" in asked.error
    assert not list(settings.DATASETS_DIR.glob(".*.part"))
    with pytest.raises(UserError, match="not ready"):
        rows(asked)
    assert try_again(asked) == asked == request_snapshot(project, "preferences"), "the same row, and asked for once"
    make_snapshot(asked.pk)
    asked.refresh_from_db()
    assert asked.is_ready and asked.error == "" and asked.rows == 1


def test_what_a_worker_that_died_left_is_cleared_away_by_the_next(judged, many):
    asked = request_snapshot(judged(), "preferences")
    mine = claims.claim(Dataset, asked.pk)
    settings.DATASETS_DIR.mkdir(parents=True, exist_ok=True)
    half = settings.DATASETS_DIR / f".{mine.pk}-{mine.attempt}.part"
    half.write_text('{"prompt": [')
    Dataset.objects.filter(pk=asked.pk).update(lease_until=timezone.now() - claims.LEASE)
    claims.sweep(Dataset, make_snapshot)
    assert many == [asked.pk, asked.pk], "asked for, and again when its worker was gone"
    make_snapshot(asked.pk)
    asked.refresh_from_db()
    assert asked.is_ready and asked.attempt == 2 and not half.exists()
    with pytest.raises(claims.LostOwnership):
        snapshots.make(mine)


def test_a_command_makes_what_waits_for_a_worker_itself(judged, many, tmp_path):
    asked = request_snapshot(judged(2), "preferences")
    call_command("export", "kind", "--kind", "preferences", "--out", str(tmp_path / "out.jsonl"))
    asked.refresh_from_db()
    assert asked.is_ready and len((tmp_path / "out.jsonl").read_text().splitlines()) == 2


@pytest.mark.django_db(transaction=True)
def test_a_command_waits_for_a_worker_that_is_at_it(judged, many, monkeypatch):
    asked = request_snapshot(judged(), "preferences")
    mine, waits = claims.claim(Dataset, asked.pk), threading.Event()
    monkeypatch.setattr(snapshots, "time", SimpleNamespace(sleep=lambda seconds: waits.set() or time.sleep(seconds)))

    def work():
        try:
            assert waits.wait(60)
            snapshots.make(mine)
        finally:
            connections.close_all()

    worker = threading.Thread(target=work)
    worker.start()
    try:
        assert create_snapshot(asked.project, "preferences") == asked
    finally:
        worker.join()


# The REST API.


@pytest.fixture
def api(admin):
    client = APIClient()
    client.force_authenticate(User.objects.get(pk=admin.pk))
    return client


def test_a_command_takes_over_from_a_worker_that_dies_meanwhile(judged, many, monkeypatch):
    project = judged()
    asked = request_snapshot(project, "preferences")
    assert claims.claim(Dataset, asked.pk), "a worker is at it"

    def dies(_seconds):
        Dataset.objects.filter(pk=asked.pk).update(lease_until=timezone.now() - claims.LEASE)

    monkeypatch.setattr(snapshots, "time", SimpleNamespace(sleep=dies))
    made = create_snapshot(project, "preferences")
    assert (made.pk, made.is_ready, made.attempt) == (asked.pk, True, 2)


def test_rest_answers_202_and_where_to_look(api, judged, many):
    judged(2)
    answer = api.post("/api/projects/kind/datasets/", {"kind": "preferences"}, format="json")
    assert (answer.status_code, answer.json()["state"], answer["Retry-After"]) == (202, "being_made", "2")
    assert api.get(answer["Location"]).json()["state"] == "being_made"
    refused = api.get(answer["Location"] + "jsonl/")
    assert refused.status_code == 400 and "not ready" in refused.json()["detail"]
    make_snapshot(many[0])
    ready = api.get(answer["Location"]).json()
    assert (ready["state"], ready["rows"], ready["number"]) == ("ready", 2, 1)
    assert len(b"".join(api.get(answer["Location"] + "jsonl/").streaming_content).splitlines()) == 2

    again = api.post("/api/projects/kind/datasets/", {"kind": "preferences"}, format="json")
    make_snapshot(many[1])
    moved = api.get(again["Location"])
    assert (moved.status_code, moved["Location"], moved.json()) == (303, answer["Location"], ready)
    assert api.get("/api/projects/kind/datasets/").json()["results"] == [ready]
    assert api.get(again["Location"] + "parquet/").status_code == 200


def test_rest_answers_201_for_few_and_tells_a_failure(api, judged, sent, monkeypatch):
    judged()
    answer = api.post("/api/projects/kind/datasets/", {"kind": "preferences"}, format="json")
    assert (answer.status_code, answer.json()["state"]) == (201, "ready")
    assert api.get(answer["Location"]).json() == answer.json()
    monkeypatch.setattr(snapshots, "AT_ONCE", 0)
    answer = api.post("/api/projects/kind/datasets/", {"kind": "judgments"}, format="json")
    with monkeypatch.context() as patch:
        patch.setattr("annotate.datasets.snapshots.os.fsync", full)
        make_snapshot(sent[0])
    told = api.get(answer["Location"]).json()
    assert told["state"] == "failed" and "disk is full" in told["error"]
    again = api.post("/api/projects/kind/datasets/", {"kind": "judgments"}, format="json")
    assert (again.status_code, again["Location"], again.json()["state"]) == (202, answer["Location"], "being_made")


# Runs.


@pytest.fixture
def trained(project, monkeypatch):
    """A project that can start runs; gives the messages about them."""
    registry.promote(make_model(project))
    project.refresh_from_db()
    messages = []
    monkeypatch.setattr(execute_run, "apply_async", lambda args, **_: messages.append(args[0]))
    monkeypatch.setattr("annotate.runs.claim.transaction.on_commit", lambda send: send())
    return messages


def test_a_run_waits_for_its_data_and_then_goes_on(admin, judged, many, trained):
    run = launch.create_run(judged(2), "reward", user=admin, params={})
    assert run.dataset.is_being_made and trained == []
    assert selectors.state_in_words(run) == "Waiting for its data"
    assert "no worker is running" in selectors.waits_for(run)
    claim.sweep()
    assert trained == [] and claim.claim(run.pk, "worker") is None, "not before its data is there"
    make_snapshot(many[0])
    assert trained == [run.pk]
    mine = claim.claim(run.pk, "worker")
    assert mine.dataset.is_ready and mine.dataset.rows == 2


def test_a_run_on_unchanged_data_takes_the_snapshot_that_is_there(admin, judged, many, trained):
    before = create_snapshot(judged(2), "preferences")
    run = launch.create_run(judged(0), "reward", user=admin, params={})
    make_snapshot(many[0])
    run.refresh_from_db()
    assert run.dataset == before and trained == [run.pk]


def test_a_run_whose_data_fails_fails_with_the_reason_and_resumes(admin, judged, many, trained, monkeypatch):
    run = launch.create_run(judged(2), "reward", user=admin, params={})
    with monkeypatch.context() as patch:
        patch.setattr("annotate.datasets.snapshots.os.fsync", full)
        make_snapshot(many[0])
    run.refresh_from_db()
    assert run.state == "failed" and "could not be frozen. The disk is full" in run.error
    launch.resume(run, admin)
    assert run.state == "queued" and trained == [] and many == [run.dataset_id, run.dataset_id]
    make_snapshot(many[1])
    assert trained == [run.pk]


def test_a_retry_of_a_run_whose_data_failed_freezes_it_anew(admin, judged, many, trained, monkeypatch):
    run = launch.create_run(judged(2), "reward", user=admin, params={})
    with monkeypatch.context() as patch:
        patch.setattr("annotate.datasets.snapshots.os.fsync", full)
        make_snapshot(many[0])
    run.refresh_from_db()
    again = launch.retry(run, admin)
    assert again.dataset == run.dataset and again.dataset.is_being_made
    make_snapshot(many[1])
    assert trained == [again.pk]


def test_a_dataset_that_is_not_ready_starts_no_run(admin, judged, many, trained):
    asked = request_snapshot(judged(), "preferences")
    with pytest.raises(UserError, match="not ready") as refusal:
        launch.create_run(asked.project, "reward", user=admin, params={}, dataset=asked)
    assert refusal.value.field == "dataset" and not Run.objects.exists()
