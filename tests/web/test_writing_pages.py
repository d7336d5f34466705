"""The pages of demonstrations: writing with a draft and a preview, what one wrote, and the review."""

import re

import pytest
from django.utils.html import escape

from annotate.labeling.comparisons import add_prompts
from annotate.models import Demonstration, User, Writing
from annotate.projects import set_reviewer, update_project

HTMX = {"HX-Request": "true"}
URL = "/p/kind/write/"


@pytest.fixture
def pool(project):
    update_project(project, User.objects.get(username="root"), writing=True, own_prompts=True)
    conversations = [[{"role": "user", "content": f"Question {number}"}] for number in range(2)]
    return add_prompts(project, conversations, in_pool=True).rows


def text(response) -> str:
    return response.content.decode()


def key_of(html: str) -> str:
    return re.search(r'data-key="([^"]+)"', html)[1]


def test_written_returned_revised_and_accepted(browser, pool):
    annotator, researcher = browser("annotator"), browser("researcher")
    key = key_of(text(annotator.get(URL)))
    html = text(annotator.post(f"{URL}draft/", {"key": key, "completion": "**Half** an answer"}, headers=HTMX))
    assert "<strong>Half</strong> an answer" in html
    assert "<html" not in html
    assert ">**Half** an answer</textarea>" in text(annotator.get(URL))

    html = text(annotator.post(URL, {"key": key, "completion": "A **whole** answer"}, follow=True))
    assert "Somebody else reviews it now." in html
    assert key_of(html) != key

    html = text(researcher.get("/p/kind/demonstrations/"))
    assert "Question 0" in html
    address = re.search(r'href="(/p/kind/demonstrations/\d+/)"', html)[1]
    assert "A <strong>whole</strong> answer" in text(researcher.get(address))
    refused = researcher.post(address, {"do": "return", "revision": "1", "comment": ""})
    assert (refused.status_code, "Please say what is to be changed." in text(refused)) == (422, True)
    researcher.post(address, {"do": "return", "revision": "1", "comment": "Too <short>"})

    html = text(annotator.get(f"{URL}mine/"))
    assert escape("Too <short>") in html
    mine = re.search(r'href="(/p/kind/write/mine/\d+/)"', html)[1]
    assert escape("Too <short>") in text(annotator.get(mine))
    annotator.post(mine, {"revision": "2", "completion": "A longer answer"})
    accepted = researcher.post(address, {"do": "accept", "revision": "3", "completion": "A longer, edited answer"})
    assert accepted.url == "/p/kind/demonstrations/"
    demonstration = Demonstration.objects.get()
    assert (demonstration.state, demonstration.completion) == ("accepted", "A longer, edited answer")
    assert "Edited and accepted" in text(annotator.get(mine))


def test_a_refused_text_stays_on_the_page(browser, pool):
    client = browser("annotator")
    key = key_of(text(client.get(URL)))
    response = client.post(URL, {"key": key, "completion": "x" * 50_001})
    assert response.status_code == 422
    assert "x" * 50_001 in text(response)
    assert key_of(text(response)) == key


def test_the_menu_and_the_pages_follow_the_settings(browser, project, pool):
    client = browser("annotator")
    assert f'href="{URL}"' in text(client.get("/p/kind/guidelines/"))
    assert 'href="/p/kind/demonstrations/"' not in text(client.get("/p/kind/guidelines/"))
    staff = User.objects.get(username="root")
    set_reviewer(project, "annotator", True, user=staff)
    assert 'href="/p/kind/demonstrations/"' in text(client.get("/p/kind/guidelines/"))
    assert client.get("/p/kind/demonstrations/").status_code == 200
    update_project(project, staff, writing=False)
    assert f'href="{URL}"' not in text(client.get("/p/kind/guidelines/"))
    assert "Nobody writes demonstrations in this project at the moment." in text(client.get(URL))


def test_an_admin_gives_the_right_to_review(browser, project, pool):
    client = browser("admin")
    client.post("/p/kind/people/", {"do": "set", "username": "annotator", "role": "annotator", "reviews": "on"})
    assert project.memberships.get(user__username="annotator").reviews
    client.post("/p/kind/people/", {"do": "set", "username": "annotator", "role": "annotator"})
    assert not project.memberships.get(user__username="annotator").reviews


def test_an_own_prompt(browser, pool):
    client = browser("annotator")
    key = key_of(text(client.get(f"{URL}own/")))
    client.post(f"{URL}draft/", {"key": key, "completion": "Half", "prompt": "My que"}, headers=HTMX)
    assert "My que</textarea>" in text(client.get(f"{URL}own/"))
    client.post(f"{URL}own/", {"key": key, "completion": "Whole", "prompt": "My question"})
    assert Demonstration.objects.get().prompt.messages[0]["content"] == "My question"


def test_skipped_to_the_end_the_page_says_so(browser, pool):
    client = browser("annotator")
    for _ in pool:
        client.post(f"{URL}skip/", {"key": key_of(text(client.get(URL)))})
    assert "No prompt is left for you" in text(client.get(URL))
    assert text(browser("admin").get(URL))
    skipped = Writing.objects.filter(writer__username="annotator")
    assert [writing.place for writing in skipped] == [None, None]


def test_somebody_elses_text_is_not_found(browser, pool):
    client = browser("annotator")
    key = key_of(text(client.get(URL)))
    assert browser("admin").post(URL, {"key": key, "completion": "Stolen"}).status_code == 422
    client.post(URL, {"key": key, "completion": "Mine"})
    pk = Demonstration.objects.get().pk
    assert browser("admin").get(f"{URL}mine/{pk}/").status_code == 404
    assert browser("root").get(f"/p/kind/demonstrations/{pk + 1}/").status_code == 404
