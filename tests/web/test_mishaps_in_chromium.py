"""Long days in a real browser: bad network, a server that restarts, many tabs, a phone on its side. Nothing is lost."""

import pytest

from annotate.chat.endpoints import add_endpoint
from annotate.demonstrations.writing import next_writing, submit_demonstration
from annotate.labeling.comparisons import add_prompts
from annotate.models import Chat, Judgment, Skip, User
from annotate.projects import update_project
from tests.web.conftest import CHROMIUM
from tests.web.test_in_chromium import NEXT_PAIR, key_of

pytestmark = [
    pytest.mark.browser,
    pytest.mark.django_db(transaction=True),
    pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium on this machine (Debian: apt install chromium)"),
]
PATH = "/p/kind/label/"


@pytest.fixture
def reading(open_page, pairs):
    """The labeling page once the next pair is there, the guidelines closed."""
    pairs(4)
    page = open_page("annotator", PATH)
    page.keyboard.press("g")
    page.wait_for_selector("#task[data-ready]")
    return page


@pytest.mark.parametrize("mishap", ["abort", 503])
def test_a_breath_of_bad_network_is_not_even_noticed(reading, mishap):
    page, first = reading, key_of(reading)
    page.route(
        f"**{PATH}", lambda route: route.abort() if mishap == "abort" else route.fulfill(status=mishap), times=1
    )
    page.keyboard.press("2")
    page.keyboard.press("Enter")
    page.wait_for_function(NEXT_PAIR, arg=first)
    assert Judgment.objects.get().rating == 2
    assert page.inner_text("#form-error") == ""


def test_a_server_that_is_away_longer_is_named_and_a_skip_is_tried_again_as_a_skip(reading):
    page, first = reading, key_of(reading)
    page.route("**/label/skip/", lambda route: route.fulfill(status=503), times=2)
    page.keyboard.press("s")
    page.keyboard.press("Space")
    page.keyboard.press("Enter")
    page.wait_for_selector("#form-error >> text=Not saved: the server is busy or is being restarted.")
    assert key_of(page) == first
    page.click("button:has-text('Try again')")
    page.wait_for_function(NEXT_PAIR, arg=first)
    assert Skip.objects.count() == 1 and not Judgment.objects.exists()


def test_back_in_the_network_what_was_sent_goes_by_itself(reading):
    page, first = reading, key_of(reading)
    page.context.set_offline(True)
    page.keyboard.press("3")
    page.keyboard.press("Enter")
    page.wait_for_selector("#form-error >> text=Not saved: the server cannot be reached.")
    page.context.set_offline(False)
    page.wait_for_function(NEXT_PAIR, arg=first)
    assert Judgment.objects.get().rating == 3


def test_on_a_phone_what_went_wrong_is_in_sight_however_long_the_texts(open_page, pairs):
    pairs(1, texts=("long " * 900, "longer " * 900))
    page = open_page("annotator", PATH, width=390)
    page.click("[data-close-guidelines]")
    page.route(f"**{PATH}", lambda route: route.fulfill(status=500))
    page.click(".rating:has-text('A is better')")
    page.click(".actions > .primary")
    notice = page.wait_for_selector("#form-error > .notice").bounding_box()
    assert notice["y"] > 0 and notice["y"] + notice["height"] <= page.locator(".ratings").bounding_box()["y"]


def test_drafts_of_two_tabs_do_not_overwrite_each_other(reading, pairs):
    page, first = reading, key_of(reading)
    page.fill("textarea[name=note]", "about the first")
    page.keyboard.press("Escape")
    page.keyboard.press("1")
    other = "{ key: 'x', values: [] }"
    page.evaluate(f"prefloop.remember('prefloop-drafts', [...prefloop.recall('prefloop-drafts'), {other}])")
    second = page.context.new_page()
    second.goto(page.url)
    assert key_of(second) == first
    second.keyboard.press("4")
    second.keyboard.press("Enter")
    second.wait_for_function(NEXT_PAIR, arg=first)
    second.fill("textarea[name=note]", "about the second")
    kept = second.evaluate("prefloop.recall('prefloop-drafts').map((draft) => draft.key)")
    assert kept == [key_of(second), "x"], "a draft a pair; what was saved is none any more"
    second.reload()
    assert second.input_value("textarea[name=note]") == "about the second"
    assert Judgment.objects.get().note == "about the first", "the second tab began with the draft of the first"


def test_a_double_click_is_one_click(reading):
    page, first = reading, key_of(reading)
    page.keyboard.press("1")
    page.dblclick(".actions > .primary")
    page.wait_for_function(NEXT_PAIR, arg=first)
    assert Judgment.objects.count() == 1
    assert not page.evaluate("document.activeElement.matches('[name=rating]')"), "nothing asks for a rating yet"


def test_in_a_low_window_the_bar_leaves_the_room_to_the_texts(reading):
    page = reading
    bar = "getComputedStyle(document.querySelector('.verdict')).position"
    assert page.evaluate(bar) == "sticky"
    page.set_viewport_size({"width": 844, "height": 390})
    assert page.evaluate(bar) == "static"
    assert page.evaluate("document.querySelector('#response-a').getBoundingClientRect().top") < 200


def test_a_session_that_ended_is_named_where_one_writes(open_page, project):
    update_project(project, User.objects.get(username="root"), writing=True)
    add_prompts(project, [[{"role": "user", "content": "Why?"}]], in_pool=True)
    page = open_page("annotator", "/p/kind/write/")
    session = page.context.cookies()
    page.context.clear_cookies(name="sessionid")
    page.fill("#completion", "Because")
    page.wait_for_selector("#draft-state:has-text('You have been signed out: the draft is kept in this browser.')")
    page.context.add_cookies(session)
    page.reload()
    assert page.input_value("#completion") == "Because"
    page.wait_for_selector("#draft-state:has-text('Draft kept')")


def test_what_a_reviewer_has_begun_outlives_a_reload(open_page, project):
    staff = User.objects.get(username="root")
    update_project(project, staff, writing=True)
    add_prompts(project, [[{"role": "user", "content": "Why?"}]], in_pool=True)
    written = submit_demonstration(staff, next_writing(project, staff).key, "Because.")
    page = open_page("researcher", f"/p/kind/demonstrations/{written.pk}/")
    page.click("summary:has-text('Edit the answer')")
    page.fill("#completion", "Because of the rain.")
    page.fill("#comment", "Say of what.")
    page.reload()
    assert page.is_visible("#completion") and page.input_value("#completion") == "Because of the rain."
    assert page.input_value("#comment") == "Say of what."


def test_a_turn_of_a_chat_that_did_not_arrive_is_still_there(open_page, project):
    staff = User.objects.get(username="root")
    update_project(project, staff, chat=True)
    add_endpoint(project, staff, name="one", base_url="http://127.0.0.1:9/v1", model_name="one")
    page = open_page("annotator", "/p/kind/chat/")
    page.click("text=Start a conversation")
    page.wait_for_selector("#text")
    address = page.url
    page.route("**/chat/**", lambda route: route.abort() if route.request.method == "POST" else route.continue_())
    page.fill("#text", "Where was I?")
    page.click("button:has-text('Send')")
    page.wait_for_url("chrome-error://**")
    page.goto(address)
    assert page.input_value("#text") == "Where was I?"
    assert not Chat.objects.get().turns.exists()

    page.unroute("**/chat/**")
    page.click("button:has-text('Send')")
    page.wait_for_selector("#turn")
    assert page.evaluate("Object.keys(localStorage).filter((name) => name.startsWith('prefloop-chat'))") == []
