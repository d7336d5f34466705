r"""LaTeX in Markdown: `$…$`, `$$…$$`, `\(…\)` and `\[…\]` become MathML, which browsers and screen readers know.

Dollars in prose are left alone, by pandoc's rule and a bit: the opening one touches what follows and no letter or
digit before it, the closing one touches what precedes and no letter or digit after it, and plain words between two
dollars are no formula. What cannot be converted shows its source.
"""

import html
import re
from bisect import bisect_left
from xml.etree import ElementTree

from latex2mathml.converter import convert_to_element
from markdown_it import MarkdownIt
from markdown_it.rules_block import StateBlock
from markdown_it.rules_inline import StateInline

# Nobody writes longer formulas; a document full of dollars costs nothing.
LONGEST = 4000
# From here on a formula may be wider than its column.
WIDE = 60
DELIMITERS = {"$$": "$$", "$": "$", r"\[": r"\]", r"\(": r"\)"}
DISPLAY = {"$$", r"\["}

# Element -> how many children it must have to mean anything (None: any number).
ELEMENTS = {
    "math": None, "mrow": None, "mi": None, "mn": None, "mo": None, "mtext": None, "mspace": 0, "mfrac": 2,
    "msqrt": None, "mroot": 2, "msub": 2, "msup": 2, "msubsup": 3, "munder": 2, "mover": 2, "munderover": 3,
    "mtable": None, "mtr": None, "mtd": None, "mstyle": None, "mpadded": None, "mphantom": None, "menclose": None,
}  # fmt: skip
# Colours are left out: they would not suit both themes, and one response must not draw the eye.
ATTRIBUTES = {
    "display", "displaystyle", "scriptlevel", "stretchy", "fence", "form", "lspace", "rspace", "minsize", "maxsize",
    "accent", "accentunder", "linethickness", "width", "height", "depth", "movablelimits", "symmetric", "largeop",
    "separator", "mathvariant",
}  # fmt: skip
_PROSE = re.compile(r"[^\W\d_]{3,}")
_FORMULA = re.compile(r"[\\^_={}<>+|]")
_UNKNOWN_COMMAND = re.compile(r"\\[A-Za-z]|[{}]")


def to_mathml(source: str, *, display: bool) -> str | None:
    """The formula as MathML of known elements and attributes only; None where it is not valid LaTeX."""
    try:
        tree = convert_to_element(source, display="block" if display else "inline")
        _clean(tree)
    # The converter has no common exception, and on odd input it fails with IndexError and the like.
    except Exception:
        return None
    return ElementTree.tostring(tree, encoding="unicode", short_empty_elements=False)


def _clean(element: ElementTree.Element) -> None:
    """Keeps what is allowed, in place. Raises ValueError for what does not belong into a formula."""
    children = ELEMENTS.get(element.tag, -1)
    if children == -1 or (children is not None and len(element) != children):
        raise ValueError(f"{element.tag} with {len(element)} parts")
    # The converter writes characters as entities; written out, they are escaped once, by the serializer.
    element.text = html.unescape(element.text or "")
    element.tail = None
    if element.tag in {"mi", "mo"} and _UNKNOWN_COMMAND.match(element.text) and len(element.text) > 1:
        raise ValueError(f"unknown command {element.text}")
    alignment = element.get("columnalign")
    for name in set(element.attrib) - ATTRIBUTES:
        del element.attrib[name]
    if element.tag == "menclose":  # Not in MathML Core, so the style sheet draws it.
        element.tag = "mrow"
        element.set("class", "math-boxed")
    if alignment in {"left", "right"}:
        element.set("class", f"align-{alignment}")
    for child in element:
        _clean(child)


def mathematics(markdown: MarkdownIt) -> None:
    """A plugin of markdown-it: `MarkdownIt(…).use(mathematics)`."""
    markdown.inline.ruler.before("escape", "math", _inline)
    alternatives = {"alt": ["paragraph", "reference", "blockquote", "list"]}
    markdown.block.ruler.before("fence", "math_block", _block, alternatives)
    markdown.add_render_rule("math", lambda self, tokens, index, options, env: _render(tokens[index]))
    markdown.add_render_rule("math_block", lambda self, tokens, index, options, env: _render_block(tokens[index]))


def _opening(text: str, start: int) -> str | None:
    return next((mark for mark in DELIMITERS if text.startswith(mark, start)), None)


def _inline(state: StateInline, silent: bool) -> bool:
    text, start = state.src, state.pos
    opening = _opening(text, start)
    if opening is None:
        return False
    closing, begin = DELIMITERS[opening], start + len(opening)
    end = text.find(closing, begin, min(begin + LONGEST, state.posMax))
    if end <= begin or (opening == "$" and not _are_dollars_of_a_formula(text, start, end)):
        return False
    if not silent:
        token = state.push("math", "math", 0)
        token.content, token.markup = text[begin:end], opening
    state.pos = end + len(closing)
    return True


def _are_dollars_of_a_formula(text: str, start: int, end: int) -> bool:
    content = text[start + 1 : end]
    before, after = text[start - 1 : start], text[end + 1 : end + 2]
    if before.isalnum() or before == "\\" or after.isalnum() or text[end - 1] == "\\":
        return False
    if content[0].isspace() or content[-1].isspace() or "`" in content or "\n\n" in content:
        return False
    return bool(_FORMULA.search(content)) or not _PROSE.search(content)


def _block(state: StateBlock, start_line: int, end_line: int, silent: bool) -> bool:
    """A formula that has its lines for itself, so that a line like "+ b" in it does not begin a list."""
    if state.is_code_block(start_line):
        return False
    start = state.bMarks[start_line] + state.tShift[start_line]
    opening = _opening(state.src, start)
    if opening not in DISPLAY:
        return False
    closing, begin = DELIMITERS[opening], start + len(opening)
    # One search decides, so that a text of nothing but openings costs no more than its length.
    end = state.src.find(closing, begin, begin + LONGEST)
    if end <= begin:
        return False
    line = bisect_left(state.eMarks, end, start_line, end_line)
    if line == end_line or state.src[end + len(closing) : state.eMarks[line]].strip():
        return False
    if any(state.sCount[below] < state.blkIndent for below in range(start_line + 1, line + 1)):
        return False
    content = state.getLines(start_line, line + 1, state.blkIndent, False).strip()[len(opening) : -len(closing)]
    if not silent:
        token = state.push("math_block", "math", 0)
        token.content, token.markup, token.block, token.map = content, opening, True, [start_line, line + 1]
    state.line = line + 1
    return True


def _render(token) -> str:
    mathml = to_mathml(token.content, display=token.markup in DISPLAY)
    if mathml is not None:
        return mathml
    source = html.escape(f"{token.markup}{token.content}{DELIMITERS[token.markup]}")
    return f'<code class="math-source">{source}</code>'


def _render_block(token) -> str:
    # What scrolls sideways by itself must be in reach of the keyboard.
    reachable = ' tabindex="0"' if len(token.content) > WIDE else ""
    return f'<div class="math-scroll"{reachable}>{_render(token)}</div>\n'
