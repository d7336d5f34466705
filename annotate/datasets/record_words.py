"""What is wrong with a file, in the reader's language: training/records.py and the importers write English.

A test compares these lists with what is written there.
"""

from pathlib import Path

from django.utils.translation import gettext, gettext_noop

from training.records import RecordError

EXPECTED = {
    gettext_noop("a file, and there is none of this name"),
    gettext_noop("a name ending in .jsonl, .jsonl.gz, .json or .parquet"),
    gettext_noop("UTF-8 text"),
    gettext_noop("a whole gzip file, and this one is cut off or damaged"),
    gettext_noop("one JSON array of objects"),
    gettext_noop("a readable Parquet file"),
    gettext_noop("valid JSON (%(problem)s)"),
    gettext_noop("a JSON object"),
    gettext_noop("this field to be present"),
    gettext_noop("a text that is not empty"),
    gettext_noop("text without NUL characters or half surrogate pairs"),
    gettext_noop('a text, or messages [{"role", "content"}, …]'),
    gettext_noop("one of %(words)s"),
    gettext_noop("messages that end with a turn to answer, not with the assistant's own"),
    gettext_noop("a text, or exactly one message, the assistant's"),
    gettext_noop('a list of one Python statement or more, such as "assert double(2) == 4"'),
    gettext_noop("a JSON schema, which is an object (or its JSON text)"),
    gettext_noop("a list of two responses or more"),
    gettext_noop("a whole number from 0 to %(most)s"),
    gettext_noop("a number from 0 to 1"),
    gettext_noop("a number of at least 0"),
    gettext_noop("a text or a whole number"),
    gettext_noop('this field, or "chosen" and "rejected" as whole conversations'),
    gettext_noop("a conversation that ends with the assistant's answer"),
    gettext_noop('a conversation that differs from "chosen" in its last turn only'),
    gettext_noop("a turn to answer before the assistant's last"),
    gettext_noop('an object such as {"helpful": "chosen"}'),
    gettext_noop("a criterion out of %(words)s"),
    gettext_noop('a transcript "\\n\\nHuman: …\\n\\nAssistant: …" that ends with the assistant\'s turn'),
    gettext_noop("a transcript in which the human says something"),
    gettext_noop("a list of votes"),
    gettext_noop("a time such as 2016-01-31 16:59:52, or null"),
    gettext_noop("one of %(words)s, or null"),
    gettext_noop("an object"),
    gettext_noop("a text of at most %(longest)s characters, or null"),
    gettext_noop("a whole number from %(low)s to %(high)s, or null"),
    gettext_noop("a number of at least 0, or null"),
    gettext_noop("a number from 0 to %(high)s, or null"),
    gettext_noop("true or false"),
    gettext_noop("a time with its zone such as 2026-01-31T16:59:52+00:00"),
    gettext_noop("a list"),
    gettext_noop("a list of %(count)s entries, one a response"),
    gettext_noop("two responses for a pair, four to nine for a ranking"),
    gettext_noop("responses that differ in their text or their model"),
    gettext_noop("a pseudonym: letters, digits and . @ + / : - _ only, 110 at most"),
    gettext_noop("%(number)s: versions count from 1"),
    gettext_noop("%(number)s, one more than there are earlier ones, not %(version)s"),
    gettext_noop("at most as many as seconds"),
    gettext_noop("a rank for each response, from 1 on and without gaps"),
    gettext_noop("a list of %(words)s"),
}
SKIPPED = {
    gettext_noop("chosen and rejected are the same text"),
    gettext_noop("the conversations differ before their last turn"),
    gettext_noop("a response is empty"),
    gettext_noop("the prompt ends with the assistant's own turn"),
    gettext_noop("both arguments are the same text"),
    gettext_noop("all responses are the same text"),
}


def told(error: RecordError, filename: str) -> str:
    """One sentence that names the file as its owner calls it, the line and the field, and what should be there."""
    expected = gettext(error.expected)
    said = {
        "file": Path(filename).name,
        "line": error.line,
        "field": error.field,
        "expected": expected % error.values if error.values else expected,
    }
    if error.line is None:
        return gettext("%(file)s: expected %(expected)s.") % said
    if error.field is None:
        return gettext("%(file)s, line %(line)s: expected %(expected)s.") % said
    return gettext('%(file)s, line %(line)s, field "%(field)s": expected %(expected)s.') % said
