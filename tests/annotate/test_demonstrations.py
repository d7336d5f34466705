"""Writing demonstrations: one writer a place, nothing lost, reviewed by somebody else, and only then trained on."""

import json
import random
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from django.core.exceptions import PermissionDenied
from django.db import IntegrityError, connection, transaction
from django.utils import timezone

from annotate.chat.chats import start_chat
from annotate.datasets.importing import import_items
from annotate.datasets.snapshots import create_snapshot, dataset_path
from annotate.demonstrations.review import accept, return_to_author, revise
from annotate.demonstrations.selectors import writing_state, written_by
from annotate.demonstrations.writing import (
    _open_prompts,
    next_writing,
    own_writing,
    save_draft,
    skip_writing,
    submit_demonstration,
)
from annotate.errors import UserError
from annotate.labeling.comparisons import add_prompts
from annotate.labeling.counters import recount
from annotate.models import Demonstration, Prompt, Writing
from annotate.projects import set_reviewer, update_project
from training import records

pytestmark = pytest.mark.django_db


@pytest.fixture
def pool(project, admin):
    """pool(2, wanted=1): so many prompts to answer, each by so many people."""

    def make(count: int, wanted: int = 1, **settings):
        update_project(project, admin, writing=True, demonstrations_wanted=wanted, **settings)
        conversations = [[{"role": "user", "content": f"Question {number}"}] for number in range(count)]
        return add_prompts(project, conversations, in_pool=True).rows

    return make


def write(project, user, text="An answer."):
    return submit_demonstration(user, next_writing(project, user).key, text)


def test_from_the_page_to_the_trainer(project, ada, admin, pool):
    """Written, returned, revised, edited and accepted: one line of the snapshot, as the trainer reads it."""
    (prompt,) = pool(1)
    demonstration = write(project, ada, "  First try.\r\nSecond line. ")
    assert (demonstration.completion, demonstration.state) == ("First try.\nSecond line.", "submitted")
    assert create_snapshot(project, "demonstrations").rows == 0
    return_to_author(demonstration, admin, revision=1, comment="Shorter, please.")
    assert written_by(project, ada).get().comment == "Shorter, please."
    revise(demonstration, ada, "Second try.", revision=2)
    accept(demonstration, admin, revision=3, text="Second, better try.")
    snapshot = create_snapshot(project, "demonstrations")
    (record,) = records.read_records(dataset_path(snapshot), "demonstrations")
    assert record == records.Demonstration(prompt.messages, "Second, better try.")
    told = [(v.action, v.text, v.by) for v in demonstration.versions.all()]
    assert told == [
        ("written", "First try.\nSecond line.", ada),
        ("returned", "First try.\nSecond line.", admin),
        ("revised", "Second try.", ada),
        ("edited", "Second, better try.", admin),
    ]


def test_a_prompt_is_for_one_person_at_a_time_until_the_lease_ends(project, ada, ben, pool):
    (prompt,) = pool(1)
    now = timezone.now()
    mine = next_writing(project, ada, now=now)
    assert mine.prompt == prompt
    assert next_writing(project, ada, now=now) == mine
    assert next_writing(project, ben, now=now) is None
    later = now + timedelta(seconds=project.lease_seconds + 1)
    theirs = next_writing(project, ben, now=later)
    assert (theirs.prompt, theirs.place) == (prompt, 0)
    # Ada comes back: her text is not thrown away, it becomes a second demonstration.
    assert save_draft(ada, mine.key, "Half a", now=later) is False
    assert next_writing(project, ada, now=later).draft == "Half a"
    submit_demonstration(ada, mine.key, "A whole one.", now=later)
    submit_demonstration(ben, theirs.key, "Another one.", now=later)
    assert Demonstration.objects.count() == 2


def test_a_draft_keeps_the_prompt_and_comes_back(project, ada, ben, pool):
    pool(1)
    now = timezone.now()
    mine = next_writing(project, ada, now=now)
    for minutes in range(0, 100, 20):
        assert save_draft(ada, mine.key, f"after {minutes}", now=now + timedelta(minutes=minutes))
    assert next_writing(project, ben, now=now + timedelta(minutes=100)) is None
    assert next_writing(project, ada).draft == "after 80"
    submit_demonstration(ada, mine.key, "Done.")
    save_draft(ada, mine.key, "a request that came late")
    assert Writing.objects.get().draft == ""


