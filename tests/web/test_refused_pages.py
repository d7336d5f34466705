"""What somebody sees whose request came to nothing: the database is away, an address is none, the session has ended."""

import logging
import re

import pytest
from django.db import OperationalError
from django.test import override_settings
from django.urls import reverse

from annotate.models import Membership

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def as_in_service():
    with override_settings(DEBUG=False):
        yield


def failing(monkeypatch, error: Exception):
    def fail(user):
        raise error

    monkeypatch.setattr("annotate.access.projects_for", fail)


@pytest.mark.parametrize(
    ("language", "words"),
    [("en", "The database does not answer at the moment"), ("de", "Die Datenbank antwortet zurzeit nicht"),
     ("zh-hans", "数据库暂时没有响应")],
)  # fmt: skip
def test_a_database_that_is_away_is_said_calmly_in_the_persons_language(browser, monkeypatch, language, words):
    client = browser("annotator")
    client.raise_request_exception = False
    failing(monkeypatch, OperationalError("database is locked"))
    response = client.get("/", headers={"Accept-Language": language})
    assert (response.status_code, response["Retry-After"]) == (503, "30")
    html = response.content.decode()
    assert words in html
    assert "OperationalError" not in html and "locked" not in html
    assert 'href="/"' in html, "a way back"


def test_the_api_says_so_as_well(browser, monkeypatch):
    client = browser("annotator")
    client.raise_request_exception = False
    failing(monkeypatch, OperationalError("database is locked"))
    response = client.get("/api/projects/")
    assert (response.status_code, response["Retry-After"]) == (503, "30")
    assert response.json() == {"detail": "The database does not answer at the moment", "field": None}


def test_a_wrong_statement_is_no_database_that_is_away(browser, monkeypatch):
    client = browser("annotator")
    client.raise_request_exception = False
    failing(monkeypatch, OperationalError("no such column: annotate_project.colour"))
    response = client.get("/")
    assert response.status_code == 500
    assert "Something broke on our side" in response.content.decode()


def test_what_broke_can_be_found_in_the_log_by_time_and_address(browser, monkeypatch, tmp_path):
    """As the page says. Django by itself writes it nowhere in service."""
    (handler,) = logging.getLogger("django.request").handlers
    with (tmp_path / "log").open("w") as log:
        monkeypatch.setattr(handler, "stream", log)
        client = browser("annotator")
        client.raise_request_exception = False
        failing(monkeypatch, ZeroDivisionError("of all things"))
        client.get("/")
    said = (tmp_path / "log").read_text()
    assert re.match(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d+ ERROR django.request: Internal Server Error: /\n", said)
    assert "ZeroDivisionError: of all things" in said


def test_an_address_that_only_takes_forms_is_no_blank_page(browser, project):
    response = browser("annotator").get("/p/kind/label/skip/")
    assert (response.status_code, response["Allow"]) == (405, "POST")
    assert "There is no such page" in response.content.decode()


def test_a_request_for_another_host_is_refused_in_words(browser, db):
    response = browser(None).get("/login/", headers={"Host": "elsewhere.example"})
    assert response.status_code == 400
    assert "This request was refused" in response.content.decode()


@pytest.mark.parametrize(
    ("referer", "back"),
    [("http://testserver/account/?from=menu", "/account/%3Ffrom%3Dmenu"), ("https://evil.example/account/", "/"),
     ("", "/")],
)  # fmt: skip
def test_a_form_sent_after_the_session_ended_comes_back_to_its_page(browser, project, referer, back):
    client = browser(None)
    response = client.post("/account/keys/", {}, headers={"Referer": referer})
    assert response.url == f"/login/?next={back}"
    assert "what you just sent was not saved" in client.get(response.url).content.decode()


def test_characters_that_no_database_holds_are_as_if_they_were_not_sent(browser, project):
    admin = browser("admin")
    assert admin.get(reverse("comparisons", args=["kind"]) + "?q=a%00b").status_code == 200
    member = Membership.objects.get(user__username="annotator", project=project)
    sent = {"username": "annotator", "do": "pause", "note": "Call\0 me."}
    admin.post(reverse("people", args=["kind"]), sent)
    member.refresh_from_db()
    assert "\0" not in member.pause_note
    assert admin.post(reverse("gold", args=["kind"]), {"pair": "9" * 5000}).status_code < 500
