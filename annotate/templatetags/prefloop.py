"""Small template helpers: icons, rendered Markdown, chat turns, and durations in words."""

import json

from django import template
from django.templatetags.static import static
from django.utils.html import format_html
from django.utils.translation import gettext_lazy as _

from annotate.runs import selectors
from annotate.runs.recipes import RECIPES
from annotate.web import rendering

register = template.Library()


@register.simple_tag
def icon(name: str):
    """An icon of static/icons.svg; decoration only, so the words beside it must say it all."""
    return format_html(
        '<svg class="icon" aria-hidden="true" focusable="false"><use href="{}#{}"/></svg>', static("icons.svg"), name
    )


@register.filter
def markdown(text: str):
    """A prompt, a response, a note of a chat."""
    return rendering.render_markdown(text)


@register.filter
def markdown_document(text: str):
    """Guidelines: lines of one paragraph flow together."""
    return rendering.render_markdown(text, document=True)


@register.filter
def state_in_words(run) -> str:
    return selectors.state_in_words(run)


@register.filter
def recipe_title(name: str) -> str:
    return RECIPES[name].title if name in RECIPES else name


@register.filter
def duration(seconds) -> str:
    """Seconds as a person says them: "40 s", "3 min 20 s", "2 h 5 min"."""
    if seconds is None:
        return ""
    seconds = max(0, round(seconds))
    if seconds < 60:
        return f"{seconds} s"
    minutes, seconds = divmod(seconds, 60)
    if minutes < 60:
        return f"{minutes} min {seconds} s" if seconds and minutes < 10 else f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if minutes else f"{hours} h"


@register.filter
def figure(value) -> str:
    """A number for a table: four significant digits, thousands set apart, never 1e-05 where 0.00001 is readable.

    Of lists (sources of reward) the JSON that the API takes.
    """
    if isinstance(value, list | dict):
        return json.dumps(value, ensure_ascii=False)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return str(value)
    if isinstance(value, int):
        return f"{value:,}"
    if value != 0 and abs(value) < 1e-3:
        return f"{value:.2e}"
    return f"{value:,.4g}" if abs(value) < 10_000 else f"{value:,.0f}"


FACTS = {
    "judgments": _("judgments"),
    "ties": _("ties"),
    "ties_kept": _("ties are rows"),
    "adjudicated": _("adjudicated"),
    "both_bad": _("judgments say that both are bad"),
    "comparisons_both_bad": _("comparisons left out, because both are bad"),
    "changed_later": _("judgments in a later version than the first"),
    "edited": _("improved answers"),
}


@register.filter
def fact(name: str, value) -> str:
    """A fact of a dataset in words: what it counts and how many, or what holds where it is no number."""
    words = FACTS.get(name, name)
    return str(words) if value is True else f"{figure(value)} {words}"
