"""The whole loop in a real browser: label → stored row → exported line → reward model → DPO → a new round to label."""

import json
import re
import sqlite3
from pathlib import Path

import pytest

from tests.servers import NEVER

pytestmark = [pytest.mark.browser, pytest.mark.slow]

SHOTS = Path(__file__).resolve().parent.parent.parent / "var" / "screenshots"
PROJECT = "everyday-questions"
# The next pair is on the screen, and the judgment before it is saved.
NEXT_PAIR = """key => document.querySelector('#task')?.dataset.key !== key
    && !document.querySelector('[data-saving]')"""
JUDGED = 6
# A run on two busy cores: far above what it takes, so that only a run that hangs meets it.
RUN_TIMEOUT_MS = 10 * NEVER * 1000


@pytest.fixture
def sign_in(browser, site):
    """Opens a page signed in as one of the demo accounts, and fails the test on any error in its console."""
    contexts, errors = [], []

    def open_page(account: str, width: int = 1280, scheme: str = "light"):
        context = browser.new_context(
            viewport={"width": width, "height": 800}, color_scheme=scheme, accept_downloads=True
        )
        context.set_default_timeout(NEVER * 1000)
        contexts.append(context)
        page = context.new_page()
        page.on("pageerror", lambda error: errors.append(f"{page.url}: {error}"))
        page.on("console", lambda line: errors.append(f"{page.url}: {line.text}") if line.type == "error" else None)
        page.goto(f"{site.address}/login/")
        page.get_by_label("Username").fill(account)
        page.get_by_label("Password").fill(site.passwords[account])
        page.get_by_role("button", name="Sign in").click()
        page.wait_for_url(lambda url: "/login/" not in url)
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert not errors


def rows(site, query: str, *values) -> list[sqlite3.Row]:
    """What the site's own database says, read from outside."""
    connection = sqlite3.connect(f"file:{site.var / 'prefloop.sqlite3'}?mode=ro", uri=True)
    connection.row_factory = sqlite3.Row
    with connection:
        found = connection.execute(query, values).fetchall()
    connection.close()
    return found


JUDGMENT = """
    SELECT j.*, l.text AS left_text, r.text AS right_text, w.text AS winner_text
    FROM annotate_judgment j JOIN annotate_user u ON u.id = j.annotator_id
    JOIN annotate_response l ON l.id = j.left_id JOIN annotate_response r ON r.id = j.right_id
    LEFT JOIN annotate_response w ON w.id = j.winner_id
    WHERE u.username = 'annotator' ORDER BY j.id
"""


def test_the_loop_closes_in_the_browser(site, sign_in):
    first = _label(site, sign_in("annotator"))
    _export(site, sign_in("researcher"), first)
    admin = sign_in("admin")
    _run(site, admin, "reward", title="Reward model of the test")
    _run(site, admin, "dpo", title="DPO of the test")
    _new_round(site, admin, policy="DPO of the test")
    _label_new_round(site, sign_in("annotator"))


def _label(site, page) -> sqlite3.Row:
    """Six pairs by keyboard alone; the first judgment's row, compared with what stood on the screen."""
    page.goto(f"{site.address}/p/{PROJECT}/label/")
    page.locator("#judge").wait_for()
    on_screen = {side: page.locator(f"#response-{side} .prose").inner_text() for side in "ab"}
    html = page.content()
    for generator in {row["generator"] for row in rows(site, "SELECT DISTINCT generator FROM annotate_response")}:
        assert not generator or generator not in html, "the page tells who wrote a response"

    for number in range(JUDGED):
        key = page.locator("#task").get_attribute("data-key")
        requests = []
        page.on("request", lambda request, seen=requests: seen.append((request.method, request.url)))
        page.keyboard.press("4" if number == 0 else "1")
        page.keyboard.press("Enter")
        page.wait_for_function(NEXT_PAIR, arg=key)
        if number == 0:
            pages = [(method, url) for method, url in requests if "/static/" not in url and "/ahead/" not in url]
            assert pages == [("POST", page.url)], "the next pair comes with the submit or was there before"
    stored = rows(site, JUDGMENT)
    assert len(stored) == JUDGED
    first = stored[0]
    assert first["rating"] == 4
    assert first["winner_text"] == first["right_text"]
    for side, text in (("a", first["left_text"]), ("b", first["right_text"])):
        assert _words(on_screen[side]) == _words(text), "the row holds the order that was shown"
    assert first["seconds"] > 0
    return first


def _words(text: str) -> list[str]:
    """Without the numbers of Markdown's lists, which a browser draws but does not give as text."""
    return re.findall(r"\w+", re.sub(r"^\s*\d+\. ", "", text, flags=re.MULTILINE))


