"""Work for a worker: claimed by one at a time, taken up again when its worker dies, and told why when it fails."""

import threading
from datetime import timedelta

import pytest
from django.db import IntegrityError, transaction
from django.utils import timezone

from annotate.background import claims, presence
from annotate.background.worker import MADE_BY, look_until
from annotate.datasets.tasks import make_snapshot
from annotate.models import Dataset, Worker
from tests.annotate.runs_kit import make_dataset, make_project

pytestmark = pytest.mark.django_db


@pytest.fixture
def sent(monkeypatch):
    """The messages, in place of a broker."""
    sent = []
    monkeypatch.setattr(make_snapshot, "apply_async", lambda args, **_: sent.append(args[0]))
    return sent


@pytest.fixture
def asked():
    """A snapshot that is to be made."""
    return Dataset.objects.create(project=make_project(), kind="prompts", state="being_made")


def test_one_of_many_claims_wins(asked):
    mine = claims.claim(Dataset, asked.pk)
    assert mine.attempt == 1 and claims.claim(Dataset, asked.pk) is None
    late = timezone.now() + claims.LEASE + timedelta(seconds=1)
    theirs = claims.claim(Dataset, asked.pk, late)
    assert theirs.attempt == 2
    for end in (lambda: claims.fail(mine, "Too late."), lambda: claims.hand_back(mine)):
        with pytest.raises(claims.LostOwnership):
            end()
    claims.fail(theirs, "No luck.")
    assert claims.claim(Dataset, asked.pk) is None, "what failed is made again only when somebody asks"


def test_a_dead_worker_costs_one_attempt_and_three_of_them_the_work(asked, sent, django_capture_on_commit_callbacks):
    now = timezone.now()
    for attempt in (1, 2, 3):
        assert claims.claim(Dataset, asked.pk, now).attempt == attempt
        now += claims.LEASE + timedelta(seconds=1)
        with django_capture_on_commit_callbacks(execute=True):
            claims.sweep(Dataset, make_snapshot, now)
        asked.refresh_from_db()
        assert asked.state == ("being_made" if attempt < 3 else "failed")
    assert sent == [asked.pk, asked.pk]
    assert asked.error == claims.WORKER_DIED and "more memory" in asked.error
    assert claims.ask(Dataset.objects.filter(pk=asked.pk))
    assert claims.claim(Dataset, asked.pk).attempt == 1, "asked for anew, it has all its attempts"


def test_a_lost_message_is_sent_again_after_a_while_and_not_by_a_busy_worker(
    asked, sent, django_capture_on_commit_callbacks
):
    def sweep(now, **options):
        with django_capture_on_commit_callbacks(execute=True):
            claims.sweep(Dataset, make_snapshot, now, **options)
        return len(sent)

    now = timezone.now()
    assert sweep(now, also_waiting=False) == 0
    assert sweep(now) == 1
    assert sweep(now + timedelta(seconds=5)) == 1
    assert sweep(now + claims.NUDGE_AGAIN_AFTER + timedelta(seconds=5)) == 2


def test_a_broker_that_is_away_loses_nothing(asked, monkeypatch, django_capture_on_commit_callbacks):
    def refuse(**_):
        raise OSError("no broker")

    monkeypatch.setattr(make_snapshot, "apply_async", refuse)
    with django_capture_on_commit_callbacks(execute=True):
        claims.nudge(asked, make_snapshot)
    asked.refresh_from_db()
    assert asked.is_waiting and asked.dispatched_at is None


def test_what_goes_wrong_becomes_the_reason(asked):
    for error, words in [
        (OSError(28, "No space left on device"), "The disk is full"),
        (ValueError("odd"), "ValueError: odd. The worker's log"),
    ]:

        def make(_row, error=error):
            raise error

        claims.attempt(Dataset, asked.pk, make)
        asked.refresh_from_db()
        assert asked.state == "failed" and words in asked.error
        claims.ask(Dataset.objects.filter(pk=asked.pk))


def test_a_worker_that_stops_hands_it_back_and_that_counts_for_nothing(asked, monkeypatch):
    stopping = threading.Event()
    monkeypatch.setattr(claims, "stopping", stopping)

    def make(row):
        with claims.kept(row) as look:
            look()
            stopping.set()
            look()

    claims.attempt(Dataset, asked.pk, make)
    asked.refresh_from_db()
    assert asked.is_waiting and asked.attempt == 0


@pytest.mark.django_db(transaction=True)
def test_the_lease_is_renewed_with_the_progress_until_it_is_lost(asked, monkeypatch):
    monkeypatch.setattr(claims, "RENEW_EVERY", 0.01)
    mine = claims.claim(Dataset, asked.pk, timezone.now() - claims.LEASE)
    told, lost = threading.Event(), threading.Event()

    def progress() -> dict:
        told.set()
        return {"rows": 7}

    with claims.kept(mine, progress) as look:
        assert told.wait(60)
        while not Dataset.objects.filter(pk=asked.pk, rows=7, lease_until__gt=timezone.now()).exists():
            lost.wait(0.01)
        Dataset.objects.filter(pk=asked.pk).update(worker="somebody else")
        with pytest.raises(claims.LostOwnership):
            while not lost.wait(0.01):
                look()


def test_a_worker_is_there_as_long_as_it_says_so():
    assert not presence.is_there()
    now = timezone.now()
    presence.say(["default", "gpu"], now)
    presence.say(["default", "gpu"], now + timedelta(seconds=15))
    assert Worker.objects.count() == 2
    assert presence.is_there("default") and presence.is_there("gpu") and not presence.is_there("other")
    assert not presence.is_there("gpu", now + timedelta(seconds=15) + presence.GONE_AFTER)
    Worker.objects.create(name="long gone", queue="gpu", seen_at=now - timedelta(days=1))
    presence.say(["gpu"], now)
    assert not Worker.objects.filter(name="long gone").exists()
    presence.leave()
    assert not presence.is_there()


@pytest.mark.django_db(transaction=True)
def test_each_worker_looks_after_what_it_makes(asked, sent, monkeypatch):
    assert set(MADE_BY) == set(claims.BackgroundWork.__subclasses__())
    stopping, there = threading.Event(), []
    for queue, messages in [("gpu", []), ("default", [asked.pk])]:

        def once(_seconds, queue=queue):
            there.append(presence.is_there(queue))
            stopping.set()

        monkeypatch.setattr(stopping, "wait", once)
        look_until(stopping, [queue])
        stopping.clear()
        assert sent == messages
    assert there == [True, True] and not presence.is_there("default"), "it says when it goes"


@pytest.mark.parametrize(
    "fields",
    [
        {"state": "ready"},  # without rows
        {"state": "failed"},  # without a reason
        {"state": "being_made", "error": "no"},
        {"state": "ready", "number": 9, "sha256": "0" * 64, "lease_until": timezone.now()},
        {"state": "being_made", "number": 9},
        {"state": "being_made", "options": {}, "note": ""},  # asked for already
    ],
)
def test_the_database_holds_what_a_state_means(asked, fields):
    with pytest.raises(IntegrityError), transaction.atomic():
        Dataset.objects.create(project=asked.project, kind="prompts", **fields)
    make_dataset(asked.project, kind="prompts")
