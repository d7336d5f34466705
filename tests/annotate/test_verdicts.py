"""What a judgment may say: ties, both bad, flags, scores, ranks; what is refused; and changing it later."""

import pytest
from django.core.exceptions import PermissionDenied
from django.db import IntegrityError, transaction

from annotate.errors import UserError
from annotate.labeling.comparisons import (
    NewRanking,
    NewResponse,
    add_prompts,
    add_rankings,
    add_responses,
    ranking_of,
)
from annotate.labeling.editing import edit_judgment, editable
from annotate.labeling.queue import reserve_next
from annotate.labeling.submit import submit_judgment
from annotate.labeling.verdict import Verdict, implied_pairs
from annotate.models import Assessment, Comparison, Judgment, JudgmentVersion, Project, Reservation, Slot
from annotate.models.judgment import Flag, Rating
from annotate.projects import remove_member, set_guidelines

pytestmark = pytest.mark.django_db


def allow(project: Project, **settings):
    Project.objects.filter(pk=project.pk).update(**settings)


@pytest.fixture
def rankings(project):
    """rankings(1, count=4) adds rankings of `count` responses "text 0" … to one prompt each."""

    def make(number: int = 1, count: int = 4, wanted: int | None = None) -> list[Comparison]:
        prompts = add_prompts(project, [[{"role": "user", "content": f"Rank {n}"}] for n in range(number)]).rows
        new = []
        for prompt in prompts:
            written = [NewResponse(prompt, f"text {n}", f"policy-{n}") for n in range(count)]
            new.append(ranking_of(add_responses(project, written).rows))
        return add_rankings(project, new, wanted=wanted).rows

    return make


def test_tie_and_both_bad_are_stored_where_the_project_allows_them(project, ada, pairs):
    pairs(2)
    key = reserve_next(project, ada).key
    for rating in (Rating.EQUAL, Rating.BOTH_BAD):
        with pytest.raises(UserError) as refused:
            submit_judgment(ada, key, rating)
        assert refused.value.field == "rating"
    allow(project, allow_equal=True, allow_both_bad=True)
    tie = submit_judgment(ada, key, Rating.EQUAL)
    bad = submit_judgment(ada, reserve_next(project, ada).key, "5")
    assert (tie.rating, tie.winner, bad.rating, bad.winner) == (0, None, 5, None)


def test_flags_scores_confidence_and_an_improved_answer_are_stored(project, ada, pairs):
    pairs(1)
    drawn = reserve_next(project, ada)
    flags = Flag.HALLUCINATION | Flag.OPINION
    judgment = submit_judgment(
        ada, drawn.key, 4, overall=["3", ""], flags=[int(flags), 0], confidence="2",
        edited=" Better still. ", active_seconds="1e9", renderer=7,
    )  # fmt: skip
    (about_a,) = Assessment.objects.all()
    assert (about_a.response, about_a.place, about_a.overall, about_a.rank) == (drawn.left, 0, 3, None)
    assert Flag(about_a.flags) == flags
    assert (judgment.confidence, judgment.edited, judgment.renderer) == (2, "Better still.", 7)
    assert judgment.active_seconds == judgment.seconds, "never more than what passed here"


def test_an_answer_that_was_opened_and_left_as_it_was_is_no_improvement(project, ada, pairs):
    pairs(1)
    drawn = reserve_next(project, ada)
    assert submit_judgment(ada, drawn.key, 1, edited=f"{drawn.left.text}\r\n").edited == ""


@pytest.mark.parametrize("measured", ["", None, "soon", "nan", -5])
def test_a_clock_that_cannot_be_read_costs_nobody_a_judgment(project, ada, pairs, measured):
    pairs(1)
    judgment = submit_judgment(ada, reserve_next(project, ada).key, 1, active_seconds=measured)
    assert judgment.active_seconds in (None, 0.0)


@pytest.mark.parametrize(
    ("said", "field"),
    [
        ({"overall": ["8"]}, "overall"),
        ({"overall": ["", "", "3"]}, "overall"),
        ({"flags": [1024]}, "flags"),
        ({"flags": ["?"]}, "flags"),
        ({"confidence": "4"}, "confidence"),
        ({"edited": "x" * 50_001}, "edited"),
    ],
)
def test_what_makes_no_sense_is_refused_by_name(project, ada, pairs, said, field):
    pairs(1)
    key = reserve_next(project, ada).key
    with pytest.raises(UserError) as refused:
        submit_judgment(ada, key, 1, **said)
    assert refused.value.field == field
    assert not Judgment.objects.exists()