def test_each_prompt_gets_as_many_as_wanted_by_different_people(project, person, pool):
    pool(2, wanted=2)
    people = [person(name) for name in ("ada", "ben", "cem")]
    for user in people:
        while next_writing(project, user):
            write(project, user, f"By {user}")
    counts = [prompt.demonstrations.count() for prompt in project.prompts.all()]
    assert counts == [2, 2]
    assert all(len({d.author for d in prompt.demonstrations.all()}) == 2 for prompt in project.prompts.all())


def test_imported_demonstrations_are_accepted_and_count(project, ada, pool):
    first, second = pool(2)
    import_items(project, [records.Demonstration(first.messages, "From a file.")])
    assert next_writing(project, ada).prompt == second
    assert Demonstration.objects.get().state == "accepted"
    assert create_snapshot(project, "demonstrations").rows == 1


def test_the_same_key_is_stored_once(project, ada, pool):
    pool(2)
    key = next_writing(project, ada).key
    first, again = (submit_demonstration(ada, key, text) for text in ("One.", "Two."))
    assert (first, again.completion) == (again, "One.")
    assert next_writing(project, ada).key != key


def test_a_skip_offers_the_prompt_to_others_only(project, ada, ben, pool):
    pool(1)
    key = next_writing(project, ada).key
    skip_writing(ada, key)
    skip_writing(ada, key)
    assert next_writing(project, ada) is None
    assert next_writing(project, ben)


def test_prompts_of_ones_own(project, ada, ben, admin, pool):
    pool(0)
    with pytest.raises(UserError, match="not asked for"):
        own_writing(project, ada)
    pool(0, own_prompts=True)
    key = own_writing(project, ada).key
    save_draft(ada, key, "Sure", own_prompt="Write a po")
    again = own_writing(project, ada)
    assert (again.key, again.draft, again.own_prompt) == (key, "Sure", "Write a po")
    with pytest.raises(UserError) as refused:
        submit_demonstration(ada, key, "Sure: …", prompt=" ")
    assert refused.value.field == "prompt"
    made = submit_demonstration(ada, key, "Sure: …", prompt="Write a poem")
    assert submit_demonstration(ada, key, "x", prompt="y") == made
    assert made.prompt.messages == [{"role": "user", "content": "Write a poem"}]
    assert not made.prompt.in_pool, "nobody else is asked to answer it, and no policy trains on it"
    assert own_writing(project, ada).key != key
    with pytest.raises(UserError, match="answered this prompt already"):
        submit_demonstration(ada, own_writing(project, ada).key, "again", prompt="Write a poem")


@pytest.mark.parametrize("text", ["", "  \n ", "x" * 50_001])
def test_an_empty_or_endless_text_changes_nothing(project, ada, pool, text):
    pool(1)
    key = next_writing(project, ada).key
    with pytest.raises(UserError):
        submit_demonstration(ada, key, text)
    assert not Demonstration.objects.exists()
    assert next_writing(project, ada).key == key


def test_who_may_review(project, ada, ben, person, admin, pool):
    pool(1)
    demonstration = write(project, ada)
    with pytest.raises(PermissionDenied):
        accept(demonstration, ben, revision=1)
    set_reviewer(project, "ada", True, user=admin)
    with pytest.raises(UserError, match="Somebody else"):
        accept(demonstration, ada, revision=1)
    with pytest.raises(IntegrityError), transaction.atomic():
        Demonstration.objects.update(state="accepted", reviewer=ada)
    set_reviewer(project, "ben", True, user=admin)
    assert accept(demonstration, ben, revision=1).state == "accepted"
    assert writing_state(project, ben).to_review == 0
    with pytest.raises(PermissionDenied):
        revise(demonstration, ben, "Mine now.", revision=2)


