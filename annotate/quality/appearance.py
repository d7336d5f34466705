"""What a response looks like before it is read: its length and how much Markdown formats it."""

import re

# Every piece is looked for within its line and nowhere twice, so that a text made to be slow is not.
# What a reader sees as formatting at the beginning of a line: headings, list items, quotes, fences, rows of tables.
_AT_START = re.compile(
    r"""
    \ {0,3}\#{1,6}\ \S            # a heading
    | [^\S\n]*(?:[-*+]|\d{1,3}[.)])\ \S  # an item of a list
    | \ {0,3}>\ ?\S               # a quote
    | \ {0,3}(?:```|~~~)          # the beginning or end of a block of code
    | [^\S\n]*\|.+\|[^\S\n]*$     # a row of a table
    """,
    re.VERBOSE,
)
# And within it: bold or emphasis, code, links.
_WITHIN = re.compile(
    r"""
    \*\*\S[^*\n]*\*\*            # bold
    | (?<![*\w])\*[^\s*][^*\n]*\*(?![*\w])  # emphasis
    | `[^`\n]+`                    # code in a line
    | \[[^][\n]+\]\([^)\s]{1,1000}\)  # a link
    """,
    re.VERBOSE,
)


def markdown_marks(text: str) -> int:
    """How many pieces of Markdown formatting `text` has."""
    marks = 0
    for line in text.split("\n"):
        beginning = _AT_START.match(line)
        marks += beginning is not None
        if "*" in line or "`" in line or "](" in line:
            marks += sum(1 for _ in _WITHIN.finditer(line, beginning.end() if beginning else 0))
    return marks
