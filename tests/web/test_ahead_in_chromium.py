"""The next pair is there before this one is submitted: shown at once, and taken back if the judgment is not saved."""

import pytest
from django.utils import timezone

from annotate.models import Judgment, Reservation, Slot
from tests.servers import wait_for
from tests.web.conftest import CHROMIUM

pytestmark = [
    pytest.mark.browser,
    pytest.mark.django_db(transaction=True),
    pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium on this machine (Debian: apt install chromium)"),
]

OTHER_PAIR = "key => document.querySelector('#task').dataset.key !== key"
SAVED = "!document.querySelector('[data-saving]')"


def key_of(page) -> str:
    return page.get_attribute("#task", "data-key")


def sent(page, on_its_way: list):
    """The request that is held back: it comes here a moment after the page has sent it."""
    while not on_its_way:
        page.wait_for_timeout(20)
    return on_its_way.pop()


@pytest.fixture
def reading(open_page, pairs):
    """The page of somebody who has read long enough for the next pair to be there."""
    pairs(4)
    page = open_page("annotator", "/p/kind/label/")
    page.wait_for_selector("#task[data-ready]")
    return page


def test_a_slow_answer_keeps_nobody_waiting(reading):
    page, first = reading, key_of(reading)
    on_its_way = []
    page.route("**/label/", lambda route: on_its_way.append(route), times=1)
    page.keyboard.press("2")
    page.keyboard.press("Enter")
    page.wait_for_function(OTHER_PAIR, arg=first)
    assert not Judgment.objects.exists()
    second = Reservation.objects.get(key=key_of(page))
    assert second.shown_at is None, "reserved, and shown only as far as the page knows"
    assert page.evaluate("document.activeElement.id") == "task"

    # The next one is sent before the first is saved: it goes when its turn has come.
    page.keyboard.press("3")
    page.keyboard.press("Enter")
    assert key_of(page) == str(second.key)
    before = timezone.now()
    sent(page, on_its_way).continue_()
    page.wait_for_function(f"key => ({OTHER_PAIR})(key) && {SAVED}", arg=str(second.key))
    judgments = list(Judgment.objects.order_by("created_at"))
    stored = [(str(judgment.reservation_id), judgment.rating) for judgment in judgments]
    assert stored == [(first, 2), (str(second.key), 3)]
    assert second.reserved_at <= judgments[1].shown_at < before, "when the page showed it, not when the server heard"
    assert page.inner_text("#announcer") == "Saved. Next comparison. 2 done."
    assert page.complaints == []

    page.keyboard.press("u")
    page.wait_for_url("**/label/edit/**")
    assert page.is_checked("[name=rating][value='3']")


def test_what_is_not_saved_comes_back_with_its_words(reading):
    page, first = reading, key_of(reading)
    on_its_way = []
    page.route("**/label/", lambda route: on_its_way.append(route), times=2)
    page.keyboard.press("4")
    page.fill("[name=note]", "keep me")
    page.click("text=Submit")
    page.wait_for_function(OTHER_PAIR, arg=first)
    second = key_of(page)
    page.fill("[name=note]", "begun")
    with page.expect_request("**/label/"):  # it is sent once more by itself
        sent(page, on_its_way).abort()
    sent(page, on_its_way).abort()
    page.wait_for_selector("#form-error >> text=Not saved: the server cannot be reached.")
    assert key_of(page) == first
    assert page.input_value("[name=note]") == "keep me"
    assert page.is_checked("[name=rating][value='4']")
    assert not Judgment.objects.exists()

    page.click("button:has-text('Try again')")
    page.wait_for_function(f"key => ({OTHER_PAIR})(key) && {SAVED}", arg=first)
    assert (Judgment.objects.get().rating, Judgment.objects.get().note) == (4, "keep me")
    assert key_of(page) == second
    assert page.input_value("[name=note]") == "begun", "what was begun on the next pair is not lost either"


def test_an_answer_lost_on_the_way_back_is_no_second_judgment(reading):
    page, first = reading, key_of(reading)

    def lose(route):
        route.fetch()
        route.abort()

    page.route("**/label/", lose, times=2)
    page.keyboard.press("1")
    page.keyboard.press("Enter")
    page.wait_for_selector("#form-error >> text=Not saved: the server cannot be reached.")
    assert key_of(page) == first
    page.click("button:has-text('Try again')")
    page.wait_for_function(f"key => ({OTHER_PAIR})(key) && {SAVED}", arg=first)
    assert Judgment.objects.get().rating == 1
    assert Reservation.objects.get(key=key_of(page)).shown_at


def test_a_refused_judgment_comes_back_with_the_reason(reading):
    page, first = reading, key_of(reading)
    page.evaluate("document.querySelector('[name=rating][value=\"1\"]').value = '9'")
    page.click(".rating >> nth=0")
    page.click("text=Submit")
    page.wait_for_selector("#form-error >> text=Please choose one of the ratings.")
    assert key_of(page) == first
    assert not Judgment.objects.exists()


def test_a_closed_page_gives_the_pair_behind_back(reading):
    page = reading
    held = Slot.objects.filter(holder__username="annotator", free_from__gt=timezone.now())
    assert held.count() == 2
    page.goto(page.url.replace("/label/", "/label/history/"))
    wait_for(lambda: held.count() == 1, "the release")
    page.go_back()
    page.wait_for_selector("#task[data-ready]")
    assert held.count() == 2
