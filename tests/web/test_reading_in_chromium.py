"""Reading two responses in a real browser: differing words, long texts scrolled together or apart, focus in sight."""

import pytest

from tests.web.conftest import CHROMIUM

pytestmark = [
    pytest.mark.browser,
    pytest.mark.django_db(transaction=True),
    pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium on this machine (Debian: apt install chromium)"),
]

MARKED = "id => [...document.querySelectorAll(`#${id} .differs`)].map(mark => mark.textContent)"
TEXTS = "[...document.querySelectorAll('.response .prose')].map(prose => prose.innerHTML)"


@pytest.fixture
def open_pair(open_page, pairs):
    """open_pair(one, other): the labeling page with these two texts, the guidelines closed; which is A is random."""

    def make(one, other, count=1, **options):
        pairs(count, texts=(one, other))
        page = open_page("annotator", "/p/kind/label/", **options)
        if page.is_visible("#guidelines"):
            page.click("#guidelines-close")
        return page

    return make


def side_of(page, words: str) -> str:
    return page.locator(f".response:has-text('{words}')").get_attribute("id")


def test_the_words_that_differ_are_marked_in_both_and_go_again(open_pair):
    page = open_pair(
        "The **red** fox jumps over $x^2$ very lazy dogs at noon",
        "The blue fox jumps over $y^2$ very lazy cats and mice at noon",
    )
    untouched = page.evaluate(TEXTS)
    red, blue = side_of(page, "red"), side_of(page, "blue")
    page.keyboard.press("d")
    assert page.evaluate(MARKED, red) == ["red", "x2", "dogs"]
    assert page.evaluate(MARKED, blue) == ["blue", "y2", "cats and mice"]
    assert page.get_attribute("#diff-toggle", "aria-pressed") == "true"
    assert page.inner_text("#diff-said") == "33 % of the words differ."
    line = "getComputedStyle(document.querySelector('mark.differs')).textDecorationLine"
    assert page.evaluate(line) == "underline", "not by colour alone"
    page.click("#diff-toggle")
    assert page.evaluate(TEXTS) == untouched
    assert page.inner_text("#diff-said") == ""


def test_the_choice_holds_for_the_next_pair(open_pair):
    page = open_pair("one two three", "one zwei three", count=2)
    page.keyboard.press("d")
    key = page.get_attribute("#task", "data-key")
    page.keyboard.press("1")
    page.keyboard.press("Enter")
    page.wait_for_function("key => document.querySelector('#task').dataset.key !== key", arg=key)
    assert page.evaluate(MARKED, side_of(page, "zwei")) == ["zwei"]


@pytest.mark.parametrize(
    ("one", "other", "marked"),
    [
        ("a b c d e f g h", "a b c X d e f g h", []),
        ("c d e f", "a b c d e f", []),
        ("a b c d", "a b", ["c d"]),
        ("", "a b", []),
        ("same", "same", []),
        ("x y z x y z", "x y z", ["x y z"]),
        ("你好世界", "你好宇宙", ["世界"]),
        ("un été chaud", "un hiver chaud", ["été"]),
    ],
)
def test_what_counts_as_different(open_pair, one, other, marked):
    page = open_pair("placeholder one", "placeholder two")
    for number, text in enumerate((one, other)):
        fill = "([i, text]) => { document.querySelectorAll('.response .prose')[i].textContent = text }"
        page.evaluate(fill, [number, text])
    page.keyboard.press("d")
    assert page.evaluate(MARKED, "response-a") == marked


def test_two_long_texts_are_compared_before_anybody_waits(open_pair):
    words = [f"word{number % 700}" for number in range(4000)]
    page = open_pair(" ".join(words), " ".join(words[:1000] + ["other"] * 500 + words[1500:]))
    took = page.evaluate("(() => { const t = performance.now(); document.querySelector('#diff-toggle').click();"
                         " return performance.now() - t })()")  # fmt: skip
    assert page.evaluate(MARKED, side_of(page, "other"))[0].startswith("other other")
    assert took < 20_000, "milliseconds: a table of all words against all others takes far longer"


def test_long_responses_scroll_together_or_apart(open_pair):
    page = open_pair("one line\n\n" * 100, "another line\n\n" * 200)
    one, other = (f"document.querySelector('#{side_of(page, words)}')" for words in ("one line", "another line"))
    share = "(box => box.scrollTop / (box.scrollHeight - box.clientHeight))"
    assert page.is_visible("#link-toggle")
    page.evaluate(f"{one}.scrollTop = ({one}.scrollHeight - {one}.clientHeight) / 2")
    page.wait_for_function(f"Math.abs({share}({other}) - 0.5) < 0.01")
    assert abs(page.evaluate(f"{share}({one})") - 0.5) < 0.01
    page.keyboard.press("l")
    assert page.get_attribute("#link-toggle", "aria-pressed") == "false"
    page.evaluate(f"{one}.scrollTop = 0")
    page.evaluate("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")
    assert abs(page.evaluate(f"{share}({other})") - 0.5) < 0.01
    page.keyboard.press("l")
    page.wait_for_function(f"{share}({one}) === 0 || {share}({other}) > 0")
    assert abs(page.evaluate(f"{share}({one})") - page.evaluate(f"{share}({other})")) < 0.01
    assert page.complaints == []


@pytest.mark.parametrize(("one", "width"), [("short", 1280), ("one line\n\n" * 100, 390)])
def test_short_responses_and_narrow_screens_scroll_with_the_page(open_pair, one, width):
    page = open_pair(one, "another", width=width)
    assert not page.is_visible("#link-toggle")
    assert page.locator(".pair.boxed").count() == 0


@pytest.mark.parametrize("width", [1280, 390])
def test_what_has_the_focus_is_never_behind_the_sticky_bar(open_pair, width):
    page = open_pair("[a link](https://example.org/a) and words\n\n" * 40, "another", width=width)
    hidden = """() => {
      const element = document.activeElement, box = element.getBoundingClientRect();
      if (element === document.body || element.closest('.verdict, .topbar, .ratings')) return null;
      const rows = [box.top + 2, (box.top + box.bottom) / 2, box.bottom - 2];
      const seen = rows.some(y => {
        const hit = document.elementFromPoint(Math.min(box.left + 4, innerWidth - 1), y);
        return hit && (element.contains(hit) || hit.contains(element));
      });
      return seen ? null : element.outerHTML.slice(0, 120);
    }"""
    problems = []
    for _ in range(75):
        page.keyboard.press("Tab")
        problems.append(page.evaluate(hidden))
    assert not [problem for problem in problems if problem]
