"""A ranking in a real browser: by keys alone, by dragging, by tapping; announced, kept as a draft, and undone."""

import shutil

import pytest

from annotate.datasets.snapshots import create_snapshot, rows
from annotate.labeling.comparisons import NewResponse, add_prompts, add_rankings, add_responses, ranking_of
from annotate.models import Judgment, Project
from tests.web.test_in_chromium import NEXT_PAIR, key_of

pytestmark = [
    pytest.mark.browser,
    pytest.mark.django_db(transaction=True),
    pytest.mark.skipif(shutil.which("chromium") is None, reason="there is no Chromium on this machine"),
]
PATH = "/p/kind/label/"


@pytest.fixture
def rankings(project):
    prompts = add_prompts(project, [[{"role": "user", "content": f"Rank {n}"}] for n in range(2)]).rows
    texts = ("apple", "birch", "cedar", "daisy")
    return add_rankings(
        project, [ranking_of(add_responses(project, [NewResponse(prompt, text, "m") for text in texts]).rows)
                  for prompt in prompts],
    ).rows  # fmt: skip


def ranks_of(page) -> dict[str, list[str]]:
    """Rank ("" for none) to the letters on the board there, in any order."""
    zones = page.locator(".board [data-rank]").all()
    return {zone.get_attribute("data-rank"): sorted(zone.locator(".chip").all_inner_texts()) for zone in zones}


def drag(page, letter: str, rank: int) -> None:
    page.locator(f".chip[data-letter={letter}]").hover()
    page.mouse.down()
    box = page.locator(f".board-rank[data-rank='{rank}']").bounding_box()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2, steps=4)
    page.mouse.up()


def test_a_ranking_by_keys_alone_reaches_the_export(open_page, rankings, project):
    page = open_page("annotator", PATH)
    page.keyboard.press("g")
    key = key_of(page)
    assert not page.is_visible(".ranks select") and ranks_of(page)[""] == list("ABCD")

    page.keyboard.press("2")  # A is second
    assert page.inner_text("#announcer") == "Response A: rank 2 of 4"
    page.keyboard.press("j")  # on to B
    page.keyboard.press("2")  # takes the place of A, which goes back
    assert page.inner_text("#announcer") == "Response B: rank 2 of 4. Response A: no rank yet"
    page.keyboard.press("ArrowLeft")  # B is first
    page.keyboard.press("ArrowDown")  # on to C
    page.keyboard.press("4")
    page.keyboard.press("k")
    page.keyboard.press("k")  # back to A
    page.keyboard.press("3")
    page.keyboard.press("Enter")  # D has no rank: nothing is sent away, and the page says so
    page.wait_for_selector("#form-error >> text=give each of the 4 responses a rank")

    page.reload()
    assert ranks_of(page) == {"": ["D"], "1": ["B"], "2": [], "3": ["A"], "4": ["C"]}, "the draft came back"
    page.click(".chip[data-letter=D]")
    page.keyboard.press("2")
    page.keyboard.press("Enter")
    page.wait_for_function(NEXT_PAIR, arg=key)
    judgment = Judgment.objects.get()
    best_first = [row.response.text for row in judgment.assessments.order_by("rank")]
    assert [row.rank for row in judgment.assessments.all()] == [3, 1, 4, 2]

    page.keyboard.press("u")
    page.wait_for_selector(".editing")
    assert ranks_of(page) == {"": [], "1": ["B"], "2": ["D"], "3": ["A"], "4": ["C"]}
    page.click(".chip[data-letter=D]")
    page.keyboard.press("ArrowLeft")  # D and B change places
    page.keyboard.press("Enter")
    page.wait_for_selector("#announcer >> text=Changed.")
    assert page.url.endswith(PATH)
    judgment.refresh_from_db()
    assert judgment.version == 2
    best_first[:2] = reversed(best_first[:2])
    lines = list(rows(create_snapshot(project, "preferences")))
    wins = {text: sum(line["chosen"][0]["content"] == text for line in lines) for text in best_first}
    assert wins == dict(zip(best_first, [3, 2, 1, 0], strict=True))
    assert page.complaints == [message for message in page.complaints if "422" in message]


