"""The keys in force for the person who reads the page: as hints, as a list, and for the script."""

import json

from django import template
from django.utils.html import format_html

from annotate.web import keys

register = template.Library()


def _user(context):
    return context.get("user")


@register.simple_tag(takes_context=True)
def key_hint(context, *action):
    """`{% key_hint "skip" %}`, `{% key_hint "rate" 1 %}`: the key, for the eye only; nothing where it is turned off."""
    key = keys.keys_of(_user(context))["_".join(str(part) for part in action)]
    return format_html('<kbd class="hint" aria-hidden="true">{}</kbd>', keys.shown(key)) if key else ""


@register.simple_tag(takes_context=True)
def keys_json(context) -> str:
    """{action id: key} as JSON, for a data attribute."""
    return json.dumps(keys.keys_of(_user(context)), ensure_ascii=False)


@register.simple_tag(takes_context=True)
def key_list(context) -> list[tuple[keys.Action, str]]:
    """Every action with the key in force as it is shown, "" where there is none."""
    in_force = keys.keys_of(_user(context))
    return [(action, keys.shown(in_force[action.id])) for action in keys.ACTIONS]
