"""What a project may ask besides the rating, rankings, undo and changing: clicked, stored, and shown again."""

import re

import pytest

from annotate.labeling.comparisons import NewResponse, add_prompts, add_rankings, add_responses, ranking_of
from annotate.models import Assessment, Judgment, JudgmentVersion, Project, User
from annotate.web.rendering import RENDERER_VERSION
from tests.web.test_labeling_page import HTMX, URL, get, judge, key_of

EVERYTHING = (
    "allow_equal", "allow_both_bad", "ask_confidence", "ask_overall", "ask_flags", "ask_edited", "require_note",
)  # fmt: skip


@pytest.fixture
def everything(project):
    Project.objects.update(**dict.fromkeys(EVERYTHING, True))


@pytest.fixture
def ranking(project):
    def make(count: int = 4, number: int = 1):
        prompts = add_prompts(project, [[{"role": "user", "content": f"Rank {n}"}] for n in range(number)]).rows
        new = []
        for prompt in prompts:
            written = [NewResponse(prompt, f"Answer number {n}", f"secret-{n}") for n in range(count)]
            new.append(ranking_of(add_responses(project, written).rows))
        return add_rankings(project, new).rows

    return make


def test_by_default_the_page_asks_for_four_ratings_three_criteria_and_a_note(browser, pairs):
    pairs(1)
    html = get(browser("annotator"))
    names = re.findall(r'type="radio" name="([\w-]+)" value="(-?\d)"', html)
    assert [value for name, value in names if name == "rating"] == ["1", "2", "3", "4"]
    assert {name for name, _ in names} == {"rating", "helpful", "truthful", "harmless"}
    assert 'name="edited"' not in html and "data-text" not in html


def test_settings_switch_what_is_asked(browser, project):
    client = browser("admin")
    page = client.get("/p/kind/settings/").content.decode()
    assert "What annotators are asked" in page
    sent = {"name": "Kind", "judgments_wanted": 1, "lease_minutes": 30, "demonstrations_wanted": 1, "edit_last": 7,
            "queue_policy": "oldest", **dict.fromkeys(EVERYTHING, "on")}  # fmt: skip
    fields = dict(re.findall(r'<input type="number" name="(\w+)" value="([^"]*)"', page))
    answer = client.post("/p/kind/settings/", fields | sent)
    assert answer.status_code == 302, re.findall(r'class="error".*?</div>', answer.content.decode(), re.S)
    project.refresh_from_db()
    assert project.edit_last == 7 and not project.ask_criteria
    assert all(getattr(project, name) for name in EVERYTHING)


def test_everything_that_is_filled_in_is_stored(browser, pairs, everything):
    pairs(1)
    client = browser("annotator")
    html = get(client)
    for words in ("Equal", "Both are bad", "How sure", "Denigrates a group", "improved"):
        assert words in html
    missing = judge(client, key_of(html), 1)
    assert (missing.status_code, "few words" in missing.content.decode()) == (422, True)
    answer = client.post(
        URL,
        {"key": key_of(html), "rating": 2, "note": "Clearer.", "confidence": 3, "edited": "The best one.",
         "overall-0": 6, "overall-1": 2, "flags-1": ["1", "4", "512"]},
        headers=HTMX,
    )  # fmt: skip
    assert answer.status_code == 200
    judgment = Judgment.objects.get()
    assert (judgment.confidence, judgment.edited, judgment.renderer) == (3, "The best one.", RENDERER_VERSION)
    assert list(Assessment.objects.values_list("place", "overall", "flags")) == [(0, 6, 0), (1, 2, 517)]


def test_both_bad_is_clicked_and_shown_in_the_history(browser, pairs, everything):
    pairs(1)
    client = browser("annotator")
    judge(client, key_of(get(client)), 5, note="Both invent things.")
    assert "Both are bad" in client.get(f"{URL}history/").content.decode()


def test_a_ranking_page_works_without_script_and_names_nobody(browser, ranking):
    ranking()
    client = browser("annotator")
    html = get(client)
    assert html.count('<article id="response-') == 4 and 'id="response-d"' in html
    assert "secret" not in html and 'name="rating"' not in html
    assert client.post(URL, {"key": key_of(html), "rank-0": 1}, headers=HTMX).status_code == 422
    ranks = {"rank-0": 2, "rank-1": 1, "rank-2": 4, "rank-3": 3}
    assert client.post(URL, {"key": key_of(html), **ranks}).status_code == 302
    assert list(Assessment.objects.values_list("rank", flat=True)) == [2, 1, 4, 3]
    assert "B &gt; A &gt; D &gt; C" in client.get(f"{URL}history/").content.decode()


def test_undo_brings_the_pair_back_filled_in_and_keeps_what_was_said(browser, pairs):
    pairs(2)
    client = browser("annotator")
    html = judge(client, key_of(get(client)), 2, note="hm", truthful="-1").content.decode()
    waiting = key_of(html)
    (undo,) = re.findall(r'id="undo" href="([^"]+)"', html)
    again = client.get(undo).content.decode()
    assert re.search(r'name="rating" value="2" required checked', again)
    assert re.search(r'name="truthful" value="-1" checked', again)
    assert ">hm</textarea>" in again and 'id="skip"' not in again
    for _ in range(2):
        after = client.post(undo, {"rating": 4, "note": "no, B"}, headers=HTMX)
        assert "Changed." in after.content.decode() and after["HX-Replace-Url"] == URL
    assert key_of(after.content.decode()) == waiting, "the next pair waited"
    judgment = Judgment.objects.get()
    assert (judgment.rating, judgment.truthful, judgment.version) == (4, None, 2)
    assert JudgmentVersion.objects.get().said["note"] == "hm"
    history = client.get(f"{URL}history/").content.decode()
    assert "version 2" in history and undo in history


def test_no_script_either_and_only_ones_own(browser, pairs, project):
    pairs(2)
    client, other = browser("annotator"), browser("admin")
    judge(client, key_of(get(client)), 1, htmx=False)
    page = get(client)
    (undo,) = re.findall(r'id="undo" href="([^"]+)"', page)
    assert client.post(undo, {"rating": 9}).url == undo, "refused, and back at the form"
    assert client.post(undo, {"rating": 3}).url == URL
    assert Judgment.objects.get().rating == 3
    assert other.get(undo).url == f"{URL}history/"
    assert other.post(undo, {"rating": 1}, headers=HTMX).status_code == 422
    Project.objects.update(edit_last=0)
    assert 'id="undo"' not in get(client)
    assert client.get(undo).url == f"{URL}history/"
    assert Judgment.objects.get().annotator == User.objects.get(username="annotator")