def test_a_reason_may_be_required(project, ada, pairs):
    pairs(1)
    allow(project, require_note=True)
    key = reserve_next(project, ada).key
    with pytest.raises(UserError, match="few words") as refused:
        submit_judgment(ada, key, 1, note="  ")
    assert refused.value.field == "note"
    assert submit_judgment(ada, key, 1, note="Shorter.").note == "Shorter."


# ---- rankings ----------------------------------------------------------------------------------------------------


def test_a_ranking_has_slots_like_a_pair_and_is_there_once(project, rankings):
    (ranking,) = rankings(wanted=3)
    assert (ranking.kind, ranking.first, Slot.objects.count()) == ("ranking", None, 3)
    assert [response.text for response in ranking.responses] == [f"text {n}" for n in range(4)]
    assert rankings() == [ranking]
    assert Slot.objects.count() == 3


def test_too_few_responses_make_no_ranking(project):
    (prompt,) = add_prompts(project, [[{"role": "user", "content": "Q"}]]).rows
    same = add_responses(project, [NewResponse(prompt, text, f"{n}") for n, text in enumerate("aabc")]).rows
    assert ranking_of(same) is None, "three different texts"
    with pytest.raises(ValueError, match="4 to 9"):
        add_rankings(project, [NewRanking(tuple(same[:3]))])


def test_the_order_shown_is_drawn_and_the_ranks_go_to_the_responses_shown(project, ada, rankings):
    rankings(12)
    seen = set()
    for _ in range(12):
        drawn = reserve_next(project, ada)
        assert sorted(drawn.order) == list("0123")
        seen.add(drawn.order)
        shown = drawn.shown
        judgment = submit_judgment(ada, drawn.key, ranks=["2", "4", "1", "3"])
        ranked = {row.response.text: row.rank for row in judgment.assessments.all()}
        assert ranked == dict(zip([response.text for response in shown], [2, 4, 1, 3], strict=True))
        assert judgment.shown == shown
        assert (judgment.rating, judgment.left, judgment.winner) == (None, None, None)
    assert len(seen) > 4, "not always the same order"
    assert reserve_next(project, ada) is None


@pytest.mark.parametrize("ranks", [[], ["1", "2", "3"], ["1", "2", "3", "3"], ["1", "2", "3", "5"],
                                   ["1", "2", "3", "x"], ["1", "2", "3", "4", "4"]])  # fmt: skip
def test_ranks_that_are_no_ranking_are_refused(project, ada, rankings, ranks):
    rankings()
    key = reserve_next(project, ada).key
    with pytest.raises(UserError) as refused:
        submit_judgment(ada, key, ranks=ranks)
    assert refused.value.field == "ranks"


def test_shared_ranks_close_up(project, ada, rankings):
    rankings()
    allow(project, allow_equal=True)
    judgment = submit_judgment(ada, reserve_next(project, ada).key, ranks=[4, 1, 1, 3])
    assert [row.rank for row in judgment.assessments.all()] == [3, 1, 1, 2]


def test_a_ranking_implies_its_pairs():
    assert sorted(implied_pairs((2, 1, 2, 3))) == [(0, 3), (1, 0), (1, 2), (1, 3), (2, 3)]


@pytest.mark.parametrize(
    "change",
    [{"rating": None}, {"rating": 6, "winner": None}, {"confidence": 4}, {"active_seconds": 1e12}, {"version": 2},
     {"rating": 5}],
)  # fmt: skip
def test_the_database_holds_what_a_judgment_is(project, ada, pairs, change):
    pairs(1)
    submit_judgment(ada, reserve_next(project, ada).key, 1)
    with pytest.raises(IntegrityError), transaction.atomic():
        Judgment.objects.update(**change)


def test_the_database_holds_what_a_comparison_is(project, rankings, pairs):
    (ranking,), (pair,) = rankings(), pairs(1)
    for wrong in ({"kind": "pair"}, {"first": pair.first}):
        with pytest.raises(IntegrityError), transaction.atomic():
            Comparison.objects.filter(pk=ranking.pk).update(**wrong)
    with pytest.raises(IntegrityError), transaction.atomic():
        Comparison.objects.filter(pk=pair.pk).update(second=None)


# ---- changing it -------------------------------------------------------------------------------------------------