def test_a_ranking_by_dragging_and_tapping_with_shared_ranks(open_page, rankings):
    Project.objects.update(allow_equal=True)
    page = open_page("annotator", PATH, width=390, has_touch=True)
    page.click("text=Close the guidelines")
    key = key_of(page)
    drag(page, "A", 1)
    drag(page, "B", 1)
    assert ranks_of(page)["1"] == ["A", "B"]
    page.tap(".chip[data-letter=C]")
    page.tap(".board-rank[data-rank='4']")
    drag(page, "D", 3)
    page.tap(".chip[data-letter=D]")
    page.keyboard.press("Backspace")
    assert ranks_of(page) == {"": ["D"], "1": ["A", "B"], "2": [], "3": [], "4": ["C"]}
    drag(page, "D", 2)
    for chip in page.locator(".chip").all():
        box = chip.bounding_box()
        assert box["width"] >= 24 and box["height"] >= 24 and box["x"] >= 0 and box["x"] + box["width"] <= 390
    page.tap(".actions > .primary")
    page.wait_for_function(NEXT_PAIR, arg=key)
    assert [row.rank for row in Judgment.objects.get().assessments.all()] == [1, 1, 3, 2]


def test_the_fold_and_the_letters_of_optional_verdicts(open_page, pairs):
    settings = ("allow_equal", "allow_both_bad", "ask_confidence", "ask_overall", "ask_flags", "ask_edited")
    Project.objects.update(**dict.fromkeys(settings, True))
    pairs(2)
    page = open_page("annotator", PATH)
    page.keyboard.press("g")
    key = key_of(page)
    page.keyboard.press("b")
    assert page.is_checked("[name=rating][value='5']")
    page.keyboard.press("1")
    for letter in "hhcccc":  # helpful: equal; how sure: round once, to nothing
        page.keyboard.press(letter)
    bar = page.locator(".ratings").bounding_box()
    page.keyboard.press("f")
    assert page.locator(".ratings").bounding_box() == bar, "the fold moves nothing"
    page.check("[name='flags-1'][value='4']")
    page.keyboard.press("i")
    page.click("#start-from-better")
    assert page.input_value("#edited") == page.get_attribute("#response-a", "data-text")
    page.keyboard.type(" And more.")
    page.keyboard.press("Control+Enter")
    page.wait_for_function(NEXT_PAIR, arg=key)
    judgment = Judgment.objects.get()
    assert (judgment.rating, judgment.helpful, judgment.confidence) == (1, 0, None)
    assert judgment.edited == f"{judgment.left.text} And more."
    (about,) = judgment.assessments.all()
    assert (about.place, about.flags) == (1, 4)
    assert page.complaints == []


def test_equals_are_announced_and_the_board_starts_over(open_page, rankings, project):
    Project.objects.update(allow_equal=True)
    page = open_page("annotator", PATH)
    page.keyboard.press("g")
    assert not page.is_visible(".ranks-clear")
    page.keyboard.press("1")
    page.keyboard.press("j")
    page.keyboard.press("1")
    assert page.inner_text("#announcer") == "Response B: rank 1 of 4, shared with A"
    assert page.get_attribute(".chip[data-letter=A]", "aria-label") == "Response A: rank 1 of 4, shared with B"
    page.click(".ranks-clear")
    assert ranks_of(page)[""] == list("ABCD")
    assert page.inner_text("#announcer") == "No response has a rank."
    assert page.evaluate("document.activeElement.dataset.letter") == "A", "no focus is lost with the button"
    page.reload()
    assert ranks_of(page)[""] == list("ABCD"), "the draft has started over as well"
