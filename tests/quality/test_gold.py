"""Gold questions: how they are made, what an answer does, the test's end, and thresholds that pause a queue."""

import json
from datetime import timedelta

import pytest
from django.core.exceptions import PermissionDenied
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from django.utils import timezone

from annotate.datasets.snapshots import create_snapshot
from annotate.errors import UserError
from annotate.labeling.admission import lift_pause
from annotate.labeling.editing import edit_judgment
from annotate.labeling.standing import standing
from annotate.labeling.submit import skip_comparison, submit_judgment
from annotate.models import GoldQuestion, Judgment, Reservation, Slot, User
from annotate.projects import update_project
from annotate.quality import gold
from annotate.quality.gold import Record
from annotate.quality.gold_questions import (
    NewQuestion,
    candidates,
    change_question,
    make_of_candidates,
    make_of_file,
    make_questions,
    question_rows,
)
from tests.quality.conftest import save

GOLD, TEST = GoldQuestion.Purpose.GOLD, GoldQuestion.Purpose.QUALIFICATION


@pytest.fixture
def root(project):
    return User.objects.get(username="root")


@pytest.fixture
def ada(project):
    return User.objects.get(username="annotator")


@pytest.fixture
def questions(project, comparisons, root):
    """questions(5, TEST): the first response is expected in each."""

    def make(count, purpose=GOLD, seed=0):
        new = [NewQuestion(pair, pair.first, "It is plainer.") for pair in comparisons(count, seed)[-count:]]
        return make_questions(project, new, purpose, user=root)

    return make


@pytest.fixture
def reserve(project):
    def make(user, comparison, seconds=30.0, after=0.0):
        shown = timezone.now() + timedelta(seconds=after) - timedelta(seconds=seconds)
        number = 100 + user.pk
        slot = Slot.objects.create(
            project=project, comparison=comparison, number=number, holder=user, free_from=shown + timedelta(days=1)
        )
        return Reservation.objects.create(
            project=project, slot=slot, annotator=user, swapped=False, reserved_at=shown, shown_at=shown,
            queued_at=shown,
        )  # fmt: skip

    return make


@pytest.fixture
def answer(reserve):
    """answer(ada, comparison, first=True): a judgment as the labeling page sends it."""

    def give(user, comparison, *, first=True, seconds=30.0):
        now = timezone.now()
        reservation = reserve(user, comparison, seconds)
        return submit_judgment(user, reservation.key, 1 if first else 4, now=now)

    return give


def agreed(comparison, people, judge, *, first=True):
    return [judge(person, comparison, picks_first=first, swapped=False) for person in people]


def people(count):
    return [User.objects.create_user(f"person-{number}") for number in range(count)]


def test_candidates_are_what_enough_people_agree_on(project, comparisons, judge, root):
    three, rows = people(3), comparisons(4)
    split = agreed(rows[2], three, judge)
    split[2] = judge(three[2], rows[2], picks_first=False, swapped=False)
    slightly = [judge(person, rows[0], picks_first=False, swapped=False, slightly=True) for person in three]
    save([*slightly, *agreed(rows[1], three, judge), *split, *agreed(rows[3], three[:2], judge)])
    found = list(candidates(project))
    assert [(row.pk, row.votes, row.clear) for row in found] == [(rows[1].pk, 3, 3), (rows[0].pk, 3, 0)]

    questions = make_of_candidates(project, [row.pk for row in found], GOLD, user=root)
    assert {(row.comparison_id, row.expected_id) for row in questions} == {
        (rows[1].pk, rows[1].first_id), (rows[0].pk, rows[0].second_id),
    }  # fmt: skip
    assert list(candidates(project)) == []
    with pytest.raises(UserError):
        make_of_candidates(project, [rows[1].pk], GOLD, user=root)
    with pytest.raises(UserError):
        make_of_candidates(project, [rows[2].pk], GOLD, user=root)
    assert GoldQuestion.objects.count() == 2
    assert gold.gold_record(project, three[0].pk) == Record(0, 0), "what made the question is no answer to it"


def test_a_gold_question_leaves_the_ordinary_queue(questions):
    (question,) = questions(1)
    assert not Slot.objects.filter(comparison=question.comparison, apart=False).exists()
    question.comparison.refresh_from_db()
    assert question.comparison.judgments_wanted == 0


