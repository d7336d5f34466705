"""A judgment is stored once: sent twice, too late, after a skip, by many at the same time."""

import uuid
from datetime import timedelta

import pytest
from django.core.exceptions import PermissionDenied
from django.db import IntegrityError, transaction
from django.utils import timezone

from annotate.errors import UserError
from annotate.labeling.progress import queue_state
from annotate.labeling.queue import release, reserve_next
from annotate.labeling.submit import skip_comparison, submit_judgment
from annotate.models import Judgment, Skip, Slot
from annotate.projects import remove_member, set_guidelines

pytestmark = pytest.mark.django_db


class Sides:
    """Stands in for a random generator: the next orders are the ones given (True shows the second response as A)."""

    def __init__(self, *swapped: bool):
        self.values = [0.0 if value else 0.9 for value in swapped]

    def random(self) -> float:
        return self.values.pop(0)


@pytest.mark.parametrize("swapped", [False, True])
@pytest.mark.parametrize(("rating", "winner"), [(1, "left"), (2, "left"), (3, "right"), (4, "right")])
def test_the_winner_is_the_response_that_stood_on_the_chosen_side(project, ada, pairs, swapped, rating, winner):
    (only,) = pairs(1)
    drawn = reserve_next(project, ada, rng=Sides(swapped))
    judgment = submit_judgment(ada, drawn.key, rating)
    shown = (only.second, only.first) if swapped else (only.first, only.second)
    assert (judgment.left, judgment.right) == shown
    assert judgment.winner == shown[0 if winner == "left" else 1]


def test_everything_about_a_judgment_is_stored(project, ada, pairs):
    pairs(1)
    shown = timezone.now()
    drawn = reserve_next(project, ada, now=shown)
    submit_judgment(
        ada, str(drawn.key), "3", helpful="-1", truthful=0, harmless="", note=" B is shorter.\n",
        now=shown + timedelta(seconds=12.5),
    )  # fmt: skip
    judgment = Judgment.objects.get()
    assert (judgment.helpful, judgment.truthful, judgment.harmless) == (-1, 0, None)
    assert judgment.note == "B is shorter."
    assert judgment.seconds == pytest.approx(12.5)
    assert judgment.slot.free_from is None and judgment.slot.holder == ada
    assert judgment.reservation == drawn


def test_a_double_click_stores_one_judgment(project, ada, pairs):
    pairs(1, wanted=2)
    key = reserve_next(project, ada).key
    first = submit_judgment(ada, key, 1)
    second = submit_judgment(ada, key, 4)
    assert (second.pk, second.rating) == (first.pk, 1)
    assert queue_state(project, ada).total_done == 1


@pytest.mark.parametrize("rating", [0, 5, "", None, "better"])
def test_no_rating_but_the_four(project, ada, pairs, rating):
    pairs(1)
    key = reserve_next(project, ada).key
    with pytest.raises(UserError) as error:
        submit_judgment(ada, key, rating)
    assert error.value.field == "rating"
    assert Judgment.objects.count() == 0
    assert Slot.objects.get().free_from is not None


def test_a_wrong_verdict_or_an_endless_note_is_refused(project, ada, pairs):
    pairs(1)
    key = reserve_next(project, ada).key
    for field, value in [("truthful", 2), ("harmless", "x"), ("note", "x" * 5001)]:
        with pytest.raises(UserError) as error:
            submit_judgment(ada, key, 1, **{field: value})
        assert error.value.field == field
    assert Judgment.objects.count() == 0


def test_unknown_keys_and_those_of_others_are_refused(project, ada, ben, pairs):
    pairs(1)
    key = reserve_next(project, ada).key
    for person, wrong in [(ben, key), (ada, uuid.uuid4()), (ada, ""), (ada, "1")]:
        with pytest.raises(UserError):
            submit_judgment(person, wrong, 1)
        with pytest.raises(UserError):
            skip_comparison(person, wrong, "other")
    assert not Judgment.objects.exists() and not Skip.objects.exists()


def test_who_left_the_project_cannot_submit(project, admin, ada, pairs):
    pairs(1)
    key = reserve_next(project, ada).key
    remove_member(project, ada, user=admin)
    with pytest.raises(PermissionDenied):
        submit_judgment(ada, key, 1)


def test_too_late_but_the_slot_is_still_free(project, ada, pairs):
    pairs(1)
    drawn = reserve_next(project, ada)
    judgment = submit_judgment(ada, drawn.key, 1, now=timezone.now() + timedelta(days=2))
    assert judgment.slot == drawn.slot
    assert queue_state(project, ada).total_done == 1


