"""How the figures of the quality page are written: percentages, coefficients and their intervals."""

from django import template
from django.utils.translation import gettext as _

from annotate.web.numbers import localized

register = template.Library()


@register.filter
def percentage(share: float) -> str:
    """0.526 as "53 %"."""
    return f"{round(100 * share)} %"


@register.filter
def coefficient(value: float) -> str:
    """Two decimals and a real minus sign, never "−0.00"."""
    text = f"{value:.2f}"
    return localized("0.00" if float(text) == 0 else text.replace("-", "−"))


@register.filter
def percentage_interval(bounds: tuple[float, float]) -> str:
    low, high = bounds
    return _("%(low)s to %(high)s") % {"low": round(100 * low), "high": percentage(high)}


@register.filter
def coefficient_interval(bounds: tuple[float, float]) -> str:
    low, high = bounds
    return _("%(low)s to %(high)s") % {"low": coefficient(low), "high": coefficient(high)}


@register.filter
def with_interval(estimate: dict) -> str:
    """A coefficient's estimate in a kept report as "0.42 (0.30 to 0.55)", or "0.42" where there is no interval."""
    value = coefficient(estimate["value"])
    return f"{value} ({coefficient_interval(estimate['interval'])})" if estimate["interval"] else value
