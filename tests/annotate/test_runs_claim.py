"""A run has one owner at a time: doubled and lost messages, late heartbeats and dead workers change nothing else."""

from datetime import timedelta

import pytest
from django.utils import timezone

from annotate.models import Run
from annotate.runs import claim
from annotate.runs.claim import LostOwnership
from tests.annotate.runs_kit import make_project, make_run

pytestmark = pytest.mark.django_db
NOW = timezone.now()
LATER = NOW + claim.LEASE + timedelta(seconds=1)


@pytest.fixture
def sent(monkeypatch):
    """The messages that would go to the broker."""
    messages = []
    monkeypatch.setattr("annotate.runs.tasks.execute_run.apply_async", lambda args, retry: messages.append(args[0]))
    return messages


def test_a_doubled_message_claims_once():
    run = make_run()
    first, second = claim.claim(run.pk, "a", NOW), claim.claim(run.pk, "b", NOW)
    assert first.worker.startswith("a:") and second is None
    run.refresh_from_db()
    assert (run.state, run.attempt, run.lease_until) == ("running", 1, NOW + claim.LEASE)


@pytest.mark.parametrize("state", ["succeeded", "failed", "cancelled"])
def test_a_late_message_for_a_finished_run_claims_nothing(state):
    run = make_run(state=state, finished_at=NOW, error="why")
    assert claim.claim(run.pk, "a") is None


def test_a_running_run_is_claimed_again_only_when_its_lease_is_out():
    run = make_run()
    first = claim.claim(run.pk, "a", NOW)
    claim.heartbeat(first, NOW + timedelta(seconds=50))
    assert claim.claim(run.pk, "b", LATER) is None
    second = claim.claim(run.pk, "b", LATER + claim.LEASE)
    assert second.attempt == 2
    assert second.started_at == NOW, "the first start stays"


def test_who_lost_the_run_writes_nothing_more():
    run = make_run()
    first = claim.claim(run.pk, "a", NOW)
    second = claim.claim(run.pk, "a", LATER)
    for write in (
        lambda: claim.heartbeat(first, step=99),
        lambda: claim.finish(first, Run.State.FAILED, "late"),
        lambda: claim.hand_back(first),
    ):
        with pytest.raises(LostOwnership):
            write()
    run.refresh_from_db()
    assert (run.state, run.worker, run.step, run.error) == ("running", second.worker, 0, "")


def test_a_dead_worker_costs_one_attempt_and_three_of_them_the_run(sent, django_capture_on_commit_callbacks):
    run = make_run()
    now = NOW
    for attempt in (1, 2, 3):
        assert claim.claim(run.pk, "a", now).attempt == attempt
        now += claim.LEASE + timedelta(seconds=1)
        with django_capture_on_commit_callbacks(execute=True):
            nudged = claim.sweep(now)
        run.refresh_from_db()
        assert (run.state, nudged) == (("queued", [run.pk]) if attempt < 3 else ("failed", []))
    assert "died or lost contact 3 times" in run.error
    assert sent == [run.pk, run.pk]


def test_a_worker_that_stops_in_order_costs_no_attempt():
    run = make_run()
    for _ in range(5):
        claim.hand_back(claim.claim(run.pk, "a"))
    run.refresh_from_db()
    assert (run.state, run.attempt) == ("queued", 0)


def test_a_lost_message_is_sent_again_once_a_minute(sent, django_capture_on_commit_callbacks):
    run = make_run(dispatched_at=NOW)
    for seconds, count in ((30, 0), (61, 1), (62, 1), (120, 1), (122, 2)):
        with django_capture_on_commit_callbacks(execute=True):
            claim.sweep(NOW + timedelta(seconds=seconds))
        # The nudge wrote the clock's time; the test's own clock goes on.
        Run.objects.filter(pk=run.pk, dispatched_at__gt=NOW).update(dispatched_at=NOW + timedelta(seconds=61))
        assert len(sent) == count, seconds


def test_a_busy_worker_recovers_the_dead_but_nudges_nobody(sent, django_capture_on_commit_callbacks):
    waiting = make_run(dispatched_at=NOW)
    dead = make_run(waiting.project)
    claim.claim(dead.pk, "a", NOW)
    with django_capture_on_commit_callbacks(execute=True):
        assert claim.sweep(LATER, nudge=False) == []
    dead.refresh_from_db()
    assert dead.state == "queued" and sent == []


def test_a_broker_out_of_reach_loses_nothing(monkeypatch, django_capture_on_commit_callbacks):
    def refuse(**kwargs):
        raise ConnectionRefusedError

    monkeypatch.setattr("annotate.runs.tasks.execute_run.apply_async", refuse)
    run = make_run()
    with django_capture_on_commit_callbacks(execute=True):
        claim.dispatch(run.pk)
    run.refresh_from_db()
    assert (run.state, run.dispatched_at) == ("queued", None), "the next sweep sends it at once"


def test_a_cancelled_run_of_a_dead_worker_is_not_started_again():
    project = make_project()
    run = make_run(project)
    claim.claim(run.pk, "a", NOW)
    Run.objects.filter(pk=run.pk).update(cancel_requested=True)
    handed_back = make_run(project, cancel_requested=True)
    claim.sweep(LATER)
    assert {run.state for run in project.runs.all()} == {"cancelled"}
    assert claim.claim(handed_back.pk, "b") is None


def test_the_sweep_leaves_living_runs_alone():
    run = make_run()
    claim.claim(run.pk, "a", NOW)
    claim.sweep(NOW + claim.LEASE - timedelta(seconds=1))
    run.refresh_from_db()
    assert run.state == "running" and run.worker
