"""Active time on the server: what a page reports, bounded by the clock here."""

from datetime import UTC, datetime, timedelta

import pytest

from annotate.labeling.attention import credited, report
from annotate.labeling.queue import reserve_next
from annotate.labeling.submit import submit_judgment
from annotate.models import Reservation

NOON = datetime(2126, 1, 1, 12, tzinfo=UTC)


def at(seconds: float) -> datetime:
    return NOON + timedelta(seconds=seconds)


@pytest.mark.parametrize(
    ("known", "claimed", "passed", "total"),
    [
        (0, 40, 60, 40),  # less than what passed: believed
        (0, 400, 60, 60),  # more than what passed: the clock's
        (30, 50, 60, 50),
        (30, 300, 60, 90),
        (30, 10, 60, 30),  # a page that was loaded again counts from nothing: nothing is taken away
        (30, -5, 60, 30),
        (30, 50, -10, 30),  # two reports out of order
        (30, "50.5", 60, 50.5),
        (30, None, 60, 30),
        (30, "nan", 60, 30),
        (30, "inf", 60, 30),
        (30, "a while", 60, 30),
    ],
)
def test_a_page_is_believed_as_far_as_the_clock_allows(known, claimed, passed, total):
    assert credited(known, NOON, claimed, at(passed)) == total


@pytest.mark.parametrize(
    ("reports", "claimed", "seconds", "active"),
    [
        ([], "25", 60, 25),
        ([], "600", 60, 60),
        ([], None, 60, None),
        ([], "soon", 60, None),
        ([(60, "50"), (120, "80")], "85", 150, 85),
        # Two minutes credited as one and a half, then 30 s at most are added, whatever the page says.
        ([(60, "50"), (120, "90")], "1000", 150, 120),
        # Without a total in the submit, the reports stand.
        ([(60, "50")], None, 90, 50),
    ],
)
def test_a_judgment_stores_what_is_credited(ada, pairs, reports, claimed, seconds, active):
    (comparison,) = pairs(1)
    key = reserve_next(comparison.project, ada, now=NOON).key
    for moment, total in reports:
        report(key, ada, total, now=at(moment))
    judgment = submit_judgment(ada, key, 1, active_seconds=claimed, now=at(seconds))
    assert (judgment.seconds, judgment.active_seconds) == (seconds, active)


def test_a_report_for_somebody_elses_pair_changes_nothing(ada, ben, pairs):
    (comparison,) = pairs(1)
    key = reserve_next(comparison.project, ada, now=NOON).key
    report(key, ben, "30", now=at(60))
    assert Reservation.objects.get(pk=key).active_seconds == 0
