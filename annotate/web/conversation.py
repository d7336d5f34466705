"""How a prompt is laid out: its turns, of which long ones fold, so that the responses are in sight at once."""

from dataclasses import dataclass

from django.utils.translation import gettext_lazy as _

ROLE_NAMES = {"user": _("User"), "assistant": _("Assistant"), "system": _("System")}
# A turn longer than this is folded to its beginning; the last turn, which is the one to answer, has more room.
FOLD_TURN = 600
FOLD_LAST_TURN = 1500
FOLD_LINES = 14
PREVIEW = 240
# Of a long conversation the last turns are open and the earlier ones are one click away.
OPEN_TURNS = 3
LONG_CONVERSATION = 1800


@dataclass(frozen=True)
class Turn:
    """One message; `preview` is its beginning where it is long enough to be folded, and "" otherwise."""

    role: str
    text: str
    preview: str


@dataclass(frozen=True)
class Conversation:
    earlier: list[Turn]
    turns: list[Turn]


def _preview(text: str, limit: int) -> str:
    if len(text) <= limit and text.count("\n") < FOLD_LINES:
        return ""
    beginning = " ".join(text[: PREVIEW * 2].split())[:PREVIEW]
    return beginning.rsplit(" ", 1)[0] + " …"


def conversation(messages: list[dict]) -> Conversation:
    """`messages` (`[{"role", "content"}, …]`) as turns in order; the earlier ones apart where the whole is long."""
    turns = [
        Turn(
            ROLE_NAMES.get(message["role"], message["role"]),
            message["content"],
            _preview(message["content"], FOLD_LAST_TURN if number == len(messages) else FOLD_TURN),
        )
        for number, message in enumerate(messages, 1)
    ]
    if sum(len(turn.text) for turn in turns) > LONG_CONVERSATION and len(turns) > OPEN_TURNS + 1:
        return Conversation(turns[:-OPEN_TURNS], turns[-OPEN_TURNS:])
    return Conversation([], turns)
