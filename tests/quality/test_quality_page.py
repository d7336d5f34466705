"""The quality page: who may see it, what it says about people with known habits, and what it says without data."""

import re
import shutil

import pytest
from django.test import Client

from annotate.models import Judgment, QualityReport, User
from annotate.quality import panels, selectors
from annotate.quality.agreement import krippendorff_alpha, percent_agreement
from annotate.quality.bias import LENGTH, POSITION, fit
from annotate.quality.reliability import mace
from tests.quality.conftest import Habit, save

CHROMIUM = shutil.which("chromium")
FLAGS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
]  # fmt: skip
ADDRESS = "/p/careful/quality/"


def client_of(username: str) -> Client:
    client = Client()
    client.force_login(User.objects.get(username=username))
    return client


def words_of(username: str = "researcher") -> str:
    """The page as words: no tags, single spaces."""
    html = client_of(username).get(ADDRESS).content.decode()
    return " ".join(re.sub(r"<[^>]+>", " ", html[html.index("<main") : html.index("</main>")]).split())


def table_of(project):
    responses = selectors.read_responses(project)
    return selectors.read_judgments(project, responses), responses


@pytest.mark.parametrize(
    ("username", "status"), [("admin", 200), ("researcher", 200), ("root", 200), ("annotator", 403), ("outsider", 403)]
)
def test_who_may_see_it(project, username, status):
    assert client_of(username).get(ADDRESS).status_code == status


def test_strangers_sign_in_first(project):
    response = Client().get(ADDRESS)
    assert response.status_code == 302
    assert response.url.startswith("/login/")


def test_the_menu_leads_there(project):
    assert f'href="{ADDRESS}"' in client_of("researcher").get("/p/careful/").content.decode()
    assert f'href="{ADDRESS}"' not in client_of("annotator").get("/p/careful/guidelines/").content.decode()


def test_without_judgments_the_admin_is_told_what_to_do(project):
    page = client_of("admin").get(ADDRESS).content.decode()
    assert "No judgments yet" in page
    assert 'href="/p/careful/data/"' in page
    assert 'href="/p/careful/data/"' not in client_of("researcher").get(ADDRESS).content.decode()


def test_where_nobody_met_agreement_is_not_defined_in_words(project, comparisons, judge):
    annotator = User.objects.get(username="annotator")
    save([judge(annotator, comparison, picks_first=True, swapped=False) for comparison in comparisons(5)])
    words = words_of()
    assert "Nobody has judged what somebody else judged" in words
    assert "Nobody else judged the same comparisons." in words
    assert "Too few decided judgments." in words
    assert not re.search(r"\b(nan|inf|None)\b", words)


def test_the_habits_of_people_show(project, simulate):
    simulate({"maria": Habit(0.95), "lee": Habit(0.9), "clicker": Habit(0.0, left=1.0, seconds=4)}, 60)
    words = words_of()
    assert "clicker mostly guessing" in words
    assert words.count("mostly guessing") == 1
    table, _ = table_of(project)
    people = {row.name: row for row in panels.people_rows(table, mace(table.verdicts()))}
    assert people["maria"].competence.value > 0.8
    assert people["clicker"].competence.value < 0.2
    assert people["clicker"].seconds == pytest.approx(4, rel=0.3)
    assert people["maria"].judgments == 60
    assert "Left side" in words and "Pulls to the left." in words
    # Model-two wrote the better response in about three of four.
    assert words.index("model-two") < words.index("model-one")
    assert not re.search(r"\b(nan|inf|None)\b", words)


def test_agreement_is_about_responses_not_about_sides(project, comparisons, judge):
    """Both always choose the same response; one saw it left, the other right."""
    people = [User.objects.create_user(name) for name in ("one", "other")]
    save(
        [
            judge(person, comparison, picks_first=number % 3 == 0, swapped=swapped)
            for number, comparison in enumerate(comparisons(12))
            for person, swapped in zip(people, (False, True), strict=True)
        ]
    )
    table, _ = table_of(project)
    for votes in (table.verdicts(), table.scale(), table.criterion("helpful")):
        assert percent_agreement(votes).value == 1
        assert krippendorff_alpha(votes).value == 1
    assert table.verdicts().counts[:, 0].sum() == 8, "the first response in every third comparison, twice"


