"""The site in German and Chinese: nothing of ours is left in English where people label, and the choice is theirs."""

import re
from html import unescape
from html.parser import HTMLParser
from pathlib import Path

import polib
import pytest

from annotate.models import Project, User
from annotate.projects import set_guidelines

LOCALE = Path(__file__).parent.parent.parent / "locale"
CATALOGUES = {"de": "de", "zh-hans": "zh_Hans"}
# The same word in the other language, a name, or what somebody wrote.
SAME = {
    "Prefloop", "A", "B", "Esc", "Ctrl", "System", "Text", "Kind answers", "Kind answers · Prefloop", "admin",
    "annotator", "First text", "Second text", "Question 0", "My own rules", "English", "Deutsch", "简体中文",
}  # fmt: skip
SHOWN_ATTRIBUTES = {"aria-label", "title", "placeholder", "alt", "data-said", "data-too-long", "data-label"}


class Words(HTMLParser):
    """The texts of a page that somebody reads or hears; keys and scripts are none."""

    def __init__(self, html: str):
        super().__init__()
        self.found, self.inside = [], []
        self.feed(html)

    def handle_starttag(self, tag, attributes):
        if tag not in {"meta", "link", "input", "br", "hr", "use"}:
            self.inside.append(tag)
        self.found += [value for name, value in attributes if name in SHOWN_ATTRIBUTES and value]

    def handle_endtag(self, tag):
        while self.inside and self.inside.pop() != tag:
            pass

    def handle_data(self, data):
        text = " ".join(unescape(data).split())
        if re.search(r"[^\W\d_]", text) and not {"script", "style", "kbd"} & set(self.inside):
            self.found.append(text)


def words_in(client, path: str, language: str) -> list[str]:
    answer = client.get(path, headers={"Accept-Language": language})
    assert answer.status_code == 200
    html = answer.content.decode()
    assert f'<html lang="{language}">' in html
    return Words(html).found


@pytest.fixture
def labeling(pairs, project):
    """A pair with everything that a project may ask, so that every text of the page is there."""
    pairs(1)
    set_guidelines(project, User.objects.get(username="root"), "My own rules", minor=True)
    Project.objects.update(
        must_read=None, allow_equal=True, allow_both_bad=True, ask_criteria=True, ask_overall=True, ask_flags=True,
        ask_confidence=True, ask_edited=True, require_note=True,
    )  # fmt: skip


@pytest.mark.parametrize("language", ["de", "zh-hans"])
@pytest.mark.parametrize(
    ("person", "path"),
    [("annotator", "/p/kind/label/"), ("annotator", "/p/kind/label/history/"), ("annotator", "/account/"),
     ("annotator", "/"), ("admin", "/p/kind/"), (None, "/login/"), ("annotator", "/password/")],
)  # fmt: skip
def test_nothing_of_ours_stays_english(browser, labeling, language, person, path):
    client = browser(person)
    english = set(words_in(client, path, "en"))
    other = words_in(client, path, language)
    left = [words for words in other if words in english and words not in SAME]
    assert left == []


def test_the_persons_choice_wins_over_the_browsers(browser):
    client = browser("annotator")
    german = {"Accept-Language": "de-AT,de;q=0.9"}
    assert "Meine Einstellungen" in client.get("/account/", headers=german).content.decode()
    page = client.post("/account/language/", {"language": "zh-hans"}, headers=german, follow=True).content.decode()
    assert "您的语言已保存。" in page
    assert '<html lang="zh-hans">' in page
    assert '<html lang="de">' in browser("admin").get("/", headers=german).content.decode()
    client.post("/account/language/", {"language": ""}, headers=german)
    assert '<html lang="de">' in client.get("/", headers=german).content.decode()
    assert "does not speak" in client.post("/account/language/", {"language": "tlh"}, follow=True).content.decode()
    assert User.objects.get(username="annotator").language == ""


def test_errors_are_said_in_the_language_of_the_page(browser, pairs):
    pairs(1)
    answer = browser("annotator").post(
        "/p/kind/label/", {"key": "nonsense"}, headers={"HX-Request": "true", "Accept-Language": "de"}
    )
    assert "Dieses Paar war nicht für Sie reserviert." in answer.content.decode()
    assert "Nichts wurde gespeichert" in answer.content.decode()


@pytest.mark.parametrize("folder", CATALOGUES.values())
def test_what_is_compiled_is_what_was_translated(folder):
    texts = polib.pofile(LOCALE / folder / "LC_MESSAGES" / "django.po")
    compiled = {entry.msgid: entry for entry in polib.mofile(LOCALE / folder / "LC_MESSAGES" / "django.mo")}
    translated = [entry for entry in texts.translated_entries() if not entry.obsolete]
    assert len(translated) > 250
    for entry in translated:
        kept = compiled[entry.msgid]
        assert (kept.msgstr, kept.msgstr_plural) == (entry.msgstr, entry.msgstr_plural), "run make messages"


def placeholders(text: str) -> set[str]:
    return set(re.findall(r"%\(\w+\)[sd]|%[%d]|<[^>]+>", text))


@pytest.mark.parametrize("folder", CATALOGUES.values())
def test_no_placeholder_is_lost_in_translation(folder):
    for entry in polib.pofile(LOCALE / folder / "LC_MESSAGES" / "django.po").translated_entries():
        if entry.msgid_plural:
            # A singular may leave its number out; the form for many may not.
            *singular, many = entry.msgstr_plural.values()
            assert all(placeholders(text) <= placeholders(entry.msgid_plural) for text in singular), entry.msgid
            assert placeholders(many) == placeholders(entry.msgid_plural), entry.msgid
        else:
            assert placeholders(entry.msgstr) == placeholders(entry.msgid), entry.msgid
