"""The one Markdown renderer of the site: what people and models wrote, made safe to show.

Raw HTML is shown as text, never interpreted; images are never fetched, so that nobody learns who reads what; the result
is sanitised a second time with an allowlist, so that a mistake in the first step stays harmless.
"""

import re

import nh3
from django.utils.safestring import SafeString
from markdown_it import MarkdownIt
from pygments import highlight
from pygments.formatters import HtmlFormatter
from pygments.lexers import get_lexer_by_name
from pygments.util import ClassNotFound

# A response's own headings stand below the page's (h1 the page, h2 the response).
HEADING_OFFSET = 2
# Highlighting is quadratic for some lexers; nobody reads that much code in one block anyway.
HIGHLIGHT_LIMIT = 20_000

TAGS = {
    "p", "br", "hr", "h3", "h4", "h5", "h6", "strong", "em", "s", "blockquote", "ul", "ol", "li",
    "a", "code", "pre", "span", "div", "table", "thead", "tbody", "tr", "th", "td",
}  # fmt: skip
ATTRIBUTES = {
    "a": {"href", "title"},
    "ol": {"start"},
    "div": {"class", "tabindex"},
    "span": {"class"},
    "th": {"class"},
    "td": {"class"},
}
ALIGNMENTS = {"left", "center", "right"}
CODE_CLASS = re.compile(r"[a-z][a-z0-9]{0,3}\Z")
LAYOUT_CLASSES = {"highlight", "table-scroll", "blocked-image", *(f"align-{side}" for side in ALIGNMENTS)}


def _highlighted(code: str, language: str, _attrs: str) -> str:
    """Pygments markup with classes (no inline styles); "" tells markdown-it to escape the plain text itself."""
    if not language or len(code) > HIGHLIGHT_LIMIT:
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
    source = nh3.clean_text(str(token.attrGet("src") or ""))
    return f'<a href="{source}"><span class="blocked-image">Image not loaded: {label}</span></a>'


def _render_heading(renderer, tokens, index, options, env) -> str:
    token = tokens[index]
    token.tag = f"h{min(int(token.tag[1]) + HEADING_OFFSET, 6)}"
    return renderer.renderToken(tokens, index, options, env)


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
    ).enable(["table", "strikethrough", "linkify"])
    for name, rule in {
        "image": _render_image,
        "heading_open": _render_heading,
        "heading_close": _render_heading,
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
