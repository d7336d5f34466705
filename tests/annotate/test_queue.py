"""Which pair a person gets: theirs alone, the same after a reload, never again what they judged or skipped."""

import random
from datetime import timedelta

import pytest
from django.core.exceptions import PermissionDenied
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from annotate.errors import UserError
from annotate.labeling.progress import QueueState, queue_state, reserved_by_others
from annotate.labeling.queue import release, renew, reserve_next
from annotate.labeling.submit import skip_comparison, submit_judgment
from annotate.models import Reservation, Slot
from annotate.projects import update_project
from tests.annotate.counting import open_for

pytestmark = pytest.mark.django_db


def seconds_later(seconds: float):
    return timezone.now() + timedelta(seconds=seconds)


def data_queries(context) -> list[str]:
    words = ("WITH", "SELECT", "INSERT", "UPDATE", "DELETE")
    return [query["sql"] for query in context.captured_queries if query["sql"].startswith(words)]


def test_the_oldest_pair_comes_first_and_a_reload_shows_it_again(project, ada, pairs):
    first, _ = pairs(2)
    drawn = reserve_next(project, ada)
    again = reserve_next(project, ada)
    assert drawn.comparison == first
    assert (again.key, again.swapped, again.shown_at) == (drawn.key, drawn.swapped, drawn.shown_at)


def test_two_people_do_not_get_the_same_slot(project, ada, ben, pairs):
    first, second = pairs(2)
    assert reserve_next(project, ada).comparison == first
    assert reserve_next(project, ben).comparison == second


def test_two_people_judge_one_comparison_that_wants_two(project, ada, ben, person, pairs):
    (only,) = pairs(1, wanted=2)
    assert reserve_next(project, ada).comparison == only
    assert reserve_next(project, ben).comparison == only
    assert reserve_next(project, person("cyd")) is None


def test_no_second_slot_of_a_comparison_for_the_same_person(project, ada, pairs):
    pairs(1, wanted=2)
    drawn = reserve_next(project, ada)
    assert reserve_next(project, ada, exclude=[drawn.key]) is None
    submit_judgment(ada, drawn.key, 1)
    assert reserve_next(project, ada) is None


def test_the_next_pair_is_reserved_behind_the_one_on_the_screen_and_no_third(project, ada, pairs):
    first, second, _ = pairs(3)
    reading = reserve_next(project, ada)
    ahead = reserve_next(project, ada, exclude=[reading.key])
    assert (reading.comparison, ahead.comparison) == (first, second)
    assert ahead.shown_at is None
    assert reserve_next(project, ada, exclude=[str(reading.key)]).key == ahead.key
    assert reserve_next(project, ada, exclude=[reading.key, ahead.key]) is None
    assert Slot.objects.filter(holder=ada).count() == 2


def test_time_starts_when_the_pair_reserved_ahead_is_shown(project, ada, pairs):
    pairs(2)
    start = timezone.now()
    reading = reserve_next(project, ada, now=start)
    ahead = reserve_next(project, ada, exclude=[reading.key], now=start)
    submit_judgment(ada, reading.key, 1, now=start + timedelta(seconds=20))
    shown = reserve_next(project, ada, now=start + timedelta(seconds=20))
    assert shown.key == ahead.key
    judgment = submit_judgment(ada, shown.key, 4, now=start + timedelta(seconds=33))
    assert judgment.seconds == pytest.approx(13)


def test_an_expired_lease_counts_as_open_and_the_slot_changes_hands(project, ada, ben, pairs):
    (only,) = pairs(1)
    drawn = reserve_next(project, ada)
    assert reserve_next(project, ben, now=seconds_later(project.lease_seconds - 60)) is None
    taken = reserve_next(project, ben, now=seconds_later(project.lease_seconds + 60))
    assert taken.comparison == only
    assert taken.key != drawn.key


