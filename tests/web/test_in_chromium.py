"""The labeling page in a real browser: keys, drafts, failures, a narrow screen, and the content security policy."""

from datetime import UTC, datetime
from urllib.parse import parse_qs

import pytest

from annotate.models import Judgment, Skip, User
from annotate.projects import set_guidelines
from tests.web.conftest import CHROMIUM

pytestmark = [
    pytest.mark.browser,
    pytest.mark.django_db(transaction=True),
    pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium on this machine (Debian: apt install chromium)"),
]

# The next pair is on the screen, and the judgment before it is saved.
NEXT_PAIR = "key => document.querySelector('#task').dataset.key !== key && !document.querySelector('[data-saving]')"


def key_of(page) -> str:
    return page.get_attribute("#task", "data-key")


def test_a_day_at_the_keyboard(open_page, pairs):
    """Rate, double Enter, take a verdict back, write a note with digits in it, skip: the mouse is not needed."""
    pairs(3)
    page = open_page("annotator", "/p/kind/label/")
    assert page.is_visible("#guidelines"), "opened by itself the first time"
    page.keyboard.press("g")
    assert not page.is_visible("#guidelines")

    sent = []  # the judgments: the page also asks for the pair behind, sooner or later
    page.on("request", lambda request: request.method == "POST" and sent.append(request.url.endswith("/label/")))
    key = key_of(page)
    page.keyboard.press("1")
    page.keyboard.press("4")
    page.keyboard.press("Enter")
    page.keyboard.press("Enter")
    page.wait_for_function(NEXT_PAIR, arg=key)
    assert Judgment.objects.get().rating == 4
    assert sum(sent) == 1
    assert page.inner_text("#announcer") == "Saved. Next comparison. 1 done."
    assert "1 by you" in page.inner_text("#queue-progress")

    key = key_of(page)
    page.click(".criterion:has-text('Helpful') label:nth-of-type(1)")
    page.click(".criterion:has-text('Truthful') label:nth-of-type(2)")
    page.click(".criterion:has-text('Truthful') label:nth-of-type(2)")
    page.click("[name=note]")
    page.keyboard.type("1 of 2 facts is wrong")
    page.keyboard.press("Escape")
    page.keyboard.press("2")
    page.keyboard.press("Enter")
    page.wait_for_function(NEXT_PAIR, arg=key)
    judgment = Judgment.objects.last()
    assert (judgment.rating, judgment.helpful, judgment.truthful) == (2, 1, None)
    assert judgment.note == "1 of 2 facts is wrong"

    page.keyboard.press("s")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    page.wait_for_selector("text=Nothing left for you here")
    assert Skip.objects.get().reason == "need_expertise"
    assert page.complaints == []


def test_the_next_pair_takes_keys_at_once(open_page, pairs):
    """No moment after a swap in which a quick hand's keys are lost."""
    pairs(12)
    page = open_page("annotator", "/p/kind/label/")
    for number in range(12):
        key = key_of(page)
        page.keyboard.press("2")
        page.keyboard.press("Enter")
        page.wait_for_function(NEXT_PAIR, arg=key, polling=1)
        assert Judgment.objects.count() == number + 1


def test_a_failure_keeps_choice_and_note_and_the_second_try_saves(open_page, pairs):
    pairs(2)
    page = open_page("annotator", "/p/kind/label/")
    key = key_of(page)
    page.keyboard.press("3")
    page.fill("[name=note]", "keep me")
    page.route("**/label/", lambda route: route.abort() if route.request.method == "POST" else route.continue_())
    page.click("text=Submit")
    page.wait_for_selector("#form-error >> text=Not saved: the server cannot be reached.")
    page.unroute("**/label/")
    assert not Judgment.objects.exists()

    page.reload()
    assert key_of(page) == key
    assert page.input_value("[name=note]") == "keep me"
    assert page.is_checked("[name=rating][value='3']")

    session = page.context.cookies()
    page.context.clear_cookies()
    page.click("text=Submit")
    page.wait_for_selector("#form-error >> text=you have been signed out")
    page.context.add_cookies(session)
    page.click("button:has-text('Try again')")
    page.wait_for_function(NEXT_PAIR, arg=key)
    assert (Judgment.objects.get().rating, Judgment.objects.get().note) == (3, "keep me")
    assert page.input_value("[name=note]") == "", "the next pair starts with an empty note"


def test_nothing_is_cut_off_on_a_narrow_screen(open_page, pairs):
    wide = "a" * 300 + " `" + "b" * 300 + "`\n\n```\n" + "c" * 300 + "\n```\n\n" + "|x" * 30 + "|\n" + "|-" * 30 + "|\n"
    pairs(1, texts=(wide, "short"), prompt="d" * 300)
    page = open_page("annotator", "/p/kind/label/", width=390)
    page.click("text=Close the guidelines")
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    for rating in page.locator(".rating").all():
        box = rating.bounding_box()
        assert box["x"] >= 0
        assert box["x"] + box["width"] <= 390
        assert box["width"] >= 44 and box["height"] >= 44, "as wide as a thumb"
        assert box["y"] + box["height"] <= 800, "in sight without scrolling"
    page.click(".rating:has-text('B is better')")
    page.click("text=Submit")
    page.wait_for_selector("text=Nothing left for you here")
    assert Judgment.objects.get().rating == 4


