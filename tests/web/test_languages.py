"""The site in German and Chinese: nothing of ours is left in English on any page, and the choice is theirs."""

import ast
import re
from datetime import date
from html import unescape
from html.parser import HTMLParser
from pathlib import Path

import polib
import pytest
from django.urls import reverse
from django.utils import translation
from django.utils.formats import date_format
from django.utils.translation import gettext

from annotate.datasets import record_words
from annotate.errors import UserError
from annotate.models import Project, User
from annotate.projects import set_guidelines
from annotate.runs.recipes import RECIPES, checked_params, form_fields
from annotate.web import setting_words
from annotate.web.numbers import duration, figure
from tests.web.test_accessibility import OUTSIDE, full, own_judgment  # noqa: F401
from tests.web.test_permissions import PAGES, address, rows  # noqa: F401
from training.records import ONE_OF, RecordError, parse_record

ROOT = Path(__file__).parent.parent.parent
LOCALE = ROOT / "locale"
CATALOGUES = {"de": "de", "zh-hans": "zh_Hans"}
# The same word in the other language, a name, or what somebody wrote.
SAME = {
    "Prefloop", "A", "B", "Esc", "Ctrl", "System", "Text", "Name", "Chat", "Chats", "Training", "Admin", "Annotator",
    "Version 1", "Version 2", "Version 2,", "Markdown", "SHA-256", "JSONL", "Parquet", "Kind answers",
    "Kind answers · Prefloop", "Chat · Kind answers · Prefloop", "admin", "annotator", "researcher", "root", "one",
    "First text", "Second text", "My own rules", "A second version.", "English", "Deutsch", "简体中文", "0 s", "a note",
    "PPO", "GRPO", "Dr. GRPO", "DAPO", "CGPO", "RLOO", "REINFORCE", "A2C", "DPO", "0.0 h", "starter", "reward-1",
    "secret-policy-one", "secret-policy-two", "No disk.", ", root",
}  # fmt: skip
# Names of rows: ": Question 0".
NAMED = re.compile(r"(: )?(Question|Row) \d+")
SHOWN_ATTRIBUTES = {"aria-label", "title", "placeholder", "alt", "data-said", "data-too-long", "data-label"}


class Words(HTMLParser):
    """The texts of a page that somebody reads or hears; keys, scripts, and what people and models wrote are none."""

    def __init__(self, html: str):
        super().__init__()
        self.found, self.inside = [], []
        self.feed(html)

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        foreign = tag in {"script", "style", "kbd", "code", "pre", "textarea"} or "dir" in attributes
        foreign = foreign or bool(set((attributes.get("class") or "").split()) & {"prose", "digest", "log", "changes"})
        if tag not in {"meta", "link", "input", "br", "hr", "use"}:
            self.inside.append((tag, foreign))
        self.found += [value for name, value in attributes.items() if name in SHOWN_ATTRIBUTES and value]

    def handle_endtag(self, tag):
        while self.inside and self.inside.pop()[0] != tag:
            pass

    def handle_data(self, data):
        text = " ".join(unescape(data).split())
        if re.search(r"[^\W\d_]", text) and not any(foreign for _tag, foreign in self.inside):
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


def left_in_english(client, path: str, language: str) -> list[str]:
    english = client.get(path, headers={"Accept-Language": "en"})
    if english.status_code != 200 or b"<main" not in english.getvalue():
        return []  # not for this person, or no page of its own
    same = set(Words(english.content.decode()).found) & set(words_in(client, path, language))
    return sorted(words for words in same - SAME if not NAMED.fullmatch(words))


@pytest.mark.parametrize("language", ["de", "zh-hans"])
@pytest.mark.parametrize("person", ["admin", "annotator"])
def test_nothing_of_ours_stays_english_on_any_page(browser, full, language, person):  # noqa: F811
    client = browser(person)
    pages = [reverse(name) for name, reader in OUTSIDE.items() if reader]
    pages += [address(name, arguments, full) for name, arguments, _allowed in PAGES]
    pages.append(own_judgment(person))
    left = {path: left_in_english(client, path, language) for path in pages}
    assert {path: words for path, words in left.items() if words} == {}


def test_the_settings_of_the_trainer_are_known_to_the_catalogues():
    shown = set()
    for field in (field for recipe in RECIPES for field in form_fields(recipe)):
        shown |= {field.label, field.help[:1].upper() + field.help[1:]}
        shown |= {str(choice).replace("_", " ") for choice in field.choices}
    assert shown == setting_words.SHOWN


