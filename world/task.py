"""A task: a chat that waits for an answer, with right and wrong answers and a check of any other."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from .checks import Check

# How people wrap a question. Every single-turn question appears in each.
COURTESIES = ("{}", "Hi! {}", "{} Thanks!", "Quick question: {}")


@dataclass(frozen=True)
class Task:
    """A chat that ends with a user's turn. `right` and `wrong` are whole, well-made answers; `terse` is a bare one."""

    family: str
    topic: str
    turns: tuple[tuple[str, str], ...]
    right: tuple[str, ...]
    wrong: tuple[str, ...]
    check: Check
    terse: str | None = None
    terse_wrong: tuple[str, ...] = ()

    @property
    def messages(self) -> list[dict[str, str]]:
        return [{"role": role, "content": content} for role, content in self.turns]

    @property
    def question(self) -> str:
        return self.turns[-1][1]


def ask(
    family: str, topic: str, questions: Iterable[str], right: Iterable[str], wrong: Iterable[str], check: Check, **more
) -> Iterator[Task]:
    """Single-turn tasks: each question in each courtesy."""
    right, wrong = tuple(right), tuple(wrong)
    for question in questions:
        for courtesy in COURTESIES:
            yield Task(family, topic, (("user", courtesy.format(question)),), right, wrong, check, **more)


def sentence(text: str) -> str:
    """The text with a capital letter and a full stop."""
    return f"{text[0].upper()}{text[1:]}."
