"""Responses that tell who wrote them: found when they come in, held back, served or left out."""

import io

import pytest
from django.core.exceptions import PermissionDenied
from django.core.management import call_command

from annotate.errors import UserError
from annotate.labeling.comparisons import (
    NewRanking,
    NewResponse,
    add_comparisons,
    add_prompts,
    add_rankings,
    add_responses,
    pairs_of,
)
from annotate.labeling.holding import check_stored, leaks_of, review_leak, set_hold, unchecked
from annotate.labeling.queue import reserve_next
from annotate.models import GoldQuestion, Project, Response, Slot
from annotate.quality.gold_questions import NewQuestion, change_question, make_questions

TELLING = "I am ChatGPT. Tides are made by the Moon."


@pytest.fixture
def come_in(project):
    """Adds a pair, or a ranking of four, of which one text tells who wrote it."""

    def make(prompt: str = "Tides?", texts=(TELLING, "The Moon pulls."), ranking: bool = False):
        (row,) = add_prompts(project, [[{"role": "user", "content": prompt}]]).rows
        texts = (*texts, "Wind.", "Magic.") if ranking else texts
        responses = add_responses(project, [NewResponse(row, text, "policy-1") for text in texts]).rows
        if ranking:
            return add_rankings(project, [NewRanking(tuple(responses))]).rows[0]
        return add_comparisons(project, list(pairs_of(responses))).rows[0]

    return make


def test_what_tells_is_found_when_it_comes_in(project, come_in):
    come_in(texts=(TELLING, "policy-1 says: the Moon."))
    come_in("Other?", texts=("The Sun.", "Claude Monet painted it."))
    assert [(row.text, row.leaks) for row in leaks_of(project)] == [
        (TELLING, ["I am ChatGPT"]),
        ("policy-1 says: the Moon.", ["policy-1"]),
    ]


@pytest.mark.parametrize("ranking", [False, True])
def test_it_is_served_unless_the_project_holds_it_back(project, admin, ada, come_in, ranking):
    set_hold(project, True, user=admin)
    comparison = come_in(ranking=ranking)
    assert reserve_next(project, ada) is None
    review_leak(project, leaks_of(project).get().pk, "served", user=admin)
    assert reserve_next(project, ada).comparison == comparison
    assert not leaks_of(project).exists()


def test_an_import_that_began_before_it_was_turned_on_holds_back_as_well(project, admin, ada, come_in):
    set_hold(Project.objects.get(pk=project.pk), True, user=admin)
    assert not project.hold_leaks, "as the import has loaded it"
    come_in()
    assert reserve_next(project, ada) is None


def test_turning_it_on_and_off_holds_for_what_is_there(project, admin, ada, come_in):
    come_in()
    set_hold(project, True, user=admin)
    assert reserve_next(project, ada) is None
    set_hold(project, False, user=admin)
    assert reserve_next(project, ada) is not None
    assert Slot.objects.filter(apart=False).count() == 1


def test_a_gold_question_that_tells_is_asked_of_nobody(project, admin, come_in):
    """Found before it became a question, or after."""
    pair = come_in()
    response = leaks_of(project).get()
    (question,) = make_questions(project, [NewQuestion(pair, pair.first)], "gold", user=admin)
    review_leak(project, response.pk, "left_out", user=admin)
    question.refresh_from_db()
    assert not question.active
    with pytest.raises(UserError, match="tells who wrote it"):
        change_question(question, user=admin, active=True)
    other = come_in("Other?")
    set_hold(project, True, user=admin)
    with pytest.raises(UserError, match="tells who wrote it"):
        make_questions(project, [NewQuestion(other, other.first)], "gold", user=admin)
    review_leak(project, response.pk, "served", user=admin)
    change_question(GoldQuestion.objects.get(), user=admin, active=True)
    assert not Slot.objects.filter(comparison=pair, apart=False).exists()


def test_what_is_left_out_never_comes_back(project, admin, ada, come_in):
    come_in()
    response = leaks_of(project).get()
    review_leak(project, response.pk, "left_out", user=admin)
    assert reserve_next(project, ada) is None
    set_hold(project, True, user=admin)
    set_hold(project, False, user=admin)
    assert reserve_next(project, ada) is None
    # A new pair with the same response is not asked about either.
    prompt = response.prompt
    new = add_responses(project, [NewResponse(prompt, "Another.", "policy-2")]).rows
    add_comparisons(project, list(pairs_of([response.__class__.objects.get(pk=response.pk), *new])))
    assert reserve_next(project, ada) is None


def test_a_pair_of_two_telling_texts_waits_for_both(project, admin, ada, come_in):
    set_hold(project, True, user=admin)
    come_in(texts=(TELLING, "I'm Claude. The Moon."))
    first, second = leaks_of(project)
    review_leak(project, first.pk, "served", user=admin)
    assert reserve_next(project, ada) is None
    review_leak(project, second.pk, "served", user=admin)
    assert reserve_next(project, ada) is not None


def test_only_admins_decide_and_only_about_their_project(project, admin, ada, come_in):
    come_in()
    telling, other = Response.objects.order_by("pk")
    with pytest.raises(PermissionDenied):
        review_leak(project, telling.pk, "served", user=ada)
    with pytest.raises(PermissionDenied):
        set_hold(project, True, user=ada)
    for pk, state in ((telling.pk, "found"), (other.pk, "served"), (0, "served")):
        with pytest.raises(UserError):
            review_leak(project, pk, state, user=admin)


def as_before_the_check():
    Response.objects.update(leaks=[], leak_state="", leaks_checked_at=None)


@pytest.mark.parametrize("hold", [False, True])
def test_what_was_stored_before_the_check_is_checked_once(project, admin, ada, come_in, hold):
    set_hold(project, hold, user=admin)
    come_in()
    come_in("Other?", texts=("The Sun.", "The wind."))
    set_hold(project, False, user=admin)  # its slots are there
    as_before_the_check()
    set_hold(project, hold, user=admin)
    project.refresh_from_db()
    assert unchecked(project).count() == 4
    said = io.StringIO()
    call_command("check_leaks", stdout=said)
    assert said.getvalue() == "kind: 1 response to be looked at.\n"
    assert leaks_of(project).get().leaks == ["I am ChatGPT"] and not unchecked(project).exists()
    assert Slot.objects.filter(apart=False).count() == (1 if hold else 2)
    assert check_stored(project) == 0


def test_what_an_admin_decided_stands_when_all_is_checked_again(project, admin, come_in):
    come_in()
    review_leak(project, leaks_of(project).get().pk, "served", user=admin)
    call_command("check_leaks", "--again", "kind", stdout=io.StringIO())
    assert not leaks_of(project).exists() and not unchecked(project).exists()
    assert Response.objects.get(text=TELLING).leak_state == "served"


def test_what_tells_nothing_any_more_is_not_counted_as_found(project, come_in):
    """A phrase that no rule knows any longer: its response is served again."""
    come_in(texts=("The Sun.", "The wind."))
    Response.objects.filter(text="The Sun.").update(leaks=["Sun"], leak_state="found", leaks_checked_at=None)
    assert check_stored(project) == 0
    assert not leaks_of(project).exists() and not unchecked(project).exists()


def test_a_part_at_a_time_and_by_admins_only(project, admin, ada, come_in):
    come_in()
    as_before_the_check()
    with pytest.raises(PermissionDenied):
        check_stored(project, user=ada)
    check_stored(project, most=1, user=admin)
    assert unchecked(project).count() == 1
