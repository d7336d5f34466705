"""Active time: for how long somebody worked with a page, which is less than for how long it was open.

The page measures (static/js/attention.js), alike for comparisons, chats and texts: it counts while its tab is visible
and the last pointer, key or scroll is at most a minute ago, and reports its total with every renewal of the
reservation, with every draft of a text, and with what is submitted. The server cannot see eyes, but it has a clock:
between two reports the total may grow by no more than the time that passed here, and it never shrinks. So a page that
claims too much gets at most what its open time allows.
"""

import math
from datetime import datetime, timedelta

from django.utils import timezone

from annotate.models import Reservation
from annotate.models.attended import Attended

# A pair that was reserved ahead is on the screen before the server hears of it. The page takes it back where that takes
# longer than this (static/js/ahead.js), so no page can have shown it earlier.
HEARD_WITHIN = timedelta(seconds=20)
_A_DAY = 86_400.0


def credited(known: float, since: datetime, claimed: float | str | None, now: datetime) -> float:
    """The active seconds at `now`, of which `known` were credited at `since` and `claimed` is the page's new total.

    What cannot be read as a number claims nothing new: a broken clock costs nobody a judgment.
    """
    passed = max(0.0, (now - since).total_seconds())
    new = (_number(claimed) or 0.0) - known
    return known + min(max(0.0, new), passed)


def report(key, user, claimed: float | str | None, *, now: datetime | None = None) -> None:
    """Stores what the page of this reservation counted so far; nothing happens for a key that is not `user`'s."""
    reservation = Reservation.objects.filter(key=key, annotator=user).first()
    if reservation is not None and reservation.shown_at:
        credit(reservation, reservation.shown_at, claimed, now or timezone.now())


def credit(work: Attended, begun: datetime, claimed: float | str | None, now: datetime) -> None:
    """Stores what the page of `work` counted since it was `begun`; nothing happens where it counted nothing."""
    if _number(claimed) is None:
        return
    since = work.active_at or begun
    # Two reports at once: one of them changes the row, and the other one's share comes with its next total.
    type(work).objects.filter(pk=work.pk, active_at=work.active_at).update(
        active_seconds=credited(work.active_seconds, since, claimed, now), active_at=max(now, since)
    )


def shown_since(
    reservation: Reservation, open_seconds: float | str | None, now: datetime, before: datetime | None = None
) -> datetime:
    """When the page put the pair on the screen, `open_seconds` ago as it says.

    That may be earlier than the server heard of it, within bounds of our own clock, and never before the reservation.
    Of a pair that was reserved ahead the server may have heard nothing: it was not on the screen while the person's
    judgment at `before` was made.
    """
    seconds = _number(open_seconds)
    opened = None if seconds is None or seconds < 0 else now - timedelta(seconds=min(seconds, _A_DAY))
    earliest = reservation.reserved_at
    if reservation.shown_at is None:
        return min(now, max(earliest, before or earliest, opened or earliest))
    heard = reservation.shown_at
    return heard if opened is None else min(heard, max(earliest, heard - HEARD_WITHIN, opened))


def at_submit(
    reservation: Reservation, claimed: float | str | None, now: datetime, shown_at: datetime
) -> float | None:
    """The active seconds of a judgment, within the time since the pair was shown; None if the page never reported."""
    if _number(claimed) is None and reservation.active_at is None:
        return None
    total = credited(reservation.active_seconds, reservation.active_at or shown_at, claimed, now)
    return min(total, max(0.0, (now - shown_at).total_seconds()))


def within(claimed: float | str | None, begun: datetime, now: datetime) -> float | None:
    """The active seconds of what is said once and was never reported before; None if the page did not count."""
    return None if _number(claimed) is None else credited(0.0, begun, claimed, now)


def _number(value: float | str | None) -> float | None:
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return number if math.isfinite(number) else None
