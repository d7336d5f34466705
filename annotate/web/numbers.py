"""Numbers and times as the reader's language writes them: 1,234.5 is 1.234,5 in German. For texts, never attributes."""

import json

from django.utils.formats import get_format
from django.utils.translation import gettext as _


def localized(text: str) -> str:
    """A number that Python wrote, such as f"{x:,.2f}", with the separators of the language in force."""
    separators = {",": get_format("THOUSAND_SEPARATOR"), ".": get_format("DECIMAL_SEPARATOR")}
    return text.translate(str.maketrans(separators))


def figure(value) -> str:
    """A number for a table: four significant digits, thousands set apart, never 1e-05 where 0.00001 is readable.

    Of lists (sources of reward) the JSON that the API takes.
    """
    if isinstance(value, list | dict):
        return json.dumps(value, ensure_ascii=False)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return str(value)
    if isinstance(value, int):
        return localized(f"{value:,}")
    if value != 0 and abs(value) < 1e-3:
        return localized(f"{value:.2e}")
    return localized(f"{value:,.4g}" if abs(value) < 10_000 else f"{value:,.0f}")


def duration(seconds) -> str:
    """Seconds as a person says them: "40 s", "3 min 20 s", "2 h 5 min"."""
    if seconds is None:
        return ""
    seconds = max(0, round(seconds))
    if seconds < 60:
        return _("%(seconds)s s") % {"seconds": seconds}
    minutes, seconds = divmod(seconds, 60)
    if minutes < 60:
        if seconds and minutes < 10:
            return _("%(minutes)s min %(seconds)s s") % {"minutes": minutes, "seconds": seconds}
        return _("%(minutes)s min") % {"minutes": minutes}
    hours, minutes = divmod(minutes, 60)
    if minutes:
        return _("%(hours)s h %(minutes)s min") % {"hours": hours, "minutes": minutes}
    return _("%(hours)s h") % {"hours": hours}
