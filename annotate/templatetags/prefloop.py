"""Small template helpers: icons, rendered Markdown, chat turns, and durations in words."""

from django import template
from django.template.defaultfilters import date
from django.templatetags.static import static
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from annotate.runs import selectors
from annotate.runs.recipes import RECIPES
from annotate.web import numbers, rendering

register = template.Library()


@register.simple_tag
def icon(name: str):
    """An icon of static/icons.svg; decoration only, so the words beside it must say it all."""
    return format_html(
        '<svg class="icon" aria-hidden="true" focusable="false"><use href="{}#{}"/></svg>', static("icons.svg"), name
    )


# What `include_kept` keeps: a page has a few parts, in each language and with each person's own keys.
_KEPT_PARTS = 500
_kept: dict[tuple[str, str], SafeString] = {}


@register.simple_tag(takes_context=True)
def include_kept(context, name: str, same: str):
    """As `include`, of a part that is drawn once and kept for whoever has the same `same`; "" keeps nothing."""
    if not same:
        return context.template.engine.get_template(name).render(context)
    part = _kept.get((name, same))
    if part is None:
        if len(_kept) >= _KEPT_PARTS:
            _kept.clear()
        part = _kept[name, same] = context.template.engine.get_template(name).render(context)
    return part


@register.filter
def markdown(text: str):
    """A prompt, a response, a note of a chat."""
    return rendering.render_markdown(text)


@register.filter
def markdown_document(text: str):
    """Guidelines: lines of one paragraph flow together."""
    return rendering.render_markdown(text, document=True)


@register.filter
def moment(when, form: str):
    """A point in time in `form`, said to be UTC; page.js makes it the reader's own time."""
    return format_html('<time datetime="{}">{} UTC</time>', when.isoformat(), date(when, form)) if when else ""


@register.filter
def name_in_words(run) -> str:
    return selectors.name_in_words(run)


@register.filter
def state_in_words(run) -> str:
    return selectors.state_in_words(run)


@register.filter
def recipe_title(name: str) -> str:
    return RECIPES[name].title if name in RECIPES else name


@register.filter
def translated(text: str) -> str:
    """A text that was kept in English, marked with gettext_noop where it was written."""
    return gettext(text) if text else ""


@register.filter
def fields_with_errors(form) -> list:
    """What is named on top of a form that was refused: the field itself may be far below."""
    return [field for field in form.visible_fields() if field.errors]


register.filter(numbers.duration)
register.filter(numbers.figure)


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
    return str(words) if value is True else f"{numbers.figure(value)} {words}"