def test_too_late_and_somebody_else_has_the_slot_is_kept_as_an_extra(project, ada, ben, pairs):
    pairs(1)
    late = timezone.now() + timedelta(seconds=project.lease_seconds + 1)
    by_ada = reserve_next(project, ada, rng=Sides(True))
    by_ben = reserve_next(project, ben, now=late, rng=Sides(False))
    assert by_ben.slot == by_ada.slot
    extra = submit_judgment(ada, by_ada.key, 1, now=late)
    assert extra.slot is None
    assert extra.left == by_ada.comparison.second, "in the order in which ada saw it, not ben"
    counted = submit_judgment(ben, by_ben.key, 1, now=late)
    assert counted.slot == by_ben.slot
    state = queue_state(project, ada)
    assert (state.total_wanted, state.total_done, Judgment.objects.count()) == (1, 1, 2)


def test_too_late_and_the_own_slot_is_gone_uses_another_free_one(project, ada, ben, person, pairs):
    pairs(1, wanted=2)
    late = timezone.now() + timedelta(seconds=project.lease_seconds + 1)
    by_ada = reserve_next(project, ada)
    slots = list(Slot.objects.all())
    first = reserve_next(project, cyd := person("cyd"), now=late)
    second = reserve_next(project, ben, now=late)
    assert {first.slot, second.slot} == set(slots)
    by_others = {reservation.slot: (reservation.key, who) for reservation, who in [(first, cyd), (second, ben)]}
    release(*by_others[next(slot for slot in slots if slot != by_ada.slot)], now=late)
    judgment = submit_judgment(ada, by_ada.key, 1, now=late)
    assert judgment.slot in slots and judgment.slot != by_ada.slot


def test_two_pages_of_the_same_pair_give_one_judgment(project, ada, ben, pairs):
    """Ada's tab of yesterday and the one of today, after ben had the pair and skipped it."""
    pairs(1)
    late = timezone.now() + timedelta(seconds=project.lease_seconds + 1)
    yesterday = reserve_next(project, ada)
    skip_comparison(ben, reserve_next(project, ben, now=late).key, "other", now=late)
    today = reserve_next(project, ada, now=late)
    assert today.key != yesterday.key
    first = submit_judgment(ada, yesterday.key, 1, now=late)
    assert first.slot == today.slot
    assert submit_judgment(ada, today.key, 4, now=late) == first
    assert Judgment.objects.count() == 1


def test_a_skip_is_stored_once_and_gives_the_slot_back(project, ada, pairs):
    pairs(1)
    key = reserve_next(project, ada).key
    first = skip_comparison(ada, key, "unclear_prompt", "which one?")
    assert skip_comparison(ada, key, "other") == first
    assert (first.reason, first.note) == ("unclear_prompt", "which one?")
    assert Slot.objects.get().holder is None


def test_a_skip_needs_a_reason_and_an_unjudged_pair(project, ada, pairs):
    pairs(1)
    key = reserve_next(project, ada).key
    with pytest.raises(UserError) as error:
        skip_comparison(ada, key, "")
    assert error.value.field == "reason"
    submit_judgment(ada, key, 1)
    with pytest.raises(UserError):
        skip_comparison(ada, key, "other")
    assert Slot.objects.get().free_from is None


def test_going_back_after_a_skip_and_judging_counts_as_judged(project, ada, pairs):
    pairs(1)
    key = reserve_next(project, ada).key
    skip_comparison(ada, key, "other")
    judgment = submit_judgment(ada, key, 2)
    assert judgment.slot is not None
    assert not Skip.objects.exists()


def test_the_guidelines_that_stood_beside_the_pair_are_stored(project, admin, ada, pairs):
    pairs(1)
    read = project.guideline_versions.get()
    drawn = reserve_next(project, ada)
    set_guidelines(project, admin, "All new.")
    assert submit_judgment(ada, drawn.key, 1).guideline == read


def test_the_database_itself_refuses_a_second_judgment_and_a_second_use_of_a_slot(project, ada, ben, pairs):
    pairs(1)
    stored = submit_judgment(ada, reserve_next(project, ada).key, 1)
    same = {
        "comparison": stored.comparison, "left": stored.left, "right": stored.right, "winner": stored.left,
        "rating": 1, "created_at": timezone.now(),
    }  # fmt: skip
    for wrong in (
        {"annotator": ada},
        {"annotator": ben, "slot": stored.slot},
        {"annotator": ben, "reservation": stored.reservation},
        {"annotator": ben, "winner": stored.right},
        {"annotator": ben, "rating": 9},
    ):
        with pytest.raises(IntegrityError), transaction.atomic():
            Judgment.objects.create(**same | wrong)
    with pytest.raises(IntegrityError), transaction.atomic():
        Slot.objects.create(project=project, comparison=stored.comparison, number=9, holder=ada)
