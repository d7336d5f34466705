"""What the run page is told: words, progress, time left, curves that stay small and know about resuming."""

from datetime import timedelta

import pytest
from django.utils import timezone

from annotate.models import Run, RunEvent
from annotate.runs import claim
from annotate.runs.selectors import MAX_POINTS, run_view
from tests.annotate.runs_kit import make_run

pytestmark = pytest.mark.django_db


def tell(run, *events):
    """Store (kind, step, data) behind what is there."""
    last = run.events.count()
    RunEvent.objects.bulk_create(
        RunEvent(run=run, number=last + place, kind=kind, step=step, data=data)
        for place, (kind, step, data) in enumerate(events, start=1)
    )


def losses(steps, value=lambda step: float(step)):
    return [("metrics", step, {"time": 0.0, "values": {"loss": value(step)}}) for step in steps]


def test_states_in_words():
    run = make_run()
    assert run_view(run).words == "Waiting for a worker"
    run = claim.claim(run.pk, "a")
    assert run_view(run).words == "Starting"
    run.step = 3
    assert run_view(run).words == "Training"
    run.phase = "sampling"
    assert run_view(run).words == "Sampling"
    run.cancel_requested = True
    assert (run_view(run).words, run_view(run).may_cancel) == ("Stopping", False)
    run.state = Run.State.FAILED
    view = run_view(run)
    assert (view.words, view.may_resume, view.may_retry, view.may_cancel) == ("Failed", True, True, False)


def test_progress_and_time_left():
    run = claim.claim(make_run().pk, "a")
    run.step, run.total_steps = 30, 100
    now = timezone.now().timestamp()
    moves = [("progress", step, {"time": now - 60 + 2 * step}) for step in range(31)]
    tell(run, ("start", 0, {"time": now - 70}), *moves)
    view = run_view(run)
    assert view.percent == 30
    assert view.seconds_left == pytest.approx(140, abs=1), "2 seconds a step, 70 steps to go"


def test_the_speed_of_an_earlier_attempt_does_not_count():
    run = claim.claim(make_run().pk, "a")
    run.step, run.total_steps = 10, 100
    now = timezone.now().timestamp()
    tell(run, *[("progress", step, {"time": now - 5000 + step}) for step in range(10)], ("start", 9, {"time": now}),
         ("progress", 10, {"time": now}))
    assert run_view(run).seconds_left is None


def test_curves_are_short_means_of_neighbours():
    run = make_run()
    tell(run, *losses(range(1, 1001)))
    points = run_view(run).series["loss"]
    assert len(points["steps"]) == len(points["values"]) == 334 <= MAX_POINTS
    assert (points["steps"][:2], points["values"][:2]) == ([3, 6], [2.0, 5.0])
    assert points["steps"][-1] == 1000


def test_steps_that_were_done_again_after_a_resume_stand_once():
    run = make_run()
    tell(run, ("start", 0, {"resumed_from": None}), *losses(range(1, 8)))
    seen = run_view(run).last
    tell(run, ("start", 5, {"resumed_from": 5}), *losses([6], lambda step: 0.5))
    assert run_view(run).series["loss"] == {"steps": [1, 2, 3, 4, 5, 6], "values": [1, 2, 3, 4, 5, 0.5]}
    news = run_view(run, after=seen)
    assert news.restarted and news.series["loss"] == {"steps": [6], "values": [0.5]}
    assert not run_view(run, after=news.last).restarted


def test_only_what_is_new_since_the_last_look():
    run = make_run()
    tell(run, *losses([1, 2]))
    first = run_view(run)
    tell(run, *losses([3]))
    assert run_view(run, after=first.last).series["loss"]["steps"] == [3]
    assert run_view(run, after=run_view(run).last).series == {}


def test_the_newest_samples_and_the_messages():
    run = make_run()
    rows = [{"prompt": [{"role": "user", "content": "Q"}], "before": "a", "after": "b"}]
    tell(run, ("samples", 1, {"rows": []}), ("message", 1, {"level": "warning", "text": "3 rows were cut"}),
         ("samples", 2, {"rows": rows}), ("end", 2, {"status": "succeeded", "metrics": {"loss": 0.5}}))
    view = run_view(run)
    assert view.samples == rows
    assert view.messages == [{"level": "warning", "text": "3 rows were cut"}]
    assert view.metrics == {"loss": 0.5}


def test_a_look_takes_four_queries(django_assert_num_queries):
    run = make_run()
    tell(run, *losses(range(500)))
    with django_assert_num_queries(4):
        run_view(run)


def test_the_clock_stops_with_the_run():
    began = timezone.now() - timedelta(hours=2)
    run = make_run(state="cancelled", started_at=began, finished_at=began + timedelta(seconds=90))
    assert run_view(run).seconds_spent == 90
