"""Keys: one table, each person's own choice, conflicts refused, and the page shows what is in force."""

import json
import re
from html import unescape

import pytest

from annotate.errors import UserError
from annotate.models import User
from annotate.web import keys

URL = "/account/keys/"


@pytest.fixture
def ada(db):
    return User.objects.create_user("ada")


def chosen(**changes):
    return keys.DEFAULTS | changes


def test_the_defaults_are_distinct_and_within_what_may_be_chosen(ada):
    used = [key for key in keys.DEFAULTS.values() if key]
    assert len(set(used)) == len(used)
    keys.change_keys(ada, keys.DEFAULTS)
    ada.refresh_from_db()
    assert ada.keys == {}


def test_only_what_differs_is_stored_and_letters_know_no_case(ada):
    keys.change_keys(ada, chosen(skip="X", submit="n", note="enter"))
    ada.refresh_from_db()
    assert ada.keys == {"skip": "x", "submit": "n", "note": "Enter"}
    assert keys.keys_of(ada) == keys.DEFAULTS | {"skip": "x", "submit": "n", "note": "Enter"}
    keys.reset_keys(ada)
    assert keys.keys_of(User.objects.get()) == keys.DEFAULTS


@pytest.mark.parametrize(
    ("changes", "field", "words"),
    [
        ({"skip": "g"}, "skip", "“G” is the key of “Open or close the guidelines” already"),
        ({"note": "1"}, "note", "“1” is the key of “A is better” already"),
        ({"skip": "F5"}, "skip", "choose one character, or Enter"),
        ({"skip": "\x07"}, "skip", "choose one character, or Enter"),
    ],
)
def test_a_conflict_is_told_and_nothing_is_stored(ada, changes, field, words):
    with pytest.raises(UserError) as caught:
        keys.change_keys(ada, chosen(**changes))
    assert caught.value.field == field
    assert words in caught.value.message
    assert User.objects.get().keys == {}


def test_a_key_may_be_turned_off(ada):
    keys.change_keys(ada, chosen(skip="", note=""))
    assert (keys.keys_of(ada)["skip"], keys.keys_of(ada)["note"]) == ("", "")


def test_what_a_person_chose_wins_over_a_default_that_came_later(ada):
    ada.keys = {"skip": "d", "an action of the past": "q"}
    assert keys.keys_of(ada)["skip"] == "d"
    assert keys.keys_of(ada)["diff"] == ""


def test_the_settings_page_lists_every_action_and_saves(browser):
    client = browser("annotator")
    html = client.get("/account/").content.decode()
    for action in keys.ACTIONS:
        assert f'name="{action.id}"' in html
        assert str(action.label) in html
    assert client.post(URL, chosen(skip="x")).url == "/account/"
    assert User.objects.get(username="annotator").keys == {"skip": "x"}
    assert User.objects.get(username="admin").keys == {}
    client.post(URL, {"reset": "yes"})
    assert User.objects.get(username="annotator").keys == {}


def test_a_refused_choice_keeps_what_was_typed(browser):
    client = browser("annotator")
    response = client.post(URL, chosen(skip="g", note="y"))
    html = response.content.decode()
    assert response.status_code == 422
    assert html.count("is the key of “Open or close the guidelines” already") == 2
    assert re.search(r'name="skip"[^>]* autofocus>', html), "the page opens at the field"
    assert re.search(r'name="note" value="y"', html)
    assert User.objects.get(username="annotator").keys == {}


def test_the_labeling_page_shows_the_keys_in_force(browser, pairs):
    pairs(1)
    client = browser("annotator")
    client.post(URL, chosen(skip="x", submit="", rate_1="q"))
    html = client.get("/p/kind/label/").content.decode()
    sent = json.loads(unescape(re.search(r'data-keys="([^"]+)"', html)[1]))
    assert (sent["skip"], sent["rate_1"], sent["rate_2"], sent["submit"]) == ("x", "q", "2", "")
    assert re.search(r'Skip… <kbd class="hint" aria-hidden="true">X</kbd>', html)
    assert "no key" in html[html.index('id="keys-help"') :]


def test_strangers_have_no_settings(browser):
    assert browser(None).get("/account/").url.startswith("/login/")
    assert browser(None).post(URL, {}).url.startswith("/login/")