def test_of_two_reviewers_one_decides(project, ada, person, pool):
    pool(1)
    rosa, rita = person("rosa", "researcher"), person("rita", "researcher")
    demonstration = write(project, ada)
    accept(demonstration, rosa, revision=1)
    accept(demonstration, rosa, revision=1)  # a double click
    with pytest.raises(UserError, match="changed meanwhile"):
        return_to_author(demonstration, rita, revision=1, comment="No.")
    assert demonstration.versions.count() == 2


def test_a_decision_is_about_the_text_that_was_read(project, ada, admin, pool):
    pool(1)
    demonstration = write(project, ada)
    return_to_author(demonstration, admin, revision=1, comment="Kinder, please.")
    revise(demonstration, ada, "A kind answer.", revision=2)
    with pytest.raises(UserError, match="changed meanwhile"):
        accept(demonstration, admin, revision=1)
    with pytest.raises(UserError) as refused:
        return_to_author(demonstration, admin, revision=3, comment=" ")
    assert refused.value.field == "comment"


def test_who_is_paused_writes_and_chats_no_further(project, ada, admin, pool):
    pool(1, chat=True)
    project.memberships.filter(user=ada).update(paused_at=timezone.now(), pause_reason="admin", pause_note="Call me.")
    for service in (next_writing, start_chat):
        with pytest.raises(UserError, match="Call me"):
            service(project, ada)


def test_who_has_a_test_or_new_guidelines_before_them_neither_writes_nor_chats(project, ada, admin, pool):
    pool(1, chat=True)
    project.qualification_pass = 0.8
    project.save()
    for service in (next_writing, own_writing, start_chat):
        with pytest.raises(UserError, match="short test"):
            service(project, ada)
    project.memberships.filter(user=ada).update(qualified_at=timezone.now())
    project.must_acknowledge_guidelines, project.must_read = True, project.guideline_versions.first()
    project.save()
    for service in (next_writing, own_writing, start_chat):
        with pytest.raises(UserError, match="guidelines have changed"):
            service(project, ada)


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(("prompts", "wanted"), [(3, 2), (1, 12)])
def test_many_at_once_fill_every_place_and_never_share_one(project, person, pool, prompts, wanted):
    """Nobody is told that nothing is left because others were quicker."""
    pool(prompts, wanted=wanted)
    people = [person(f"writer-{number}") for number in range(prompts * wanted + 2)]
    start = threading.Barrier(len(people))

    def begin(user):
        start.wait()
        return next_writing(project, user)

    found = at_once(begin, people)
    places = [(writing.prompt_id, writing.place) for writing in found if writing]
    assert len(places) == len(set(places)) == prompts * wanted


@pytest.mark.django_db(transaction=True)
def test_at_once_with_skips_and_browsers_that_die_each_prompt_gets_what_it_wants(project, person, pool):
    prompts = pool(4, wanted=3)
    people = [person(f"writer-{number}") for number in range(6)]

    def work(user):
        rng, dropped = random.Random(user.username), 0
        while Writing.objects.filter(prompt__in=prompts, place__isnull=False, ended_at=None).exists() or undone():
            writing = next_writing(project, user)
            if writing is None:
                time.sleep(0.01)
            elif dropped < 3 and rng.random() < 0.5:
                # The browser died: the lease runs out without a word.
                dropped += 1
                Writing.objects.filter(pk=writing.pk).update(lease_until=timezone.now())
            elif people[writing.prompt_id % 4] == user:
                skip_writing(user, writing.key)  # at most one person skips a prompt, so enough are left for it
            else:
                submit_demonstration(user, writing.key, f"By {user}.")

    def undone() -> bool:
        return any(prompt.writings.filter(place__isnull=False).count() < 3 for prompt in prompts)

    at_once(work, people)
    for prompt in prompts:
        placed = prompt.writings.filter(place__isnull=False)
        assert sorted(placed.values_list("place", flat=True)) == [0, 1, 2]
        assert Demonstration.objects.filter(writing__in=placed).count() == 3
    assert recount(project) == []


def at_once(work, people) -> list:
    """What `work` returns for each of `people`, each in a thread and a connection of their own."""

    def in_thread(user):
        try:
            return work(user)
        finally:
            connection.close()

    with ThreadPoolExecutor(len(people)) as pool:
        return list(pool.map(in_thread, people))


