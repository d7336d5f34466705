"""Split votes: which comparisons are split, the blind verdict before the votes, and what a snapshot makes of it."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from django.core.exceptions import PermissionDenied
from django.db import IntegrityError, connection, transaction
from django.utils import timezone

from annotate.datasets.snapshots import create_snapshot, rows
from annotate.errors import UserError
from annotate.models import Adjudication, Slot, User
from annotate.quality.adjudication import begin, decide, shown_swapped
from annotate.quality.splits import split_comparisons
from tests.quality.conftest import save

# A's side of the four-way scale is the first response here: nothing is swapped.
CLEAR_FIRST, SLIGHT_FIRST, SLIGHT_SECOND, CLEAR_SECOND = (True, False), (True, True), (False, True), (False, False)


@pytest.fixture
def voted(project, comparisons, judge):
    """voted([CLEAR_FIRST, SLIGHT_SECOND], …): a comparison a list of votes, all that were wanted."""

    def make(*ballots):
        people = [User.objects.create_user(f"voter-{number}") for number in range(max(map(len, ballots)))]
        pairs = comparisons(len(ballots))
        save(
            [
                judge(person, pair, picks_first=first, slightly=slightly, swapped=False)
                for pair, ballot in zip(pairs, ballots, strict=True)
                for person, (first, slightly) in zip(people, ballot, strict=False)
            ]
        )
        Slot.objects.update(free_from=None, holder=people[0])
        return pairs

    return make


@pytest.fixture
def researcher(project):
    return User.objects.get(username="researcher")


def test_what_counts_as_split(project, voted):
    pairs = voted(
        [CLEAR_FIRST, CLEAR_FIRST, SLIGHT_SECOND],  # 2 : 1 votes, 4 : 1 points
        [CLEAR_FIRST, SLIGHT_SECOND],  # 1 : 1 votes
        [SLIGHT_FIRST, SLIGHT_FIRST, CLEAR_SECOND],  # 2 : 1 votes, 2 : 2 points
        [SLIGHT_FIRST, SLIGHT_FIRST, SLIGHT_FIRST, CLEAR_SECOND, CLEAR_SECOND],  # 3 : 2 votes, 3 : 4 points
        [CLEAR_FIRST, CLEAR_FIRST, CLEAR_SECOND],  # 2 : 1 votes, 4 : 2 points, clear on both sides
        [CLEAR_FIRST, CLEAR_FIRST, CLEAR_FIRST],
        [SLIGHT_FIRST, SLIGHT_FIRST, SLIGHT_SECOND],  # 2 : 1 votes, 2 : 1 points
    )
    found = {row.pk: (row.for_first, row.for_second, row.points_first, row.points_second)
             for row in split_comparisons(project)}  # fmt: skip
    assert found == {
        pairs[1].pk: (1, 1, 2, 1),
        pairs[2].pk: (2, 1, 2, 2),
        pairs[3].pk: (3, 2, 3, 4),
        pairs[4].pk: (2, 1, 4, 2),
    }


@pytest.mark.django_db(transaction=True)
def test_a_verdict_is_not_begun_anew_while_it_is_decided(project, voted, researcher):
    (pair,) = voted([CLEAR_FIRST, CLEAR_SECOND])
    admin, deciding, has_begun = User.objects.get(username="admin"), threading.Event(), threading.Event()
    begin(pair, researcher, 1)

    def decide_slowly():
        with transaction.atomic():
            decide(pair, researcher, 1, "A names its source.")
            deciding.set()
            has_begun.wait(0.5)  # it waits for us, so this only gives it the time to come in between
        connection.close()

    with ThreadPoolExecutor(1) as pool:
        decided = pool.submit(decide_slowly)
        deciding.wait()
        with pytest.raises(UserError, match="decided already"):
            begin(pair, admin, 4)
        has_begun.set()
        decided.result()
    assert Adjudication.objects.get().author == researcher


def test_not_before_all_wanted_votes_are_in(project, voted):
    (pair,) = voted([CLEAR_FIRST, CLEAR_SECOND])
    assert split_comparisons(project).count() == 1
    Slot.objects.filter(comparison=pair).update(free_from=timezone.now(), holder=None)
    assert split_comparisons(project).count() == 0


def test_blind_first_then_with_a_reason_once(project, voted, researcher):
    (pair,) = voted([CLEAR_FIRST, CLEAR_SECOND])
    with pytest.raises(UserError, match="before you see the votes"):
        decide(pair, researcher, 1, "A names its source.")
    begun = begin(pair, researcher, 4)
    assert (begun.blind_rating, begun.rating, begun.swapped) == (4, None, shown_swapped(pair, researcher))
    assert begin(pair, researcher, 1).blind_rating == 4, "the blind verdict stays"
    with pytest.raises(UserError, match="reason"):
        decide(pair, researcher, 1, "  ")
    done = decide(pair, researcher, 1, "A names its source.")
    assert done.winner == (pair.second if begun.swapped else pair.first)
    assert split_comparisons(project).count() == 0
    for again in (lambda: decide(pair, researcher, 4, "No."), lambda: begin(pair, researcher, 4)):
        with pytest.raises(UserError, match="decided already"):
            again()


def test_somebody_else_takes_over_what_was_only_begun(project, voted, researcher):
    (pair,) = voted([CLEAR_FIRST, CLEAR_SECOND])
    begin(pair, researcher, 4)
    admin = User.objects.get(username="admin")
    assert begin(pair, admin, 2).author == admin
    with pytest.raises(UserError):
        decide(pair, researcher, 1, "Mine.")
    assert decide(pair, admin, 0, "They say the same.").winner is None
    assert Adjudication.objects.count() == 1


def test_who_voted_does_not_decide(project, voted, judge, researcher):
    (pair,) = voted([CLEAR_FIRST, CLEAR_SECOND])
    save([judge(researcher, pair, picks_first=True, swapped=False)])
    with pytest.raises(UserError, match="voted on this pair yourself"):
        begin(pair, researcher, 1)


@pytest.mark.parametrize("username", ["annotator", "outsider"])
def test_only_researchers_and_admins_adjudicate(project, voted, username):
    (pair,) = voted([CLEAR_FIRST, CLEAR_SECOND])
    person = User.objects.get(username=username)
    with pytest.raises(PermissionDenied):
        begin(pair, person, 1)
    with pytest.raises(PermissionDenied):
        decide(pair, person, 1, "Because.")


def test_a_decision_without_reason_or_winner_cannot_be_stored(project, voted, researcher):
    (pair,) = voted([CLEAR_FIRST, CLEAR_SECOND])
    begin(pair, researcher, 1)
    for wrong in ({"rating": 1}, {"rating": 1, "decided_at": timezone.now(), "reason": "x"}, {"winner": pair.first}):
        with pytest.raises(IntegrityError), transaction.atomic():
            Adjudication.objects.update(**wrong)


def test_a_snapshot_may_take_the_adjudicated_verdict(project, voted, researcher):
    """Of three pairs the first is decided for the second response, the second as equal, the third has a majority."""
    decided, equal, plain = voted(
        [CLEAR_FIRST, CLEAR_FIRST, CLEAR_SECOND], [CLEAR_FIRST, CLEAR_SECOND], [CLEAR_FIRST, CLEAR_FIRST, SLIGHT_SECOND]
    )
    begun = begin(decided, researcher, 1)
    decide(decided, researcher, 2 if begun.swapped else 3, "The second.")
    begin(equal, researcher, 0)
    decide(equal, researcher, 0, "The same.")

    def chosen(votes):
        snapshot = create_snapshot(project, "preferences", votes=votes)
        lines = {line["prompt"][0]["content"]: line for line in rows(snapshot)}
        return {name: (line["chosen"][0]["content"], line["strength"], line["probability"])
                for name, line in lines.items()}, snapshot.facts  # fmt: skip

    name = {pair: pair.prompt.messages[0]["content"] for pair in (decided, equal, plain)}
    lines, facts = chosen("adjudicated")
    assert lines[name[decided]] == (decided.second.text, "slightly_better", 1.0)
    assert lines[name[plain]] == (plain.first.text, "better", pytest.approx(2 / 3))
    assert name[equal] not in lines
    assert (facts["adjudicated"], facts["ties"]) == (2, 1)
    assert chosen("majority")[0][name[decided]][0] == decided.first.text