@pytest.mark.parametrize(
    ("recipe", "params", "field", "german"),
    [
        ("reward", {"learning_rate": -1}, "learning_rate", "learning_rate=-1 muss mindestens 0 sein"),
        ("rejection", {"keep": "all"}, "keep", "keep=all muss eines von per_prompt, overall sein"),
        ("judge", {"rubric": "kind"}, "rubric", "rubric=kind muss eines von helpful, truthful, harmless sein"),
        ("judge", {"clear": 3}, "clear", "clear=3 muss von 0.5 bis 1 reichen"),
        ("grpo", {"samples": 1}, "samples", "baseline=group_std braucht mindestens 2 Antworten je Anfrage (samples)"),
        ("dapo", {"overlong_cache": 64}, "overlong_cache", "overlong_cache=64 muss kleiner sein als max_tokens=64"),
    ],
)
def test_a_refused_setting_is_explained_in_the_readers_language(recipe, params, field, german):
    with translation.override("de"), pytest.raises(UserError) as refused:
        checked_params(recipe, params)
    assert (refused.value.field, refused.value.message) == (field, german)


def sentences(path: Path) -> set[str]:
    """What the module's RecordErrors expect, whether written where they are raised or under a name."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    named = {
        target.id: node.value.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant)
        for target in node.targets
    } | {"ONE_OF": ONE_OF}
    places = {"RecordError": 3, "error": 1, "number": 1}
    found = set()
    for call in (node for node in ast.walk(tree) if isinstance(node, ast.Call)):
        place = places.get(getattr(call.func, "id", getattr(call.func, "attr", "")))
        if place is not None and len(call.args) > place:
            given = call.args[place]
            found.add(given.value if isinstance(given, ast.Constant) else named.get(given.id))
    return {said for said in found if isinstance(said, str)}  # neither an argument handed on nor a limit


def test_what_a_file_may_be_refused_for_is_known_to_the_catalogues():
    importers = ROOT / "annotate" / "datasets" / "importers"
    modules = [ROOT / "training" / "records.py", *importers.glob("*.py")]
    assert set().union(*map(sentences, modules)) == record_words.EXPECTED
    skipped = re.compile(r"Skipped\(line, \"([^\"]+)\"|skipped_because\[\"([^\"]+)\"")
    read = [*importers.glob("*.py"), importers.parent / "importing.py"]
    reasons = [one or other for path in read for one, other in skipped.findall(path.read_text(encoding="utf-8"))]
    assert set(reasons) == record_words.SKIPPED


def test_a_refused_file_is_explained_in_the_readers_language(tmp_path):
    path = tmp_path / "x"
    with pytest.raises(RecordError) as wrong:
        parse_record({"prompt": "Why?", "chosen": "a", "rejected": "b", "strength": "?"}, "preferences", path, 3)
    with translation.override("de"):
        assert record_words.told(wrong.value, "dir/paare.jsonl") == (
            "paare.jsonl, Zeile 3, Feld „strength“: Erwartet wird eines von better, slightly_better, tie."
        )
    assert str(wrong.value) == 'x, line 3, field "strength": expected one of better, slightly_better, tie'


def test_numbers_and_days_are_written_as_the_reader_writes_them():
    with translation.override("de"):
        assert (figure(1234), figure(0.631), duration(200)) == ("1.234", "0,631", "3 min 20 s")
        assert date_format(date(2026, 5, 3), gettext("j M Y")) == "3. Mai 2026"
    with translation.override("zh-hans"):
        assert (figure(1234), figure(0.631), duration(200)) == ("1234", "0.631", "3 分 20 秒")
    with translation.override("en"):
        assert date_format(date(2026, 5, 3), gettext("j M Y")) == "3 May 2026"


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
def test_every_text_is_translated(folder):
    texts = polib.pofile(LOCALE / folder / "LC_MESSAGES" / "django.po")
    assert [entry.msgid for entry in texts.untranslated_entries()] == []
    assert [entry.msgid for entry in texts.fuzzy_entries()] == []


@pytest.mark.parametrize("folder", CATALOGUES.values())
def test_what_is_compiled_is_what_was_translated(folder):
    texts = polib.pofile(LOCALE / folder / "LC_MESSAGES" / "django.po")
    compiled = {entry.msgid: entry for entry in polib.mofile(LOCALE / folder / "LC_MESSAGES" / "django.mo")}
    translated = [entry for entry in texts.translated_entries() if not entry.obsolete]
    assert len(translated) > 1000
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
