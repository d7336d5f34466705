"""The Markdown renderer: what it shows, and what it refuses."""

import re
import time

import pytest

from annotate.web.mathematics import ATTRIBUTES
from annotate.web.rendering import CACHED_LENGTH, HIGHLIGHT_LIMIT, _cached, render_markdown

ATTACKS = [
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "<svg/onload=alert(1)>",
    "<iframe src=//evil.example></iframe>",
    "<style>*{display:none}</style>",
    "<form action=//evil.example><input name=password></form>",
    '<a href="javascript:alert(1)">x</a>',
    "[x](javascript:alert(1))",
    "[x](JaVaScRiPt:alert(1))",
    "[x](java\tscript:alert(1))",
    "[x](data:text/html;base64,PHNjcmlwdD4=)",
    "[x](vbscript:x)",
    "[x](//evil.example)",
    "[x](/logout/)",
    "<javascript:alert(1)>",
    "![x](javascript:alert(1))",
    "![x](http://evil.example/p.png)",
    '![x" onerror="alert(1)](http://evil.example/p.png "t\\" onload=\\"x")',
    '[x](http://a.example "t\\" onmouseover=\\"alert(1)")',
    "```\"><script>alert(1)</script>\nx\n```",
    '```python" onclick="alert(1)\nx = "</code><script>alert(1)</script>"\n```',
    "`<script>alert(1)</script>`",
    "| <script>alert(1)</script> |\n|---|\n| <img src=x> |",
    "&lt;script&gt;alert(1)&lt;/script&gt;",
    "[x][y]\n\n[y]: javascript:alert(1)",
    "<details open ontoggle=alert(1)>",
    "<div style='position:fixed;inset:0'>",
    "<input autofocus onfocus=alert(1)>",
    "<!-- --><script>alert(1)</script>",
    "\x00<scr\x00ipt>alert(1)</script>",
    r"$\text{<script>alert(1)</script>}$",
    r"$\text{<img src=x onerror=alert(1)>}$",
    r"$\href{javascript:alert(1)}{x}$",
    r"$$\text{</mtext></math><script>alert(1)</script>}$$",
    r"$\style{background:url(//evil.example)}{x}$",
    r"$\class{evil\" onclick=\"alert(1)}{x}$",
    r"$\color{red\" onclick=\"alert(1)}{x}$",
    r"\[\text{<style><!--</style><img src=x onerror=alert(1)>}\]",
    r"\(\mathord{<annotation-xml encoding='text/html'><script>alert(1)</script>}\)",
    "[x](http://[evil/)",
    "[![x](http://evil.example/p.png)](javascript:alert(1))",
]
ALLOWED = re.compile(
    r"</?(p|br|hr|h[3-6]|strong|em|s|blockquote|ul|ol|li|a|code|pre|span|div|table|thead|tbody|tr|th|td|math|m[a-z]+)\b[^<>]*>"
)
ALLOWED_ATTRIBUTES = {"href", "title", "target", "rel", "class", "tabindex", "start"} | ATTRIBUTES


@pytest.mark.parametrize("text", ATTACKS)
@pytest.mark.parametrize("document", [False, True])
def test_nothing_that_acts_comes_through(text, document):
    html = render_markdown(text, document=document)
    for tag in re.findall(r"<[^>]*>", html):
        assert ALLOWED.fullmatch(tag), tag
        assert set(re.findall(r'\s([a-z-]+)="', tag)) <= ALLOWED_ATTRIBUTES
        for address in re.findall(r'href="([^"]*)"', tag):
            assert address.startswith(("http://", "https://", "mailto:"))
        assert not re.search(r"\son[a-z]+=|style=|src=", re.sub(r'"[^"]*"', '""', tag))


def test_raw_html_is_shown_as_it_was_written():
    assert render_markdown("<b>bold</b>") == "<p>&lt;b&gt;bold&lt;/b&gt;</p>\n"


def test_an_image_is_never_fetched_but_named():
    html = render_markdown("![a chart](https://example.org/c.png)")
    assert "<img" not in html
    assert "Image not loaded: a chart" in html
    assert 'href="https://example.org/c.png"' in html


def test_links_leave_without_a_trace():
    for text in ("[x](https://example.org)", "https://example.org", "<https://example.org>"):
        assert 'href="https://example.org" target="_blank" rel="noopener noreferrer nofollow"' in render_markdown(text)


def test_headings_stand_below_those_of_the_page_and_skip_no_level():
    html = render_markdown("## One\n\n##### Two\n\n##### Two again\n\n# Three\n\n## Four")
    assert re.findall(r"<h(\d)>", html) == ["3", "4", "4", "3", "4"]
    assert "<h6>deep</h6>" in render_markdown("# 1\n# 1\n## 2\n### 3\n#### 4\n##### 5\n###### deep")