def test_without_javascript_everything_works_too(open_page, pairs):
    pairs(2)
    page = open_page("annotator", "/p/kind/label/", java_script_enabled=False)
    page.click(".rating:has-text('A is slightly better')")
    page.click("text=Submit")
    assert Judgment.objects.get().rating == 2
    page.click("summary:has-text('Skip')")
    page.click("label:has-text('Another reason')")
    page.click("button:has-text('Skip this pair')")
    assert Skip.objects.get().reason == "other"
    page.wait_for_selector("text=Nothing left for you here")


def test_the_theme_chosen_stands_before_the_page_is_painted(open_page, pairs):
    page = open_page("admin", "/p/kind/", color_scheme="light")
    light = page.evaluate("getComputedStyle(document.body).backgroundColor")
    page.click("#theme-toggle")
    dark = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert dark != light
    page.reload()
    assert page.evaluate("document.documentElement.dataset.theme") == "dark"
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == dark


def test_no_page_of_an_admin_scrolls_sideways_or_breaks_the_policy(open_page, pairs):
    pairs(2)
    User.objects.filter(username="admin").update(username="a" * 60)
    page = open_page("a" * 60, "/p/kind/", width=390)
    host = page.url.split("/p/kind/")[0]
    for part in ("", "guidelines/", "guidelines/edit/", "data/", "datasets/", "runs/", "runs/new/reward/", "models/",
                 "rounds/", "rounds/new/", "people/", "settings/", "label/", "label/history/"):  # fmt: skip
        page.goto(f"{host}/p/kind/{part}")
        assert page.evaluate("document.documentElement.scrollWidth") <= 390, part or "overview"
    assert page.complaints == []


def test_active_time_counts_neither_idleness_nor_a_hidden_tab(open_page, pairs):
    """Ten seconds of work, two idle minutes of which one counts, a hidden hour, five more seconds: 75 in all."""
    pairs(2)
    page = open_page("annotator", "/p/kind/label/")
    page.clock.install(time=0)
    page.clock.pause_at(1)  # from here on no time passes but what is told to
    page.reload()
    page.clock.run_for(10_000)
    page.mouse.move(200, 200)
    page.clock.run_for(120_000)
    hide = "state => { Object.defineProperty(document, 'visibilityState', {configurable: true, get: () => state});"
    hide += " document.dispatchEvent(new Event('visibilitychange')) }"
    page.evaluate(hide, "hidden")
    page.clock.run_for(3_600_000)
    page.evaluate(hide, "visible")
    page.clock.run_for(5_000)
    page.keyboard.press("1")
    with page.expect_response(lambda answer: answer.url.endswith("/label/")) as sent:
        page.keyboard.press("Enter")
    fields = parse_qs(sent.value.request.post_data)
    assert float(fields["active_seconds"][0]) == pytest.approx(75, abs=0.2)
    assert Judgment.objects.get().active_seconds <= Judgment.objects.get().seconds, "the server's clock is the bound"


def test_keys_are_those_that_the_person_chose(open_page, pairs):
    pairs(2)
    User.objects.filter(username="annotator").update(keys={"rate_2": "q", "submit": "z", "help": "h"})
    page = open_page("annotator", "/p/kind/label/")
    key = key_of(page)
    page.keyboard.press("g")
    page.keyboard.press("h")
    assert page.is_visible("#keys-help >> text=A is slightly better")
    page.keyboard.press("q")
    assert not page.is_checked("[name=rating][value='2']"), "keys rest while the overlay is open"
    page.keyboard.press("Escape")
    page.keyboard.press("2")
    assert not page.is_checked("[name=rating][value='2']")
    page.keyboard.press("Q")
    assert page.is_checked("[name=rating][value='2']")
    page.keyboard.press("Enter")
    assert key_of(page) == key
    page.keyboard.press("z")
    page.wait_for_function(NEXT_PAIR, arg=key)
    assert Judgment.objects.get().rating == 2
    page.goto(page.url.replace("/p/kind/label/", "/account/"))
    page.focus("[name=skip]")
    page.keyboard.press("Enter")
    page.click("text=Save the keys")
    assert User.objects.get(username="annotator").keys["skip"] == "Enter"
    assert page.complaints == []


def test_times_are_the_readers_own_and_the_tooltip_says_utc(open_page, project):
    set_guidelines(project, User.objects.get(username="admin"), "# Others")
    project.guideline_versions.update(created_at=datetime(2026, 1, 31, 20, 15, tzinfo=UTC))
    page = open_page("admin", "/p/kind/guidelines/", timezone_id="Asia/Kolkata")
    time = page.locator("time[title]").first
    assert time.text_content() == "1 Feb 2026, 01:45"
    assert time.get_attribute("title") == "31 January 2026, 20:15 UTC"