def test_a_gold_question_is_no_training_data(project, comparisons, judge, root):
    three, rows = people(3), comparisons(2)
    save(agreed(rows[0], three, judge) + agreed(rows[1], three, judge))
    assert create_snapshot(project, "preferences").rows == 2
    make_of_candidates(project, [rows[0].pk], GOLD, user=root)
    assert create_snapshot(project, "preferences").rows == 1


def test_questions_from_a_file_land_whole_or_not_at_all(project, root):
    def upload(*rows):
        text = "\n".join(json.dumps(row) for row in rows)
        return SimpleUploadedFile("gold.jsonl", text.encode())

    tides = {"prompt": "How do tides work?", "chosen": "The Moon.", "rejected": "Wind.", "explanation": "Physics."}
    equal = {"prompt": "One or two?", "chosen": "One.", "rejected": "Two.", "strength": "tie"}
    made = make_of_file(project, upload(tides, equal), TEST, user=root)
    assert [(row.expected and row.expected.text, row.explanation) for row in made] == [
        ("The Moon.", "Physics."), (None, ""),
    ]  # fmt: skip
    assert Slot.objects.count() == 0
    for bad in ({"prompt": "Why?", "chosen": "So."}, {"prompt": "Why?", "chosen": "So.", "rejected": "So."}, tides):
        with pytest.raises(UserError):
            make_of_file(project, upload({**tides, "prompt": "New"}, bad), TEST, user=root)
    with pytest.raises(UserError) as error:
        make_of_file(project, upload(tides, {"prompt": "Why?", "chosen": "So."}), TEST, user=root)
    assert error.value.message == 'gold.jsonl, line 2, field "rejected": expected this field to be present.'
    assert GoldQuestion.objects.count() == 2
    assert project.prompts.count() == 2


def test_the_test_ends_after_its_questions_and_opens_the_project(project, root, ada, questions, answer):
    update_project(project, root, qualification_pass=0.75, qualification_questions=4)
    pairs = [question.comparison for question in questions(6, TEST)]
    for place, pair in enumerate(pairs[:4]):
        assert standing(project, ada).state == "qualifying"
        answer(ada, pair, first=place != 0)
    assert gold.test_record(project, project.memberships.get(user=ada)) == Record(3, 4)
    assert standing(project, ada).state == "open", "three of four are 0.75"
    assert [row.matches for row in gold.test_answers(project, ada.pk)] == [False, True, True, True]


def test_who_fails_is_paused_and_an_admin_grants_another_try_with_new_questions(
    project, root, ada, questions, answer, reserve
):
    update_project(project, root, qualification_pass=0.8, qualification_questions=3)
    pairs = [question.comparison for question in questions(5, TEST)]
    answer(ada, pairs[0])
    answer(ada, pairs[1])
    skip_comparison(ada, reserve(ada, pairs[2]).key, "other")
    where = standing(project, ada)
    assert (where.state, project.memberships.get(user=ada).pause_reason) == ("paused", "test"), "two of three are 0.67"
    assert gold.questions_ahead(project, ada.pk) == 2
    lift_pause(project, ada, user=root)
    assert standing(project, ada).state == "qualifying"
    answer(ada, pairs[3])
    assert standing(project, ada).state == "qualifying"
    answer(ada, pairs[4])
    assert standing(project, ada).state == "open", "two of the two that were left"


def test_gold_answers_below_the_threshold_pause(project, root, ada, questions, answer):
    update_project(project, root, pause_below_gold=0.6, pause_after=4)
    pairs = [question.comparison for question in questions(8)]
    for pair, first in zip(pairs, (True, False, False, False, False), strict=False):
        answer(ada, pair, first=first)
    assert standing(project, ada).state == "open", "one of five, by chance 0.4⁵ + 5 · 0.6 · 0.4⁴ = 0.087"
    answer(ada, pairs[5], first=False)
    assert gold.gold_record(project, ada.pk) == Record(1, 6), "by chance 0.4⁶ + 6 · 0.6 · 0.4⁵ = 0.041"
    assert project.memberships.get(user=ada).pause_reason == "gold"
    for person, address, words in [
        (ada, "/p/careful/label/", "Known answers that yours matched: 1 of 6."),
        (root, "/p/careful/people/", "Gold questions matched: 1 of 6."),
    ]:
        client = Client()
        client.force_login(person)
        assert words in client.get(address).content.decode()
    lift_pause(project, ada, user=root)
    answer(ada, pairs[6], first=False)
    assert standing(project, ada).state == "open", "a lifted pause begins anew"


