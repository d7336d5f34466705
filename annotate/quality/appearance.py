"""What a response looks like before it is read: its length and how much Markdown formats it."""

import re

# What a reader sees as formatting: headings, list items, quotes, tables, fences, bold or emphasis, code, links.
_MARKS = re.compile(
    r"""
    ^\ {0,3}\#{1,6}\ \S            # a heading
    | ^\s*(?:[-*+]|\d{1,3}[.)])\ \S  # an item of a list
    | ^\ {0,3}>\ ?\S               # a quote
    | ^\ {0,3}(?:```|~~~)          # the beginning or end of a block of code
    | ^\s*\|.+\|\s*$               # a row of a table
    | \*\*\S[^*\n]*\*\*            # bold
    | (?<![*\w])\*[^\s*][^*\n]*\*(?![*\w])  # emphasis
    | `[^`\n]+`                    # code in a line
    | \[[^\]\n]+\]\([^)\s]+\)      # a link
    """,
    re.VERBOSE | re.MULTILINE,
)


def markdown_marks(text: str) -> int:
    """How many pieces of Markdown formatting `text` has."""
    return sum(1 for _ in _MARKS.finditer(text))