def test_guideline_versions_are_kept_apart(project, comparisons, judge):
    """Under version 1 two people disagree on everything, under version 2 they agree on everything."""
    version_2 = project.guideline_versions.create(number=2, text="Be careful.")
    people = [User.objects.create_user(name) for name in ("one", "other")]
    judgments = []
    for number, comparison in enumerate(comparisons(20)):
        for place, person in enumerate(people):
            first = number % 2 == 0 if number < 10 else (number % 2 == 0) == (place == 0)
            judgments.append(judge(person, comparison, picks_first=first, swapped=False))
            judgments[-1].guideline = version_2 if number < 10 else project.guideline_versions.get(number=1)
    save(judgments)
    newer, older = panels.guideline_rows(table_of(project)[0])
    assert (newer.name, older.name) == ("Version 2", "Version 1")
    assert newer.alpha.value == 1
    assert older.percent.value == 0
    assert older.alpha.value < 0


def test_extras_count_and_imported_votes_have_no_side(project, simulate):
    """A judgment without a slot counts like any other; one that was never shown came from elsewhere."""
    simulate({"maria": Habit(), "lee": Habit()}, 40)
    table, responses = table_of(project)
    assert not Judgment.objects.filter(slot__isnull=False).exists()
    assert len(table) == 80
    assert POSITION in fit(table.choices(responses.length, responses.markdown)).pulls
    Judgment.objects.update(reservation=None, shown_at=None, seconds=None)
    table, responses = table_of(project)
    imported = fit(table.choices(responses.length, responses.markdown))
    assert POSITION not in imported.pulls
    assert LENGTH in imported.pulls
    assert "the order shown is not known" in words_of()


def test_imported_ties_are_a_label_of_their_own(project, comparisons, judge):
    people = [User.objects.create_user(name) for name in ("one", "other")]
    judgments = [
        judge(person, comparison, picks_first=number == 0, swapped=False)
        for number, comparison in enumerate(comparisons(2))
        for person in people
    ]
    for judgment in judgments[2:]:
        judgment.rating, judgment.winner = 0, None
    save(judgments)
    table, responses = table_of(project)
    assert table.verdicts().counts.tolist() == [[2, 0, 0], [0, 2, 0]]
    assert table.duels(table.left * 0).one.size == 0, "nobody meets themselves"
    assert len(table.choices(responses.length, responses.markdown).chose_left) == 2, "a tie is not decided"


def test_both_bad_counts_as_equal_and_the_page_says_so(project, simulate):
    simulate({"maria": Habit(), "lee": Habit()}, 20)
    assert "both responses are bad" not in words_of()
    bad = Judgment.objects.order_by("pk").first()
    Judgment.objects.filter(comparison=bad.comparison).update(rating=5, winner=None)
    QualityReport.objects.all().delete()
    table, _ = table_of(project)
    assert table.both_bad == table.verdicts().counts[:, 1].sum() == 2
    assert "2 judgments say that both responses are bad. Here they count as equal" in words_of()


def test_queries_do_not_grow_with_the_data(project, simulate, django_assert_max_num_queries):
    simulate({f"person-{number}": Habit() for number in range(8)}, 30)
    client = client_of("researcher")
    # Session, account, project, role; state (3) and report; state and report again, project, responses, judgments,
    # rankings, names, the report kept (with its savepoints) and read.
    with django_assert_max_num_queries(24):
        assert client.get(ADDRESS).status_code == 200
    # Once they are kept: session, account, project, role, state (3) and report.
    with django_assert_max_num_queries(8):
        assert client.get(ADDRESS).status_code == 200


def test_another_projects_votes_do_not_count(project, simulate, django_user_model):
    from annotate.projects import create_project

    simulate({"maria": Habit(), "lee": Habit()}, 10)
    other = create_project(django_user_model.objects.get(username="root"), name="Other", slug="other")
    assert len(table_of(other)[0]) == 0
    assert len(table_of(project)[0]) == 20


@pytest.mark.browser
@pytest.mark.django_db(transaction=True)
@pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium on this machine (Debian: apt install chromium)")
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits_a_telephone_and_breaks_no_policy(project, simulate, live_server, monkeypatch, scheme):
    from playwright.sync_api import sync_playwright

    simulate({"maria": Habit(), "lee": Habit(), "a-person-with-a-rather-long-name": Habit(0.1)}, 40)
    cookie = client_of("researcher").cookies["sessionid"].value
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        monkeypatch.setenv("DJANGO_ALLOW_ASYNC_UNSAFE", "true")
        context = browser.new_context(viewport={"width": 390, "height": 844}, color_scheme=scheme)
        context.add_cookies([{"name": "sessionid", "value": cookie, "url": live_server.url}])
        page = context.new_page()
        complaints = []
        page.on("console", lambda message: message.type == "error" and complaints.append(message.text))
        page.goto(live_server.url + ADDRESS)
        page.evaluate("document.querySelectorAll('details.more').forEach(details => { details.open = true; })")
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
        plots = page.locator(".pull-plot")
        assert plots.count() == 5 + 3 * 5, "the project and each person"
        assert plots.first.bounding_box()["width"] > 250
        assert complaints == []
        browser.close()