def _export(site, page, judged: sqlite3.Row) -> None:
    """A snapshot made and downloaded in the browser holds the pair with the winner as `chosen`."""
    page.goto(f"{site.address}/p/{PROJECT}/datasets/")
    page.get_by_label("Kind").select_option("preferences")
    page.get_by_role("button", name="Make a snapshot").click()
    with page.expect_download() as download:
        page.get_by_role("link", name="JSONL").first.click()
    lines = [json.loads(line) for line in Path(download.value.path()).read_text().splitlines()]
    pair = {judged["left_text"], judged["right_text"]}
    matching = [
        line for line in lines if {line["chosen"][0]["content"], line["rejected"][0]["content"]} == pair
    ]  # fmt: skip
    assert [line["chosen"][0]["content"] for line in matching] == [judged["winner_text"]]


def _run(site, page, recipe: str, title: str) -> None:
    """Starts a recipe with the form's own settings, and watches the page until it says that it is done."""
    page.goto(f"{site.address}/p/{PROJECT}/runs/new/{recipe}/")
    page.get_by_label("Title").fill(title)
    page.get_by_role("button", name="Start", exact=True).click()
    page.wait_for_url("**/runs/*/")
    page.locator("#run-live progress").first.wait_for()
    # The page moves by itself: nothing is reloaded here.
    page.locator("#run-live .state.succeeded, #run-live .state.failed").wait_for(timeout=RUN_TIMEOUT_MS)
    assert page.locator("#run-live .state.succeeded").count(), page.content()
    page.locator("#charts canvas").first.wait_for()
    (run,) = rows(site, "SELECT * FROM annotate_run WHERE title = ?", title)
    assert run["state"] == "succeeded"
    (model,) = rows(site, "SELECT * FROM annotate_modelversion WHERE run_id = ?", run["id"])
    assert model["kind"] == ("reward" if recipe == "reward" else "policy")
    _shoot(page, f"run-{recipe}")


def _new_round(site, page, policy: str) -> None:
    """The policy that was just trained answers prompts; its pairs wait in the queue when the run has finished."""
    (model,) = rows(
        site,
        "SELECT m.id FROM annotate_modelversion m JOIN annotate_run r ON r.id = m.run_id WHERE r.title = ?",
        policy,
    )
    page.goto(f"{site.address}/p/{PROJECT}/rounds/new/")
    page.locator("select[name=policy]").select_option(str(model["id"]))
    page.locator("input[name=prompts]").fill("12")
    page.get_by_role("button", name="Start the round").click()
    page.wait_for_url(re.compile(r"/(runs/\d+|rounds)/$"))
    (round_,) = rows(site, "SELECT * FROM annotate_round WHERE policy_id = ?", model["id"])
    page.goto(f"{site.address}/p/{PROJECT}/runs/{round_['run_id']}/")
    page.locator("#run-live .state.succeeded, #run-live .state.failed").wait_for(timeout=RUN_TIMEOUT_MS)
    assert page.locator("#run-live .state.succeeded").count(), page.content()
    assert rows(site, "SELECT id FROM annotate_comparison WHERE round_id = ?", round_["id"])
    page.goto(f"{site.address}/p/{PROJECT}/")
    _shoot(page, "overview")


def _label_new_round(site, page) -> None:
    """The annotator judges what was there and comes to a pair of the new round."""
    page.goto(f"{site.address}/p/{PROJECT}/label/")
    _shoot(page, "label")
    waiting = rows(site, "SELECT COUNT(*) AS n FROM annotate_slot WHERE free_from IS NOT NULL")[0]["n"]
    for _ in range(waiting):
        key = page.locator("#task").get_attribute("data-key")
        (shown,) = rows(
            site,
            """SELECT c.round_id, m.name FROM annotate_reservation v JOIN annotate_slot s ON s.id = v.slot_id
               JOIN annotate_comparison c ON c.id = s.comparison_id JOIN annotate_response a ON a.id = c.first_id
               LEFT JOIN annotate_modelversion m ON m.id = a.model_id WHERE v.key = ?""",
            key.replace("-", ""),
        )
        if shown["name"] is not None and shown["round_id"] is not None:
            (run,) = rows(site, "SELECT run_id FROM annotate_modelversion WHERE name = ?", shown["name"])
            if run["run_id"] is not None:
                return
        page.keyboard.press("2")
        page.keyboard.press("Enter")
        page.wait_for_function(NEXT_PAIR, arg=key)
    raise AssertionError("no pair of the new policy came to the annotator")


def _shoot(page, name: str) -> None:
    """Screenshots at two widths and in both themes, and nothing is cut off at the narrow one."""
    SHOTS.mkdir(parents=True, exist_ok=True)
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        for width in (1280, 390):
            page.set_viewport_size({"width": width, "height": 800})
            page.screenshot(path=SHOTS / f"{name}-{width}-{scheme}.png")
            across = page.evaluate("document.documentElement.scrollWidth")
            assert across <= width, f"{name} is {across} px wide at {width}"
    page.emulate_media(color_scheme="light")
    page.set_viewport_size({"width": 1280, "height": 800})