def test_renewing_keeps_the_slot_and_a_lost_one_cannot_be_renewed(project, ada, ben, pairs):
    pairs(1)
    drawn = reserve_next(project, ada)
    assert renew(drawn.key, ada, now=seconds_later(project.lease_seconds - 60))
    late = seconds_later(project.lease_seconds + 60)
    assert reserve_next(project, ben, now=late) is None
    assert reserve_next(project, ben, now=late + timedelta(seconds=project.lease_seconds)) is not None
    assert not renew(drawn.key, ada, now=late + timedelta(seconds=project.lease_seconds))


def test_who_comes_back_after_the_lease_gets_the_same_pair_and_a_new_clock(project, ada, pairs):
    pairs(2)
    drawn = reserve_next(project, ada)
    morning = seconds_later(40_000)
    again = reserve_next(project, ada, now=morning)
    assert (again.key, again.swapped) == (drawn.key, drawn.swapped)
    assert submit_judgment(ada, again.key, 1, now=morning + timedelta(seconds=5)).seconds == pytest.approx(5)


def test_a_released_pair_joins_the_end_of_the_queue(project, ada, ben, pairs):
    first, second = pairs(2)
    release(reserve_next(project, ada).key, ada)
    assert reserve_next(project, ben).comparison == second
    assert reserve_next(project, ada).comparison == first


def test_a_released_pair_is_found_by_those_who_have_gone_past_it(project, ada, ben, pairs):
    first, second, third = pairs(3)
    held = reserve_next(project, ada)
    assert held.comparison == first
    for expected in (second, third):
        drawn = reserve_next(project, ben)
        assert drawn.comparison == expected
        submit_judgment(ben, drawn.key, 1)
    assert reserve_next(project, ben) is None
    release(held.key, ada)
    assert reserve_next(project, ben).comparison == first


def test_what_appears_behind_a_person_is_found_before_they_are_told_that_nothing_is_left(project, ada, pairs):
    """An import that committed late, or on a machine whose clock is slow."""
    pairs(2)
    for _ in range(2):
        submit_judgment(ada, reserve_next(project, ada).key, 1)
    (late,) = pairs(1, start=2)
    late.slots.update(free_from=timezone.now() - timedelta(days=1))
    assert reserve_next(project, ada).comparison == late


def test_a_skipped_pair_goes_to_somebody_else_only(project, ada, ben, pairs):
    (only,) = pairs(1)
    skip_comparison(ada, reserve_next(project, ada).key, "need_expertise")
    assert reserve_next(project, ada) is None
    assert reserve_next(project, ben).comparison == only


def test_a_person_meets_every_pair_once_until_none_is_left(project, ada, pairs):
    made = pairs(7, wanted=3)
    met = []
    while drawn := reserve_next(project, ada):
        met.append(drawn.comparison)
        if len(met) % 3 == 0:
            skip_comparison(ada, drawn.key, "other")
        else:
            submit_judgment(ada, drawn.key, 2)
    assert met == made


def test_the_order_of_the_responses_is_drawn_for_each_reservation(project, person, pairs):
    pairs(1, wanted=40)
    rng = random.Random(7)
    drawn = [reserve_next(project, person(f"p{number}"), rng=rng) for number in range(40)]
    swapped = sum(reservation.swapped for reservation in drawn)
    assert 10 <= swapped <= 30
    for reservation in drawn:
        sides = [reservation.left, reservation.right]
        comparison = reservation.comparison
        assert sides == [comparison.first, comparison.second][:: -1 if reservation.swapped else 1]


def test_an_archived_project_hands_out_nothing_new(project, admin, ada, pairs):
    pairs(2)
    update_project(project, admin, archived=True)
    assert reserve_next(project, ada) is None


def test_only_annotators_and_admins_of_the_project_get_pairs(project, admin, person, django_user_model, pairs):
    pairs(3)
    assert reserve_next(project, admin)
    assert reserve_next(project, person("ann", "admin"))
    for stranger in (person("rosa", "researcher"), django_user_model.objects.create_user("nobody")):
        with pytest.raises(PermissionDenied):
            reserve_next(project, stranger)
    assert Reservation.objects.count() == 2


