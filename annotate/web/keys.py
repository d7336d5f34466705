"""The keys of the labeling page: one table of its actions, and each person's own choice of keys.

To add an action: one line in ACTIONS; a listener in JavaScript, which static/js/keys.js calls when the key is pressed:

    document.addEventListener("action", (event) => {
      if (event.detail.name !== "skip") return;
      event.preventDefault(); // says that the key was used; event.detail.target is where it was pressed
      …
    });

and `{% key_hint "skip" %}` (or `{% key_hint "rate" value %}` for `rate_1` …) in the template beside what it does.
The settings page, the help overlay and the conflict check read the same table. Escape and Ctrl+Enter are fixed.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from annotate.errors import UserError
from annotate.models import User


@dataclass(frozen=True)
class Action:
    """`default` is a key as the browser names it (`KeyboardEvent.key`), letters in lower case; "" is no key."""

    id: str
    default: str
    label: str | Promise


ACTIONS = [
    Action("rate_1", "1", gettext_lazy("A is better")),
    Action("rate_2", "2", gettext_lazy("A is slightly better")),
    Action("rate_3", "3", gettext_lazy("B is slightly better")),
    Action("rate_4", "4", gettext_lazy("B is better")),
    Action("rate_0", "e", gettext_lazy("Equal, where the project allows it")),
    Action("rate_5", "b", gettext_lazy("Both are bad, where the project allows it")),
    Action("helpful", "h", gettext_lazy("Helpful: A, equal, B, nothing in turn")),
    Action("truthful", "t", gettext_lazy("Truthful: A, equal, B, nothing in turn")),
    Action("harmless", "m", gettext_lazy("Harmless: A, equal, B, nothing in turn")),
    Action("confidence", "c", gettext_lazy("How sure: one step on")),
    Action("further", "f", gettext_lazy("What is asked about each response")),
    Action("improve", "i", gettext_lazy("Improve the better answer")),
    Action("next_response", "j", gettext_lazy("Next response of a ranking")),
    Action("previous_response", "k", gettext_lazy("Previous response of a ranking")),
    Action("submit", "Enter", gettext_lazy("Submit")),
    Action("undo", "u", gettext_lazy("Undo: change the last judgment")),
    Action("skip", "s", gettext_lazy("Skip this pair")),
    Action("note", "n", gettext_lazy("Write a note")),
    Action("guidelines", "g", gettext_lazy("Open or close the guidelines")),
    Action("diff", "d", gettext_lazy("Mark the words that differ")),
    Action("link_scroll", "l", gettext_lazy("Scroll the responses together or apart")),
    Action("help", "?", gettext_lazy("Show all keys")),
]
DEFAULTS = {action.id: action.default for action in ACTIONS}
# Keys with a name instead of a character that may be chosen, with what the page shows for them.
NAMED_KEYS = {"Enter": "↵"}


def keys_of(user) -> dict[str, str]:
    """Action id -> the key in force for `user`. What they chose wins over a default that came later."""
    chosen = {name: key for name, key in getattr(user, "keys", {}).items() if name in DEFAULTS}
    taken = set(chosen.values())
    return {name: chosen.get(name, "" if default in taken else default) for name, default in DEFAULTS.items()}


def change_keys(user: User, keys: Mapping[str, str]) -> None:
    """Stores the keys of `user`, those of all actions; "" turns an action's key off. Only what differs is kept.

    Raises UserError (with the action's id as `field`) for an unknown key or one that two actions share; then nothing
    is stored.
    """
    wanted = {action.id: _normal(action, keys.get(action.id, action.default)) for action in ACTIONS}
    owners: dict[str, Action] = {}
    before = keys_of(user)
    # Keys that stay have the older right: the one that was just chosen has to give way.
    for action in sorted(ACTIONS, key=lambda action: wanted[action.id] != before[action.id]):
        key = wanted[action.id]
        if key and key in owners:
            raise UserError(
                _("“%(key)s” is the key of “%(one)s” already: choose another one for “%(other)s”.")
                % {"key": shown(key), "one": owners[key].label, "other": action.label},
                field=action.id,
            )
        owners[key] = action
    user.keys = {name: key for name, key in wanted.items() if key != DEFAULTS[name]}
    user.save(update_fields=["keys"])


def reset_keys(user: User) -> None:
    """All actions have their default keys again."""
    user.keys = {}
    user.save(update_fields=["keys"])


def shown(key: str) -> str:
    """A key as a hint shows it: "s" is S, "Enter" is ↵."""
    return NAMED_KEYS.get(key, key.upper())


def _normal(action: Action, key: str) -> str:
    key = key.strip()
    for name in NAMED_KEYS:
        if key.lower() == name.lower() or key == NAMED_KEYS[name]:
            return name
    if len(key) > 1 or (key and not key.isprintable()):
        raise UserError(
            _("“%(key)s” cannot be the key of “%(action)s”: choose one character, or Enter.")
            % {"key": key[:20], "action": action.label},
            field=action.id,
        )
    return key.lower()
