"""Two who meet at the same row, one step at a time: PostgreSQL's locks show where each of them stands.

Run by test_on_postgresql.py. SQLite has one writer at a time, so nobody meets there.
"""

import contextlib
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import timedelta

import pytest
from django.db import connection, transaction
from django.db.models import F
from django.utils import timezone

from annotate.datasets.importers import native
from annotate.datasets.importing import import_items
from annotate.errors import UserError
from annotate.labeling import counters, editing, order, queue
from annotate.labeling.comparisons import set_judgments_wanted, withdraw
from annotate.labeling.draw import CANDIDATES, Search
from annotate.labeling.editing import edit_judgment
from annotate.labeling.queue import reserve_next
from annotate.labeling.submit import submit_judgment
from annotate.models import PersonTally, Run, Slot, User
from annotate.projects import create_account, start_project, update_project
from annotate.quality.gold_questions import NewQuestion, make_questions
from annotate.runs import claim
from annotate.runs.launch import request_cancel
from tests.annotate.runs_kit import claimed, make_run
from tests.servers import NEVER, wait_for
from training.records import Preference

pytestmark = pytest.mark.django_db(transaction=True)


def elsewhere(do: Callable) -> Future:
    """`do` in another thread, with a connection of its own."""

    def run():
        try:
            return do()
        finally:
            connection.close()

    pool = ThreadPoolExecutor(1)
    future = pool.submit(run)
    pool.shutdown(wait=False)
    return future


@contextlib.contextmanager
def open_transaction(do: Callable) -> Iterator[None]:
    """What `do` does elsewhere is done but not committed inside of the block, and committed at its end."""
    done, commit = threading.Event(), threading.Event()

    def run():
        try:
            with transaction.atomic():
                do()
                done.set()
                assert commit.wait(NEVER)
        finally:
            done.set()

    other = elsewhere(run)
    assert done.wait(NEVER)
    try:
        yield
    finally:
        commit.set()
        other.result(NEVER)


def waits(work: Future) -> bool:
    """Whether somebody comes to wait for somebody else's lock before `work` is done."""

    def somebody_waits() -> bool:
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT COUNT(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
            )
            return cursor.fetchone()[0] > 0

    wait_for(lambda: work.done() or somebody_waits(), "an end or a wait", every=0.01)
    return not work.done()


def taken_by(people) -> None:
    """Each of them takes a slot, the first of the queue first."""
    slots = Slot.objects.order_by("rank", "free_from", "id").values_list("pk", flat=True)[: len(people)]
    for pk, user in zip(list(slots), people, strict=True):
        Slot.objects.filter(pk=pk).update(holder=user, free_from=timezone.now() + timedelta(hours=1))


# --- the queue --------------------------------------------------------------------------------------------------------


def test_whoever_finds_all_candidates_being_taken_gets_the_next_one(project, person, pairs, ada):
    *_, last = pairs(CANDIDATES + 1, wanted=1)
    with open_transaction(lambda: taken_by([person(f"taker-{number}") for number in range(CANDIDATES)])):
        reserving = elsewhere(lambda: reserve_next(project, ada))
        assert waits(reserving)
    assert reserving.result(NEVER).comparison.pk == last.pk


def test_what_was_not_taken_after_all_is_theirs(project, pairs, ada):
    (first,) = pairs(1, wanted=1)
    with open_transaction(lambda: Slot.objects.update(rank=F("rank"))):
        reserving = elsewhere(lambda: reserve_next(project, ada))
        assert waits(reserving)
    assert reserving.result(NEVER).comparison.pk == first.pk


def test_the_last_one_taken_by_another_leaves_nothing(project, pairs, ada, ben):
    pairs(1, wanted=1)
    with open_transaction(lambda: taken_by([ben])):
        reserving = elsewhere(lambda: reserve_next(project, ada))
        assert waits(reserving)
    assert reserving.result(NEVER) is None


def test_a_pair_that_is_withdrawn_between_look_and_take_is_given_to_nobody(project, pairs, ada, monkeypatch):
    first, second = pairs(2, wanted=1)
    decide = queue._Draw.decide

    def withdraw_first(self, found):
        monkeypatch.setattr(queue._Draw, "decide", decide)
        elsewhere(lambda: withdraw([first])).result(NEVER)
        return decide(self, found)

    monkeypatch.setattr(queue._Draw, "decide", withdraw_first)
    assert reserve_next(project, ada).comparison.pk == second.pk


def test_many_who_are_given_the_same_gold_question_at_once_all_get_it(project, person, pairs, ada, admin):
    (pair,) = pairs(1)
    make_questions(project, [NewQuestion(pair, pair.first)], "qualification", user=admin)
    update_project(project, admin, qualification_pass=0.5, qualification_questions=1)
    others = [person(f"other-{number}") for number in range(30)]
    with open_transaction(lambda: [reserve_next(project, other) for other in others]):
        reserving = elsewhere(lambda: reserve_next(project, ada))
        assert waits(reserving)
    assert reserving.result(NEVER).comparison.pk == pair.pk
    assert Slot.objects.filter(comparison=pair, apart=True, free_from__gt=timezone.now()).count() == len(others) + 1


