"""Many people at the same time, with double clicks and browsers that die: the wanted number of judgments, none doubled.

On SQLite here; on PostgreSQL by test_on_postgresql.py.
"""

import random
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from django.db import connections
from django.utils import timezone

from annotate.labeling.progress import queue_state, reserved_by_others
from annotate.labeling.queue import reserve_next
from annotate.labeling.submit import skip_comparison, submit_judgment
from annotate.models import Judgment, Reservation, Slot
from tests.annotate.counting import open_for

COMPARISONS, WANTED, PEOPLE = 12, 3, 8


def work(project, user, seed: int) -> Counter:
    """Judges until nothing is left, not even with others; drops some pages, skips some pairs, clicks twice at times."""
    rng, count = random.Random(seed), Counter()
    try:
        while (drawn := reserve_next(project, user, rng=rng)) or something_is_left(project, user):
            if drawn is None:
                count["waited"] += 1
            elif count["dropped"] < 2:
                # The browser died: the lease runs out without a word.
                expired = timezone.now() - timedelta(seconds=1)
                Slot.objects.filter(pk=drawn.slot_id, holder=user).update(free_from=expired)
                count["dropped"] += 1
            elif drawn.comparison.pk % PEOPLE == seed:
                # At most one person skips a comparison, so enough people are left for it.
                skip_comparison(user, drawn.key, "other")
                count["skipped"] += 1
            elif rng.random() < 0.25:
                submit_twice(user, drawn.key)
            else:
                submit_judgment(user, drawn.key, rng.randint(1, 4))
    finally:
        connections.close_all()
    return count


def something_is_left(project, user) -> bool:
    return bool(open_for(project, user) or reserved_by_others(project, user))


def submit_twice(user, key) -> None:
    """A double click: two requests at the same moment, in two threads."""

    def submit(rating):
        try:
            return submit_judgment(user, key, rating).pk
        finally:
            connections.close_all()

    with ThreadPoolExecutor(2) as pool:
        first, second = pool.map(submit, (1, 4))
    assert first == second


@pytest.mark.django_db(transaction=True)
def test_exactly_the_wanted_number_of_judgments_and_none_doubled(project, person, pairs):
    pairs(COMPARISONS, wanted=WANTED)
    people = [person(f"annotator-{number}") for number in range(PEOPLE)]
    with ThreadPoolExecutor(PEOPLE) as pool:
        counts = sum(pool.map(work, [project] * PEOPLE, people, range(PEOPLE)), Counter())

    assert counts["dropped"], "the disturbances took place"
    judgments = list(Judgment.objects.values_list("comparison", "annotator", "slot"))
    assert len(judgments) == COMPARISONS * WANTED
    assert set(Counter(comparison for comparison, _, _ in judgments).values()) == {WANTED}
    assert len({(comparison, annotator) for comparison, annotator, _ in judgments}) == len(judgments)
    assert len({slot for _, _, slot in judgments}) == len(judgments), "each judgment filled a slot of its own"
    state = queue_state(project, people[0])
    assert (state.total_done, state.total_wanted) == (COMPARISONS * WANTED, COMPARISONS * WANTED)


@pytest.mark.django_db(transaction=True)
def test_one_person_in_many_tabs_holds_one_pair(project, ada, pairs):
    pairs(9)
    barrier = threading.Barrier(6)

    def tab(_):
        try:
            barrier.wait()
            return reserve_next(project, ada).key
        finally:
            connections.close_all()

    with ThreadPoolExecutor(6) as pool:
        keys = set(pool.map(tab, range(6)))
    assert len(keys) == 1
    assert Reservation.objects.count() == Slot.objects.filter(holder=ada).count() == 1
