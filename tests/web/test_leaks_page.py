"""The page of responses that tell who wrote them."""

import pytest

from annotate.models import Project, Response

URL = "/p/kind/data/leaks/"


@pytest.fixture
def telling(pairs):
    pairs(1, texts=("Good day. <b>I am ChatGPT</b>, hello.", "Second text"))
    return Response.objects.get(leak_state="found")


def test_an_admin_sees_the_phrase_and_decides(browser, telling):
    client = browser("admin")
    assert "1 response tells who wrote it" in client.get("/p/kind/data/").content.decode()
    html = client.get(URL).content.decode()
    assert "Good day. &lt;b&gt;<mark>I am ChatGPT</mark>&lt;/b&gt;, hello." in html
    assert "secret-policy-one" in html
    client.post(f"{URL}{telling.pk}/", {"state": "left_out"})
    telling.refresh_from_db()
    assert telling.leak_state == "left_out"
    assert "Nothing to look at" in client.get(URL).content.decode()
    assert "Nothing left" in client.get("/p/kind/label/").content.decode() or "No comparisons" in client.get(
        "/p/kind/label/"
    ).content.decode()


def test_the_setting_is_kept(browser, telling):
    client = browser("admin")
    client.post(URL, {"hold": "yes"})
    assert Project.objects.get().hold_leaks
    client.post(URL, {})
    assert not Project.objects.get().hold_leaks


def test_a_wrong_decision_says_so(browser, telling):
    page = browser("admin").post(f"{URL}{telling.pk}/", {"state": "burnt"}, follow=True)
    assert "either served or left out" in page.content.decode()


def test_what_was_stored_before_the_check_is_checked_on_demand(browser, telling):
    Response.objects.update(leaks=[], leak_state="", leaks_checked_at=None)
    client = browser("admin")
    assert "2 responses were stored before texts were checked." in client.get(URL).content.decode()
    html = client.post(URL, {"check": "yes"}, follow=True).content.decode()
    assert "1 response to be looked at" in html and "stored before" not in html
