"""Active time on the server: what a page reports, bounded by the clock here."""

from datetime import UTC, datetime, timedelta

import pytest

from annotate.labeling.attention import credited, report
from annotate.labeling.queue import renew, reserve_next
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


@pytest.mark.parametrize(
    ("claimed", "shown_at"),
    [
        (None, 110),
        (20, 110),  # later than heard of: the server's own time
        (33, 107),  # three seconds before
        ("33.5", 106.5),
        (500, 90), (1e300, 90),  # no earlier than the page would have taken it back
        ("inf", 110), ("soon", 110), (-5, 110),
    ],
)  # fmt: skip
def test_a_pair_shown_ahead_counts_from_when_the_page_showed_it(ada, pairs, claimed, shown_at):
    (first, _second) = pairs(2)
    on_screen = reserve_next(first.project, ada, now=NOON)
    ahead = reserve_next(first.project, ada, exclude=[on_screen.key], now=NOON)
    renew(ahead.key, ada, now=at(110))
    judgment = submit_judgment(ada, ahead.key, 1, open_seconds=claimed, active_seconds=600, now=at(140))
    assert judgment.shown_at == at(shown_at)
    assert judgment.seconds == judgment.active_seconds == 140 - shown_at


def test_no_page_has_shown_a_pair_before_it_was_reserved(ada, pairs):
    (first,) = pairs(1)
    key = reserve_next(first.project, ada, now=NOON).key
    assert submit_judgment(ada, key, 1, open_seconds=1000, now=at(140)).shown_at == NOON


@pytest.mark.parametrize("claimed", [None, 9, 1000])
def test_time_is_not_counted_for_the_pair_read_and_for_the_one_behind_it(ada, pairs, claimed):
    """The one behind is sent so soon that the server never heard of it on the screen."""
    (first, _second) = pairs(2)
    on_screen = reserve_next(first.project, ada, now=NOON)
    ahead = reserve_next(first.project, ada, exclude=[on_screen.key], now=NOON)
    one = submit_judgment(ada, on_screen.key, 1, open_seconds=100, active_seconds=1000, now=at(100))
    other = submit_judgment(ada, ahead.key, 1, open_seconds=claimed, active_seconds=1000, now=at(110))
    assert (one.active_seconds, other.active_seconds) == (100, 9 if claimed == 9 else 10)