def test_code_is_coloured_by_classes_only():
    html = render_markdown("```python\ndef f():\n    return '<b>'\n```")
    assert '<span class="k">def</span>' in html
    assert "&lt;b&gt;" in html
    assert "style" not in html


@pytest.mark.parametrize("text", ["```nosuchlanguage\n1 < 2\n```", "```\n1 < 2\n```", "    1 < 2"])
def test_code_of_unknown_languages_stays_plain(text):
    assert render_markdown(text) == '<pre tabindex="0"><code>1 &lt; 2\n</code></pre>\n'


def test_very_long_code_is_not_coloured():
    html = render_markdown("```python\n" + "x = 1\n" * HIGHLIGHT_LIMIT + "```")
    assert "<span" not in html
    assert html.count("x = 1") == HIGHLIGHT_LIMIT


def test_only_so_much_code_of_a_text_is_coloured():
    block = "```python\n" + "x = 1\n" * (HIGHLIGHT_LIMIT // 2 // 6) + "```\n"
    first, second, third = render_markdown(block * 3).split("</pre>")[:3]
    assert "<span" in first and "<span" in second and "<span" not in third
    assert third.count("x = 1") == HIGHLIGHT_LIMIT // 2 // 6


def test_tables_align_by_class_and_scroll_by_themselves():
    html = render_markdown("| a | b |\n|:-:|--:|\n| 1 | 2 |")
    assert html.startswith('<div class="table-scroll" tabindex="0"><table>')
    assert '<th class="align-center">a</th>' in html
    assert '<td class="align-right">2</td>' in html


def test_a_new_line_is_kept_in_a_chat_and_flows_in_a_document():
    assert render_markdown("one\ntwo") == "<p>one<br>\ntwo</p>\n"
    assert render_markdown("one\ntwo", document=True) == "<p>one\ntwo</p>\n"


def test_a_link_says_where_it_leads_unless_its_words_do():
    html = render_markdown("[the bank](https://evil.example/a)")
    assert 'the bank</a> <span class="link-target">(evil.example)</span>' in html
    assert "(evil.example)" in render_markdown("[https://bank.example](https://evil.example)")
    for text in ("https://a.example/a", "<https://a.example/a>", "[a.example/a](https://a.example/a)", "a.example"):
        assert "link-target" not in render_markdown(text)
    assert "(img.example)" in render_markdown("![a chart](https://img.example/c.png)")


@pytest.mark.parametrize(
    ("text", "display"),
    [("so $x^2$.", "inline"), (r"so \(x^2\).", "inline"), ("so $$x^2$$.", "block"), (r"\[x^2\]", "block"),
     ("$$\nx^2\n$$", "block"), ("- one\n- $$\n  x^2\n  $$", "block"), ("> \\[ x^2\n> \\]", "block")],
)  # fmt: skip
def test_formulas_become_mathml(text, display):
    html = render_markdown(text)
    assert f'<math display="{display}"><mrow><msup><mi>x</mi><mn>2</mn></msup></mrow></math>' in html
    assert "$" not in html


def test_a_line_within_a_formula_begins_no_list():
    html = render_markdown("\\[\na\n+ b\n- c\n= d\n\\]")
    assert "<ul>" not in html
    assert html.count("<mi>") == 4


@pytest.mark.parametrize(
    "text",
    ["costs $5 and $7", "US$5 and CA$7", "from $5-$7", "$HOME/$USER", "$5 or maybe 7$", "a $ b $ c", "$$", "100$",
     "`$x$`", r"\$5 and \$6", "pay $3.50/$4.20 today"],
)  # fmt: skip
def test_dollars_in_prose_are_left_alone(text):
    html = render_markdown(text)
    assert "<math" not in html
    assert "math-source" not in html
    assert html.count("$") == text.count("$")


@pytest.mark.parametrize("source", [r"\frac{1}", r"\nosuchcommand{x}", r"x^2^3", r"\left( x", "{", "^_"])
def test_broken_latex_shows_its_source(source):
    assert render_markdown(f"$${source}$$") == (
        f'<div class="math-scroll"><code class="math-source">$${source}$$</code></div>\n'
    )


@pytest.mark.parametrize(
    "text", ["$" * 50_000, "\\(" * 25_000, "$$\na\n" * 5000, "$" + "{" * 3900 + "$", "$a" * 20_000]
)
def test_no_text_takes_long(text):
    begin = time.process_time()
    render_markdown(text)
    assert time.process_time() - begin < 20


def test_what_was_rendered_is_kept_but_not_what_is_huge():
    _cached.cache_clear()
    for _ in range(3):
        render_markdown("kept")
        render_markdown("x" * (CACHED_LENGTH + 1))
    assert (_cached.cache_info().hits, _cached.cache_info().currsize) == (2, 1)
    assert render_markdown("one\ntwo") != render_markdown("one\ntwo", document=True)
