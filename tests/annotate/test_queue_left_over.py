"""Who has judged nearly all that is open for others: the little that is left is listed once and then looked up."""

import random
from collections import Counter
from datetime import timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from annotate.labeling import draw
from annotate.labeling.queue import BELIEVED, release, reserve_next
from annotate.labeling.submit import skip_comparison, submit_judgment
from annotate.models import Judgment, PersonTally, Slot
from tests.annotate.test_queue import data_queries
from tests.queue import in_order

pytestmark = pytest.mark.django_db
WANTED = 15
OPEN = draw.REACH // WANTED + 10


@pytest.fixture
def nearly_all(project, pairs):
    """nearly_all(user, 5): more than REACH slots are open, and `user` has judged all but five of their comparisons."""
    project.random_share = 0.5

    def judge(user, left: int):
        made = pairs(OPEN, wanted=WANTED)
        yesterday = timezone.now() - timedelta(days=1)
        Slot.objects.filter(comparison__in=made).update(free_from=yesterday)
        rest = random.Random(0).sample(made, left)
        Judgment.objects.bulk_create(
            Judgment(comparison=comparison, annotator=user, left=comparison.first, right=comparison.second,
                     rating=1, winner=comparison.first, created_at=timezone.now())
            for comparison in made if comparison not in rest
        )  # fmt: skip
        return sorted(rest, key=lambda comparison: comparison.pk)

    return judge


def draw_and_put_back(project, user, times: int):
    """Reservations out of the same queue: what was drawn is free again before the next one."""
    rng, free_from = random.Random(2), dict(Slot.objects.values_list("pk", "free_from"))
    for _ in range(times):
        drawn = reserve_next(project, user, rng=rng)
        Slot.objects.filter(pk=drawn.slot_id).update(holder=None, free_from=free_from[drawn.slot_id])
        yield drawn


def listed(user):
    return PersonTally.objects.get(user=user).left_over


def test_what_is_left_is_listed_and_drawn_with_its_true_probability(project, ada, nearly_all):
    rest = nearly_all(ada, 4)
    counts = Counter()
    for drawn in draw_and_put_back(project, ada, 100):
        is_first = drawn.comparison == rest[0]
        assert drawn.draw_probability == pytest.approx(0.5 + 0.5 / 4 if is_first else 0.5 / 4)
        counts[drawn.comparison] += 1
    assert set(counts) == set(rest) and counts[rest[0]] >= 40, "0.625 of 100 is 62"
    assert sorted(listed(ada)) == sorted(Slot.objects.filter(comparison__in=rest).values_list("pk", flat=True))


def test_with_a_list_the_next_pair_costs_five_queries_and_looks_along_no_queue(project, ada, nearly_all):
    rest = nearly_all(ada, 6)
    submit_judgment(ada, reserve_next(project, ada).key, 1)
    with CaptureQueriesContext(connection) as captured:
        drawn = reserve_next(project, ada)
    assert drawn.comparison in rest
    queries = data_queries(captured)
    assert len(queries) <= 5
    assert "slot_queue" not in plan_of(queries) and "slot_spread" not in plan_of(queries)


def test_what_is_given_back_or_added_is_found_beside_the_list(project, ada, ben, nearly_all, pairs):
    (contested,) = pairs(1, start=OPEN)
    held = reserve_next(in_order(project), ben)
    assert held.comparison == contested
    project.random_share = 0.5
    rest = nearly_all(ada, 2)
    first = reserve_next(project, ada)
    assert first.comparison in rest and len(listed(ada)) == 2 * WANTED
    submit_judgment(ada, first.key, 1)
    skip_comparison(ada, reserve_next(project, ada).key, "other")
    assert reserve_next(project, ada) is None
    release(held.key, ben)
    drawn = reserve_next(project, ada)
    assert drawn.comparison == contested
    submit_judgment(ada, drawn.key, 1)
    assert reserve_next(project, ada) is None
    (new,) = pairs(1, start=OPEN + 1)
    assert reserve_next(project, ada).comparison == new


def test_after_a_while_everything_is_looked_through_again(project, ada, nearly_all):
    (last,) = nearly_all(ada, 1)
    submit_judgment(ada, reserve_next(project, ada).key, 1)
    assert reserve_next(project, ada) is None
    # As no service does it: a judgment is gone.
    forgotten = Judgment.objects.filter(annotator=ada).exclude(comparison=last).first()
    forgotten.delete()
    assert reserve_next(project, ada) is None
    assert reserve_next(project, ada, now=timezone.now() + BELIEVED).comparison == forgotten.comparison


def test_too_much_for_a_list_is_drawn_from_the_whole_circle(project, ada, nearly_all, monkeypatch):
    monkeypatch.setattr(draw, "MOST_LISTED", 3)
    rest = nearly_all(ada, 4)
    for drawn in draw_and_put_back(project, ada, 10):
        is_first = drawn.comparison == rest[0]
        assert drawn.comparison in rest
        assert drawn.draw_probability == pytest.approx(0.5 + 0.5 / 4 if is_first else 0.5 / 4)
        assert listed(ada) is None


def plan_of(queries: list[str]) -> str:
    """SQLite's plan of the one statement that looks for a pair; nothing on another database."""
    if connection.vendor != "sqlite":
        return ""
    with connection.cursor() as cursor:
        steps = [cursor.execute(f"EXPLAIN QUERY PLAN {sql}").fetchall() for sql in queries if sql.startswith("WITH")]
    return "\n".join(row[3] for rows in steps for row in rows)
