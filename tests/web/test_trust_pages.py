"""Pages of trust: pausing and letting go on, gold questions, split votes, the test, own progress."""

import re

import pytest
from django.utils import timezone

from annotate.labeling.admission import pause_for
from annotate.labeling.standing import standing
from annotate.models import Adjudication, GoldQuestion, Judgment, Membership, Reservation, Slot, User
from annotate.projects import update_project
from annotate.quality.gold_questions import NewQuestion, make_questions


def text(response) -> str:
    return " ".join(re.sub(r"<[^>]+>", " ", response.content.decode()).split())


@pytest.fixture
def annotator(project):
    return User.objects.get(username="annotator")


def vote(person, comparison, rating, note=""):
    left, right = comparison.first, comparison.second
    return Judgment.objects.create(
        comparison=comparison, annotator=person, left=left, right=right, rating=rating, note=note,
        winner=left if rating in (1, 2) else right, created_at=comparison.created_at,
    )  # fmt: skip


def test_an_admin_pauses_and_lets_go_on(browser, project, annotator):
    admin = browser("admin")
    admin.post("/p/kind/people/", {"do": "pause", "username": "annotator", "note": "Let us talk."})
    assert standing(project, annotator).state == "paused"
    assert "Let us talk." in text(browser("annotator").get("/p/kind/label/"))
    admin.post("/p/kind/people/", {"do": "lift", "username": "annotator"})
    assert standing(project, annotator).state == "open"


def test_a_threshold_tells_the_admin(browser, project, annotator):
    Membership.objects.filter(user=annotator).update(paused_at="2026-01-01T00:00Z", pause_reason="hurry")
    page = text(browser("admin").get("/p/kind/people/"))
    assert "annotator is paused since 1 Jan, 00:00 UTC : judged very fast." in page
    update_project(project, User.objects.get(username="root"), qualification_pass=0.5)
    Membership.objects.filter(user=annotator).update(pause_reason="test")
    assert "0 questions of the test are new to them" in text(browser("admin").get("/p/kind/people/"))
    browser("admin").post("/p/kind/people/", {"do": "qualify", "username": "annotator"})
    assert standing(project, annotator).state == "open"


def test_gold_questions_are_made_and_taken_out(browser, project, pairs):
    (pair,) = pairs(1)
    for number in range(3):
        vote(User.objects.create_user(f"person-{number}"), pair, 1)
    admin = browser("admin")
    assert "3 votes, 3 of them clear" in text(admin.get("/p/kind/quality/gold/"))
    sent = {"do": "make", "pair": pair.pk, "purpose": "gold", f"explanation-{pair.pk}": "So <b>it</b> is."}
    admin.post("/p/kind/quality/gold/", sent)
    question = GoldQuestion.objects.get()
    assert (question.expected, question.explanation) == (pair.first, "So <b>it</b> is.")
    admin.post(f"/p/kind/quality/gold/{question.pk}/", {"active": "no"})
    page = admin.get("/p/kind/quality/gold/")
    assert "out of service" in text(page)
    assert "&lt;b&gt;it&lt;/b&gt;" in page.content.decode()
    assert "Choose at least one pair." in text(admin.post("/p/kind/quality/gold/", {"do": "make"}, follow=True))


def test_votes_show_only_after_a_blind_verdict(browser, project, pairs):
    (pair,) = pairs(1)
    one, other = (User.objects.create_user(name) for name in ("first-voter", "second-voter"))
    vote(one, pair, 1, note="It names its source.")
    vote(other, pair, 4)
    Slot.objects.filter(comparison=pair).update(free_from=None, holder=one)
    client, url = browser("researcher"), f"/p/kind/quality/split/{pair.pk}/"
    assert url in client.get("/p/kind/quality/split/").content.decode()
    before = text(client.get(url))
    assert "first-voter" not in before and "names its source" not in before
    assert "secret-policy" not in before
    client.post(url, {"rating": "2"})
    after = client.get(url)
    assert "first-voter" in text(after) and "names its source" in text(after)
    assert "Before you saw the votes you said: A is slightly better." in text(after)
    # The vote for the first response reads as A or B, whichever side that one stands on here.
    swapped = Adjudication.objects.get().swapped
    row = re.search(r"first-voter</th><td[^>]*>([^<]+)", after.content.decode())[1]
    assert row == ("B is better" if swapped else "A is better")
    assert "Please give the reason" in text(client.post(url, {"rating": "1", "reason": " "}))
    assert client.post(url, {"rating": "1", "reason": "It answers."}).url == "/p/kind/quality/split/"
    assert "It answers." in text(client.get("/p/kind/quality/split/"))
    assert "first-voter" not in text(browser("admin").get("/p/kind/quality/split/"))


def test_the_test_is_explained_afterwards(browser, project, pairs, annotator):
    (pair,) = pairs(1)
    GoldQuestion.objects.create(
        comparison=pair, expected=pair.first, explanation="The first says why.", purpose="qualification"
    )
    vote(annotator, pair, 4)
    assert "Your test" not in text(browser("annotator").get("/p/kind/label/progress/")), "a vote before it was one"
    Judgment.objects.update(created_at=timezone.now())
    page = text(browser("annotator").get("/p/kind/label/progress/"))
    assert "Another answer was expected" in page
    assert "The first says why." in page
    assert "You said: B is better. Expected: A." in page
    update_project(project, User.objects.get(username="root"), qualification_pass=1)
    assert "Your test" not in text(browser("annotator").get("/p/kind/label/progress/")), "not before it is over"


def test_throughput_asks_for_a_rate_before_it_tells_a_cost(browser, project):
    assert "set what an hour costs" in text(browser("admin").get("/p/kind/quality/throughput/"))


def test_from_the_test_to_the_first_pair(browser, project, pairs, annotator):
    """Through the queue itself: two questions of the test, judged as expected, then an ordinary pair."""
    known, ordinary = pairs(2, prompt="Known"), pairs(1, prompt="Ordinary")
    root = User.objects.get(username="root")
    make_questions(project, [NewQuestion(pair, pair.first) for pair in known], "qualification", user=root)
    update_project(project, root, qualification_pass=1, qualification_questions=2)
    client, url = browser("annotator"), "/p/kind/label/"
    for number in (1, 2):
        html = client.get(url).content.decode()
        assert f"Question {number} of 2." in html
        reservation = Reservation.objects.get(key=re.search(r'data-key="([^"]+)"', html)[1])
        assert reservation.comparison in known
        rating = 1 if reservation.left == reservation.comparison.first else 4
        client.post(url, {"key": reservation.key, "rating": rating})
    assert project.memberships.get(user=annotator).qualified_at
    html = client.get(url).content.decode()
    assert "of 2." not in html
    assert Reservation.objects.get(key=re.search(r'data-key="([^"]+)"', html)[1]).comparison == ordinary[0]


def test_without_questions_the_test_says_so(browser, project, pairs):
    pairs(1)
    update_project(project, User.objects.get(username="root"), qualification_pass=1)
    assert "The test has no question for you yet" in text(browser("annotator").get("/p/kind/label/"))


def test_the_overview_says_who_waits_for_an_admin(browser, project):
    """The person was told that an admin knows; only who may lift a pause reads it."""
    said = "1 person is paused and waits to hear from you."
    member = project.memberships.get(user__username="annotator")
    pause_for(member, Membership.Pause.GOLD, timezone.now())
    assert said in browser("admin").get("/p/kind/").content.decode()
    assert said not in browser("researcher").get("/p/kind/").content.decode()