def test_nothing_is_believed_about_what_is_just_being_added(project, pairs, ada, monkeypatch):
    """A long import ends while somebody looks: its slots are older than what they then know."""
    look_through, added, seen = Search.all, threading.Event(), threading.Event()

    def import_slowly():
        with transaction.atomic():
            pairs(1, wanted=1)
            Slot.objects.update(free_from=timezone.now() - timedelta(minutes=5))
            added.set()
            assert seen.wait(NEVER)

    importing = elsewhere(import_slowly)
    assert added.wait(NEVER)

    def look_and_be_slow(self):
        found = look_through(self)
        seen.set()
        importing.result(NEVER)
        return found

    monkeypatch.setattr(Search, "all", look_and_be_slow)
    assert reserve_next(project, ada) is None
    assert reserve_next(project, ada) is not None


def test_a_new_order_is_made_in_parts_and_keeps_nobody_from_the_others(project, admin, pairs, ada, monkeypatch):
    monkeypatch.setattr(order, "TOGETHER", 1)
    first, second = pairs(2, wanted=1)
    Slot.objects.update(rank=7)
    slot = Slot.objects.get(comparison=second)
    with open_transaction(lambda: Slot.objects.filter(pk=slot.pk).update(free_from=F("free_from"))):
        changing = elsewhere(lambda: update_project(project, admin, queue_policy="breadth"))
        assert waits(changing)
        assert Slot.objects.get(comparison=first).rank == 0, "done, and free to be taken"
        assert elsewhere(lambda: reserve_next(project, ada)).result(NEVER).comparison.pk == first.pk
    changing.result(NEVER)
    assert Slot.objects.get(pk=slot.pk).rank == 0


def test_an_edit_keeps_the_slot_that_an_admin_gave_the_judgment_meanwhile(project, pairs, ada, ben, monkeypatch):
    (pair,) = pairs(1, wanted=1)
    late = reserve_next(project, ada)
    Slot.objects.update(free_from=timezone.now() - timedelta(hours=1))
    submit_judgment(ben, reserve_next(project, ben).key, 1)
    extra = submit_judgment(ada, late.key, 1)
    assert extra.slot is None
    read = editing.read_verdict

    def wanted_meanwhile(*args, **said):
        elsewhere(lambda: set_judgments_wanted(pair, 2)).result(NEVER)
        return read(*args, **said)

    monkeypatch.setattr(editing, "read_verdict", wanted_meanwhile)
    edit_judgment(project, ada, extra.pk, rating=4)
    extra.refresh_from_db()
    assert extra.rating == 4 and extra.slot is not None
    assert counters.recount(project) == []


# --- totals -----------------------------------------------------------------------------------------------------------


def test_a_recount_while_people_judge_is_right(project, pairs, ada, monkeypatch):
    pairs(3, wanted=1)
    submit_judgment(ada, reserve_next(project, ada).key, 1)
    PersonTally.objects.update(judged=F("judged") + 5)
    counted = counters._places_differ

    def judged_meanwhile(of):
        elsewhere(lambda: submit_judgment(ada, reserve_next(project, ada).key, 1)).result(NEVER)
        return counted(of)

    monkeypatch.setattr(counters, "_places_differ", judged_meanwhile)
    assert counters.recount(project) == ["kind: the totals of ada were wrong."]
    monkeypatch.undo()
    assert PersonTally.objects.get(user=ada).judged == 2
    assert counters.recount(project) == []


def test_who_takes_notes_back_holds_none_while_waiting_for_another(project, ada, ben):
    one, other = (
        PersonTally.objects.create(project=project, user=user, looked_through_at=timezone.now()) for user in (ada, ben)
    )
    waiting = threading.Event()

    def count_both():
        with transaction.atomic():
            PersonTally.objects.filter(pk=other.pk).update(judged=F("judged") + 1)
            assert waiting.wait(NEVER)
            PersonTally.objects.filter(pk=one.pk).update(judged=F("judged") + 1)

    counting = elsewhere(count_both)
    wait_for(lambda: _is_locked(other), "the first of both")
    forgetting = elsewhere(lambda: counters.forget_looked_through(project))
    assert waits(forgetting)
    waiting.set()
    counting.result(NEVER)
    forgetting.result(NEVER)
    assert set(PersonTally.objects.values_list("judged", "looked_through_at")) == {(1, None)}


def _is_locked(tally: PersonTally) -> bool:
    with transaction.atomic():
        return not PersonTally.objects.select_for_update(skip_locked=True).filter(pk=tally.pk)


# --- everything else --------------------------------------------------------------------------------------------------


def test_two_imports_of_files_of_one_name_into_two_projects(project):
    vote = native.voted_pair(Preference([{"role": "user", "content": "Which?"}], "this", "that"), 1, "import:votes")
    other = start_project(name="Other")

    def imported(where):
        return import_items(where, [vote])

    with open_transaction(lambda: imported(project)):
        importing = elsewhere(lambda: imported(other))
        assert waits(importing)
    assert importing.result(NEVER).judgments == 1
    assert User.objects.filter(username="import:votes").count() == 1


def test_two_accounts_of_one_name_at_once(project, admin):
    with open_transaction(lambda: create_account(project, "eva", "correct-horse-battery", "annotator", user=admin)):
        creating = elsewhere(lambda: create_account(project, "eva", "correct-horse-battery", "annotator", user=admin))
        assert waits(creating)
    with pytest.raises(UserError, match="already exists"):
        creating.result(NEVER)


def test_a_run_that_is_handed_back_while_somebody_cancels_it_is_cancelled(db):
    run = make_run()
    own = claimed(run)
    with open_transaction(lambda: claim.hand_back(own)):
        cancelling = elsewhere(lambda: request_cancel(run))
        assert waits(cancelling)
    cancelling.result(NEVER)
    assert Run.objects.get().state == "cancelled"