def test_a_key_of_somebody_else_opens_nothing(project, ada, ben, pairs):
    pairs(1)
    key = reserve_next(project, ada).key
    for call in (renew, release):
        with pytest.raises(UserError):
            call(key, ben)
    with pytest.raises(UserError):
        renew("not-a-key", ada)
    assert Slot.objects.get().holder == ada


def test_the_next_pair_costs_at_most_five_queries(project, ada, pairs):
    pairs(6)
    with CaptureQueriesContext(connection) as first:
        drawn = reserve_next(project, ada)
        _texts = (drawn.comparison.prompt.messages, drawn.left.text, drawn.right.text)
    submit_judgment(ada, drawn.key, 1)
    with CaptureQueriesContext(connection) as later:
        drawn = reserve_next(project, ada)
    with CaptureQueriesContext(connection) as reload:
        reserve_next(project, ada)
    assert len(data_queries(first)) <= 5
    assert len(data_queries(later)) <= 5
    assert len(data_queries(reload)) <= 4


def test_the_number_of_queries_does_not_grow(project, ada, pairs):
    pairs(3)
    with CaptureQueriesContext(connection) as small:
        reserve_next(project, ada)
    pairs(60, start=3)
    for _ in range(30):
        submit_judgment(ada, reserve_next(project, ada).key, 1)
    with CaptureQueriesContext(connection) as large:
        reserve_next(project, ada)
    assert len(data_queries(large)) == len(data_queries(small))


def test_the_state_of_the_queue_from_each_side(project, ada, ben, person, pairs):
    pairs(5)
    pairs(1, wanted=2, start=5)
    submit_judgment(ada, reserve_next(project, ada).key, 1)
    skip_comparison(ada, reserve_next(project, ada).key, "other")
    reserve_next(project, ada)
    reserve_next(project, ben)
    assert queue_state(project, ada) == QueueState(judged=1, skipped=1, total_wanted=7, total_done=1)
    assert queue_state(project, ben) == QueueState(judged=0, skipped=0, total_wanted=7, total_done=1)
    assert (open_for(project, ada), open_for(project, ben)) == (3, 4)
    assert open_for(project, person("cyd"), now=seconds_later(project.lease_seconds + 1)) == 5


def test_the_state_says_when_all_that_is_left_is_with_others(project, ada, ben, pairs):
    pairs(1)
    reserve_next(project, ben)
    assert reserve_next(project, ada) is None
    assert (open_for(project, ada), reserved_by_others(project, ada), reserved_by_others(project, ben)) == (0, 1, 0)


@pytest.mark.skipif(connection.vendor != "sqlite", reason="reads SQLite's query plans")
@pytest.mark.parametrize("has_statistics", [False, True])
def test_no_query_reads_all_slots_or_the_whole_history(project, ada, ben, pairs, has_statistics):
    pairs(100, wanted=3)
    project.random_share = 0.5
    for user in (ada, ben):
        submit_judgment(user, reserve_next(project, user).key, 1)
        reserve_next(project, user)
    submit_judgment(ada, reserve_next(project, ada).key, 1)
    with connection.cursor() as cursor:
        if has_statistics:
            cursor.execute("ANALYZE")
        with CaptureQueriesContext(connection) as captured:
            reserve_next(project, ada)
        looks = [sql for sql in data_queries(captured) if sql.startswith("WITH")]
        plans = [row[3] for sql in looks for row in cursor.execute(f"EXPLAIN QUERY PLAN {sql}").fetchall()]
    small = {"held", "here", "top", "further", "pick", "s", "reach", "counted", "annotate_persontally", "CONSTANT"}
    small |= {"before", "after", "lowest", "highest"}
    assert not [step for step in plans if step.startswith("SCAN ") and step.split()[1] not in small]
    assert any("slot_queue (project_id=?" in step for step in plans)
    assert any("slot_spread (project_id=? AND spread>? AND spread<?" in step for step in plans)
    assert any("INDEX slot_held (holder_id=?" in step for step in plans)
    assert any("INDEX reservation_progress" in step for step in plans)
    assert not any("slot_freed" in step for step in plans)