def test_a_changed_answer_counts_as_what_it_says_now(project, root, ada, questions, answer):
    update_project(project, root, pause_below_gold=0.6, pause_after=4)
    for question, first in zip(questions(4), (True, False, False, False), strict=True):
        answer(ada, question.comparison, first=first)
    assert standing(project, ada).state == "open"
    matched = Judgment.objects.filter(annotator=ada).order_by("pk").first()
    edit_judgment(project, ada, matched.pk, rating=5 - matched.rating)
    assert gold.gold_record(project, ada.pk) == Record(0, 4), "by chance 0.4⁴ = 0.026"
    assert project.memberships.get(user=ada).pause_reason == "gold"


def test_a_question_out_of_service_counts_against_nobody(project, root, ada, questions, answer):
    made = questions(4)
    for question in made:
        answer(ada, question.comparison, first=question == made[0])
    change_question(made[1], user=root, active=False)
    assert gold.gold_record(project, ada.pk) == Record(1, 3)


def test_fast_judgments_pause_and_slow_ones_between_do_not(project, root, ada, comparisons, answer):
    update_project(project, root, pause_below_seconds=10, pause_after=3)
    pairs = comparisons(6)
    for pair, seconds in zip(pairs, (5, 5, 30, 12), strict=False):
        answer(ada, pair, seconds=seconds)
    # The last three: 5, 30 and 12 seconds, in the middle 12; the first three had 5 in the middle.
    membership = project.memberships.get(user=ada)
    assert membership.pause_reason == "hurry"
    lift_pause(project, ada, user=root)
    assert standing(project, ada).state == "open"


def test_checking_twice_is_checking_once(project, root, ada, questions, answer):
    update_project(project, root, qualification_pass=1, qualification_questions=1)
    judgment = answer(ada, questions(1, TEST)[0].comparison)
    before = project.memberships.get(user=ada).qualified_at
    gold.check(judgment)
    assert project.memberships.get(user=ada).qualified_at == before is not None


def test_without_thresholds_a_check_asks_nothing(project, ada, comparisons, answer, django_assert_num_queries):
    judgment = answer(ada, comparisons(1)[0])
    with django_assert_num_queries(0):
        gold.check(judgment)


def test_admins_are_never_paused(project, root, questions, answer):
    update_project(project, root, qualification_pass=1, qualification_questions=1)
    answer(root, questions(1, TEST)[0].comparison, first=False)
    assert standing(project, root).state == "open"


def test_a_question_that_most_fail_is_suspect(project, root, questions, answer):
    right, wrong = questions(2)
    four = people(4)
    for person in four:
        project.memberships.create(user=person, role="annotator")
        answer(person, right.comparison)
        answer(person, wrong.comparison, first=person == four[0])
    rows = [(row.pk, row.answered, row.matched, row.suspect) for row in question_rows(project)]
    assert rows == [(wrong.pk, 4, 1, True), (right.pk, 4, 4, False)]


@pytest.mark.parametrize("username", ["annotator", "researcher", "outsider"])
def test_only_admins_make_and_change_questions(project, questions, comparisons, username):
    person = User.objects.get(username=username)
    (question,) = questions(1)
    file = SimpleUploadedFile("gold.jsonl", b"")
    for attempt in (
        lambda: make_of_candidates(project, [1], GOLD, user=person),
        lambda: make_questions(project, [], GOLD, user=person),
        lambda: make_of_file(project, file, GOLD, user=person),
        lambda: change_question(question, user=person, active=False),
    ):
        with pytest.raises(PermissionDenied):
            attempt()


def test_ties_match_only_where_equal_is_expected(project, root, comparisons, answer, ada):
    update_project(project, root, allow_equal=True)
    one, other = comparisons(2)
    make_questions(project, [NewQuestion(one, None), NewQuestion(other, other.first)], GOLD, user=root)
    answer(ada, one)
    answer(ada, other)
    assert gold.gold_record(project, ada.pk) == Record(1, 2)
    Judgment.objects.update(rating=0, winner=None)
    assert gold.gold_record(project, ada.pk) == Record(1, 2)
    Judgment.objects.update(rating=5, winner=None)
    assert gold.gold_record(project, ada.pk) == Record(0, 2), "both bad is not equal"
