"""How fast a project is judged, what it costs and when it will be done. Pure: counts in, figures out."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta

# Whole days that a projection looks back on, and how many it needs.
LOOK_BACK, FEWEST_DAYS = 14, 3
# 80 % of a normal distribution lie within this many standard errors.
WIDTH = 1.2816
# Beyond this a projected end says only that it is far.
MOST_DAYS = 3650


@dataclass(frozen=True)
class Projection:
    """The expected last day, and the days between which it falls four times in five; `latest` None: perhaps never."""

    expected: date
    earliest: date
    latest: date | None
    per_day: float


def by_day(counts: Mapping[date, int], today: date, days: int) -> list[tuple[date, int]]:
    """The last `days` days up to today with their counts, days without any included."""
    return [(day, counts.get(day, 0)) for day in (today - timedelta(days=back) for back in reversed(range(days)))]


def project_end(counts: Mapping[date, int], remaining: int, today: date) -> Projection | None:
    """When `remaining` judgments will be in, at the mean m of the last whole days and m ± 1.28 s/√n around it.

    n days since the first judgment, at most LOOK_BACK, today left out because it is not over; s their standard
    deviation. None where nothing remains, on fewer than FEWEST_DAYS days, or when nothing happened on them.
    """
    past = [day for day in counts if counts[day] and day < today]
    if not past or remaining <= 0:
        return None
    first = max(min(past), today - timedelta(days=LOOK_BACK))
    per_day = [counts.get(first + timedelta(days=step), 0) for step in range((today - first).days)]
    if len(per_day) < FEWEST_DAYS or not any(per_day):
        return None
    n = len(per_day)
    mean = sum(per_day) / n
    error = math.sqrt(sum((count - mean) ** 2 for count in per_day) / (n - 1) / n)

    def last_day(rate: float) -> date | None:
        days = math.ceil(remaining / rate) if rate > 0 else MOST_DAYS + 1
        return today + timedelta(days=days) if days <= MOST_DAYS else None

    expected = last_day(mean)
    if expected is None:
        return None
    return Projection(expected, last_day(mean + WIDTH * error), last_day(mean - WIDTH * error), mean)


def cost_per_judgment(rate_per_hour: float | None, seconds: float, judgments: int) -> float | None:
    """What a judgment costs: rate × hours / judgments. None without a rate or judgments."""
    if rate_per_hour is None or not judgments:
        return None
    return float(rate_per_hour) * seconds / 3600 / judgments


@dataclass(frozen=True)
class Bar:
    """A bar of a chart of days, in whole units of a 1000 × 100 drawing."""

    day: date
    count: int
    x: int
    y: int
    width: int
    height: int


def bars(days: Sequence[tuple[date, int]]) -> list[Bar]:
    """Bars side by side, the highest as high as the drawing."""
    most = max((count for _day, count in days), default=0) or 1
    step = 1000 // max(1, len(days))
    return [
        Bar(day, count, place * step + step // 10, 100 - height, step - step // 5, height)
        for place, (day, count) in enumerate(days)
        for height in [round(100 * count / most)]
    ]
