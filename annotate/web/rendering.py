"""The one Markdown renderer of the site: what people and models wrote, made safe to show.

Raw HTML is shown as text, never interpreted; images are never fetched, so that nobody learns who reads what; the result
is sanitised a second time with an allowlist, so that a mistake in the first step stays harmless. A link says where it
leads and opens beside the page, so that nobody leaves a pair by accident.
"""

import re
from functools import lru_cache
from urllib.parse import urlsplit

import nh3
from django.utils.safestring import SafeString
from markdown_it import MarkdownIt
from markdown_it.rules_core import StateCore
from pygments import highlight
from pygments.formatters import HtmlFormatter
from pygments.lexers import get_lexer_by_name
from pygments.util import ClassNotFound

from annotate.web import mathematics

# Stored with each judgment: raise it whenever the same text would look different from before.
RENDERER_VERSION = 3

# A response's own headings begin below the page's (h1 the page, h2 the response).
HEADING_OFFSET = 2
# Characters of a text's code that are highlighted: some lexers are quadratic, and 5,000 of Perl take half a second.
HIGHLIGHT_LIMIT = 5_000

TAGS = {
    "p", "br", "hr", "h3", "h4", "h5", "h6", "strong", "em", "s", "blockquote", "ul", "ol", "li",
    "a", "code", "pre", "span", "div", "table", "thead", "tbody", "tr", "th", "td", *mathematics.ELEMENTS,
}  # fmt: skip
ATTRIBUTES = {
    "a": {"href", "title"},
    "ol": {"start"},
    "div": {"class", "tabindex"},
    "span": {"class"},
    "th": {"class"},
    "td": {"class"},
    "code": {"class"},
    **{element: mathematics.ATTRIBUTES | {"class"} for element in mathematics.ELEMENTS},
}
ALIGNMENTS = {"left", "center", "right"}
CODE_CLASS = re.compile(r"[a-z][a-z0-9]{0,3}\Z")
LAYOUT_CLASSES = {
    "highlight", "table-scroll", "blocked-image", "link-target", "math-scroll", "math-source", "math-boxed",
    *(f"align-{side}" for side in ALIGNMENTS),
}  # fmt: skip
# How many rendered texts a process keeps, and how long one may be to be kept: every text of a pair is asked for by
# several people, and again in their history.
CACHED_TEXTS, CACHED_LENGTH = 2048, 20_000


def _highlighted(code: str, language: str, _attrs: str) -> str:
    """Pygments markup with classes (no inline styles); "" tells markdown-it to escape the plain text itself."""
    if not language:
        return ""
    try:
        lexer = get_lexer_by_name(language)
    except ClassNotFound:
        return ""
    return f'<pre><code>{highlight(code, lexer, HtmlFormatter(nowrap=True))}</code></pre>'


def _render_image(_renderer, tokens, index, _options, _env) -> str:
    """An image becomes a link that says what it is: the browser of a reader never fetches it by itself."""
    token = tokens[index]
    label = nh3.clean_text(token.content or "no description")
    source = str(token.attrGet("src") or "")
    return (
        f'<a href="{nh3.clean_text(source)}"><span class="blocked-image">Image not loaded: {label}</span></a>'
        f"{_target(source)}"
    )


def _target(address: str) -> str:
    """Where a link leads, to be shown behind words that do not say it."""
    try:
        host = urlsplit(address).hostname or address.removeprefix("mailto:")
    except ValueError:
        host = address
    return f' <span class="link-target">({nh3.clean_text(host)})</span>'


def _render_link_close(renderer, tokens, index, options, env) -> str:
    """Behind the words of a link stands its host, unless the words are the address itself."""
    level, words = tokens[index].level, []
    for token in reversed(tokens[:index]):
        if token.type == "link_open" and token.level == level:
            address = str(token.attrGet("href") or "")
            told = "".join(reversed(words)).strip()
            same = told and told.rstrip("/") in {address.rstrip("/"), address.split("//", 1)[-1].rstrip("/")}
            return "</a>" + ("" if same or address == f"mailto:{told}" else _target(address))
        words.append(token.content)
    return "</a>"


def _outline(state: StateCore) -> None:
    """Headings in order: whatever level an author began with or skipped, each is at most one below the one before."""
    above: list[int] = []
    for token in state.tokens:
        if token.type == "heading_open":
            level = int(token.tag[1])
            while above and above[-1] >= level:
                above.pop()
            above.append(level)
        if token.type in {"heading_open", "heading_close"}:
            token.tag = f"h{min(len(above) + HEADING_OFFSET, 6)}"


def _limit_highlighting(state: StateCore) -> None:
    """Takes the language from the blocks of code that go beyond the limit: they are shown as plain code."""
    left = HIGHLIGHT_LIMIT
    for token in state.tokens:
        if token.type == "fence" and token.info:
            left -= len(token.content)
            if left < 0:
                token.info = ""


def _render_cell_open(renderer, tokens, index, options, env) -> str:
    """Column alignment as a class: the content security policy allows no inline style."""
    token = tokens[index]
    style = str(token.attrs.pop("style", ""))
    side = style.removeprefix("text-align:").strip()
    if side in ALIGNMENTS:
        token.attrSet("class", f"align-{side}")
    return renderer.renderToken(tokens, index, options, env)


def _keep_attribute(_tag: str, attribute: str, value: str) -> str | None:
    """Only the classes that we write ourselves: layout classes and Pygments' short ones."""
    if attribute == "class":
        kept = [name for name in value.split() if name in LAYOUT_CLASSES or CODE_CLASS.match(name)]
        return " ".join(kept) or None
    return value


def _build(breaks: bool) -> MarkdownIt:
    markdown = MarkdownIt(
        "commonmark", {"html": False, "linkify": True, "breaks": breaks, "highlight": _highlighted}
    ).enable(["table", "strikethrough", "linkify"]).use(mathematics.mathematics)
    markdown.core.ruler.push("outline", _outline)
    markdown.core.ruler.push("limit_highlighting", _limit_highlighting)
    for name, rule in {
        "image": _render_image,
        "link_close": _render_link_close,
        "th_open": _render_cell_open,
        "td_open": _render_cell_open,
        "table_open": lambda *_: '<div class="table-scroll" tabindex="0"><table>',
        "table_close": lambda *_: "</table></div>",
    }.items():
        markdown.add_render_rule(name, rule)
    return markdown


# In a chat a new line is meant as one; in a document lines are wrapped where the author's editor did.
_CHAT, _DOCUMENT = _build(breaks=True), _build(breaks=False)


def render_markdown(text: str, *, document: bool = False) -> SafeString:
    """`text` as HTML that is safe to put into a page: this is the only place that may say so."""
    return (_cached if len(text) <= CACHED_LENGTH else _render)(text, document)


def _render(text: str, document: bool) -> SafeString:
    html = nh3.clean(
        (_DOCUMENT if document else _CHAT).render(text),
        tags=TAGS,
        attributes=ATTRIBUTES,
        attribute_filter=_keep_attribute,
        url_schemes={"http", "https", "mailto"},
        # A block of code scrolls sideways by itself, so the keyboard must be able to reach it.
        set_tag_attribute_values={"a": {"target": "_blank"}, "pre": {"tabindex": "0"}},
        url_relative="deny",
        link_rel="noopener noreferrer nofollow",
    )
    return SafeString(html)


_cached = lru_cache(CACHED_TEXTS)(_render)