def test_an_edit_is_a_new_version_and_the_earlier_one_is_kept(project, ada, admin, pairs):
    pairs(1)
    judgment = submit_judgment(ada, reserve_next(project, ada).key, 1, helpful=1, note="hasty", flags=[0, 1])
    before = Verdict.of(judgment)
    first_guidelines = judgment.guideline
    set_guidelines(project, admin, "# New", minor=True)
    edited = edit_judgment(project, ada, judgment.pk, rating=4, note="on second thoughts", overall=[2, 6], renderer=9)
    assert (edited.pk, edited.rating, edited.winner, edited.helpful) == (judgment.pk, 4, judgment.right, None)
    assert (edited.version, edited.renderer, edited.guideline.text) == (2, 9, "# New\n")
    assert (edited.created_at, edited.seconds) == (judgment.created_at, judgment.seconds)
    kept = JudgmentVersion.objects.get()
    assert (kept.number, kept.given_at, kept.guideline) == (1, judgment.created_at, first_guidelines)
    assert kept.said == before.as_json()
    assert kept.said["rating"] == 1 and kept.said["flags"] == [0, 1] and kept.said["note"] == "hasty"
    assert [(row.place, row.overall, row.flags) for row in edited.assessments.all()] == [(0, 2, 0), (1, 6, 0)]


def test_an_edit_before_new_guidelines_are_read_is_by_the_old_ones(project, ada, admin, pairs):
    pairs(1)
    old = submit_judgment(ada, reserve_next(project, ada).key, 1)
    new = set_guidelines(project, admin, "# New")
    edited = edit_judgment(project, ada, old.pk, rating=4)
    assert edited.guideline == old.guideline != new
    project.memberships.filter(user=ada).update(acknowledged=new)
    assert edit_judgment(project, ada, old.pk, rating=1).guideline == new


def test_an_edit_sent_twice_is_one_new_version(project, ada, pairs):
    pairs(1)
    judgment = submit_judgment(ada, reserve_next(project, ada).key, 1)
    for _ in range(2):
        edit_judgment(project, ada, judgment.pk, rating="3")
    assert Judgment.objects.get().version == 2
    assert JudgmentVersion.objects.count() == 1
    edit_judgment(project, ada, judgment.pk, rating=1)
    assert list(JudgmentVersion.objects.values_list("number", flat=True)) == [1, 2]


def test_a_ranking_can_be_changed_as_well(project, ada, rankings):
    rankings()
    judgment = submit_judgment(ada, reserve_next(project, ada).key, ranks=[1, 2, 3, 4])
    shown = judgment.shown
    edited = edit_judgment(project, ada, judgment.pk, ranks=[4, 3, 2, 1])
    assert [(row.response, row.rank) for row in edited.assessments.all()] == list(zip(shown, [4, 3, 2, 1], strict=True))
    assert JudgmentVersion.objects.get().said["ranks"] == [1, 2, 3, 4]


def test_only_ones_own_last_judgments_and_only_while_the_project_is_open(project, ada, ben, admin, pairs):
    pairs(4, wanted=2)
    theirs = submit_judgment(ben, reserve_next(project, ben).key, 1)
    mine = [submit_judgment(ada, reserve_next(project, ada).key, 1) for _ in range(3)]
    allow(project, edit_last=2)
    project.refresh_from_db()
    assert editable(project, ada) == {mine[1].pk, mine[2].pk}
    for pk, words in ((theirs.pk, "no such"), (mine[0].pk, "last 2"), (10**9, "no such")):
        with pytest.raises(UserError, match=words):
            edit_judgment(project, ada, pk, rating=2)
    assert edit_judgment(project, ada, mine[1].pk, rating=2).rating == 2
    project.archived = True
    project.save()
    with pytest.raises(UserError, match="closed"):
        edit_judgment(project, ada, mine[2].pk, rating=2)
    project.archived = False
    project.save()
    remove_member(project, ada, user=admin)
    with pytest.raises(PermissionDenied):
        edit_judgment(project, ada, mine[2].pk, rating=2)


def test_nobody_judges_twice_by_a_second_reservation_of_a_ranking(project, ada, rankings):
    rankings(wanted=2)
    drawn = reserve_next(project, ada)
    first = submit_judgment(ada, drawn.key, ranks=[1, 2, 3, 4])
    again = submit_judgment(ada, drawn.key, ranks=[4, 3, 2, 1])
    assert again == first and Assessment.objects.count() == 4
    assert Reservation.objects.count() == 1 and reserve_next(project, ada) is None


def test_a_ranking_has_no_verdicts_that_compare_two(project, ada, rankings):
    rankings()
    key = reserve_next(project, ada).key
    with pytest.raises(UserError, match="not about rankings") as refused:
        submit_judgment(ada, key, ranks=[1, 2, 3, 4], truthful=1)
    assert refused.value.field == "truthful"
    assert submit_judgment(ada, key, ranks=[1, 2, 3, 4], truthful="").truthful is None