def test_the_rest_side(project, ada, admin, pool, client):
    pool(1)
    client.force_login(ada)

    def call(method, path, **body):
        answer = getattr(client, method)(f"/api/projects/kind/{path}", json.dumps(body), "application/json")
        return answer.status_code, answer.json() if answer.content else None

    _, taken = call("post", "writings/next/")
    key = taken["writing"]["key"]
    assert taken["writing"]["prompt"] == [{"role": "user", "content": "Question 0"}]
    assert call("put", f"writings/{key}/draft/", completion="Half") == (200, {"held": True})
    _, made = call("post", "demonstrations/", key=key, completion="Whole.")
    assert call("post", "demonstrations/", key=key, completion="Whole.")[1] == made
    assert call("post", f"demonstrations/{made['id']}/accept/", revision=1)[0] == 403
    client.force_login(admin)
    assert client.get("/api/projects/kind/demonstrations/").json()["count"] == 1
    assert call("post", f"demonstrations/{made['id']}/return/", revision=1, comment="")[0] == 400
    assert call("post", f"demonstrations/{made['id']}/return/", revision=1, comment="Why?")[1]["state"] == "returned"
    client.force_login(ada)
    assert client.get("/api/projects/kind/demonstrations/mine/").json()["results"][0]["comment"] == "Why?"
    assert call("post", f"demonstrations/{made['id']}/revise/", revision=2, completion="Because.")[0] == 200


def test_the_time_of_writing_is_what_the_pages_counted_within_our_own_clock(project, ada, pool):
    pool(1)
    begun = timezone.now()
    writing = next_writing(project, ada, now=begun)
    for minute, claimed in ((1, "50"), (2, "500"), (3, None)):
        save_draft(ada, writing.key, "So far.", active_seconds=claimed, now=begun + timedelta(minutes=minute))
    writing.refresh_from_db()
    assert writing.active_seconds == 110, "50 s, and of what followed no more than the minute that passed"
    made = submit_demonstration(ada, writing.key, "All.", active_seconds="130", now=begun + timedelta(minutes=9))
    late = timezone.now() + timedelta(hours=1)
    save_draft(ada, writing.key, "Late.", active_seconds="4000", now=late)
    assert Writing.objects.get(demonstration=made).active_seconds == 130


def test_the_places_that_are_taken_are_counted_whoever_writes_the_rows(project, ada, ben, admin, pool):
    """Held, skipped, lapsed and taken over, submitted too late, imported, deleted: the count is what the rows say."""
    update_project(project, admin, own_prompts=True)
    prompts = pool(4, wanted=2, own_prompts=True)
    now = timezone.now()
    later = now + timedelta(seconds=project.lease_seconds + 1)
    lapsing = next_writing(project, ada, now=now)
    for user in (ben, admin):
        next_writing(project, user, now=later)
    submit_demonstration(ada, lapsing.key, "Late.", now=later)
    skip_writing(ada, next_writing(project, ada, now=later).key)
    own = own_writing(project, ada)
    submit_demonstration(ada, own.key, "Mine.", prompt="My own?")
    import_items(project, [records.Demonstration(prompts[3].messages, text) for text in ("One.", "Two.")])
    assert recount(project) == []
    assert Prompt.objects.get(pk=prompts[3].pk).places_taken == 2
    Demonstration.objects.filter(writing=None).first().delete()
    Writing.objects.filter(writer=ben).delete()
    assert recount(project) == []
    Prompt.objects.filter(pk=prompts[3].pk).update(places_taken=7)
    assert recount(project) == ["kind: of 1 prompts the demonstrations were counted wrong."]
    assert Prompt.objects.get(pk=prompts[3].pk).places_taken == 1


def test_the_next_prompt_is_found_without_looking_at_what_is_written(project, ada, pool):
    pool(3, wanted=2)
    if connection.vendor != "sqlite":
        pytest.skip("the plan is SQLite's")
    plan = _open_prompts(project, ada)[:1].explain()
    assert "USING INDEX prompt_to_be_answered (project_id=? AND places_taken<?)" in plan, plan
    assert "TEMP B-TREE" not in plan and "SCAN" not in plan, plan
