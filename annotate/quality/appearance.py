"""What a response looks like before it is read: its length and how much Markdown formats it."""

import re

# Every piece is looked for within its line and nowhere twice, so that a text made to be slow is not.
# What a reader sees as formatting: headings, list items, quotes, tables, fences, bold or emphasis, code, links.
_MARKS = re.compile(
    r"""
    ^\ {0,3}\#{1,6}\ \S            # a heading
    | ^[^\S\n]*(?:[-*+]|\d{1,3}[.)])\ \S  # an item of a list
    | ^\ {0,3}>\ ?\S               # a quote
    | ^\ {0,3}(?:```|~~~)          # the beginning or end of a block of code
    | ^[^\S\n]*\|.+\|[^\S\n]*$     # a row of a table
    | \*\*\S[^*\n]*\*\*            # bold
    | (?<![*\w])\*[^\s*][^*\n]*\*(?![*\w])  # emphasis
    | `[^`\n]+`                    # code in a line
    | \[[^][\n]+\]\([^)\s]{1,1000}\)  # a link
    """,
    re.VERBOSE | re.MULTILINE,
)


def markdown_marks(text: str) -> int:
    """How many pieces of Markdown formatting `text` has."""
    return sum(1 for _ in _MARKS.finditer(text))
