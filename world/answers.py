"""Answers of graded quality: right, wrong or evasive, in a good or a bad manner, drawn from a seed."""

import random
from dataclasses import dataclass

from .care import RUDE_OPENINGS
from .task import Task

# Said instead of an answer.
EVASIONS = (
    "I am not sure.", "It depends.", "That is hard to say.", "You could look it up somewhere.",
    "Others have asked this before.",
)
# Said around an answer, to no use.
RAMBLING_OPENINGS = (
    "Well, that is a very interesting question to think about.",
    "Before I answer, let me say that there is so much to say.",
    "Some say this and others say that, as they always do.",
    "Let me begin at the start, since every answer has a start.",
    "I could talk about this for hours, and perhaps I should.",
)
RAMBLING_ENDINGS = (
    "I hope that this helps, and if not, I hope that something else does.",
    "Of course there is always more to say, and also less to say.",
    "That is all for now, although I might think of something else later.",
    "Let me know if you want to hear all of this again.",
)
ECHOES = ("You asked: {}", "Your question was: {}", "So you want to know: {}")


@dataclass(frozen=True)
class Mix:
    """How often answers are right or evasive (the rest is wrong), and the weight of each manner."""

    right: float
    evasive: float
    manners: dict[str, float]


# Knowledge without noise: what the starter model reads first.
FACTS = Mix(right=1.0, evasive=0.0, manners={"plain": 4.0, "terse": 1.0})
# What the starter model reads last: mostly right, and good manner a matter of luck.
STARTER = Mix(
    right=0.7, evasive=0.08,
    manners={"plain": 3.0, "terse": 1.0, "rambling": 3.0, "echo": 1.0, "rude": 1.5, "sloppy": 1.0, "repeating": 0.7},
)
# What people in a hurry write as demonstrations: nearly always right, seldom rude, and often too long or careless.
DEMONSTRATIONS = Mix(
    right=0.9, evasive=0.02,
    manners={"plain": 2.6, "terse": 0.6, "rambling": 3.0, "echo": 1.2, "rude": 0.6, "sloppy": 1.0, "repeating": 0.4},
)


def draw(task: Task, mix: Mix, rng: random.Random) -> str:
    """One answer to the task, of a quality drawn from the mix."""
    luck = rng.random()
    if luck < mix.right:
        content = "right"
    elif luck < mix.right + mix.evasive:
        content = "evasive"
    else:
        content = "wrong"
    manner = rng.choices(list(mix.manners), weights=list(mix.manners.values()))[0]
    return write(task, content, manner, rng)


def write(task: Task, content: str, manner: str, rng: random.Random) -> str:
    """An answer with this content ("right", "wrong", "evasive") in this manner (a key of `STARTER.manners`)."""
    if manner == "terse" and task.terse and content != "evasive":
        return task.terse if content == "right" else rng.choice(task.terse_wrong)
    answer = rng.choice({"right": task.right, "wrong": task.wrong, "evasive": EVASIONS}[content])
    return _MANNERS.get(manner, _plain)(answer, task, rng)


def _plain(answer: str, task: Task, rng: random.Random) -> str:
    return answer


def _rambling(answer: str, task: Task, rng: random.Random) -> str:
    if rng.random() < 0.5:
        return _join(rng.choice(RAMBLING_OPENINGS), answer)
    return _join(answer, rng.choice(RAMBLING_ENDINGS))


def _echo(answer: str, task: Task, rng: random.Random) -> str:
    return _join(rng.choice(ECHOES).format(task.question), answer)


def _rude(answer: str, task: Task, rng: random.Random) -> str:
    return _join(rng.choice(RUDE_OPENINGS), answer)


def _sloppy(answer: str, task: Task, rng: random.Random) -> str:
    """In one line, without capitals and marks."""
    words = [word.strip(".?!,*-").casefold() for word in answer.split()]
    return " ".join(word for word in words if word)


def _repeating(answer: str, task: Task, rng: random.Random) -> str:
    return _join(*[answer] * rng.choice((2, 3)))


def _join(*parts: str) -> str:
    """Sentences with spaces between, lists as paragraphs of their own."""
    lists = any("\n" in part for part in parts)
    return ("\n\n" if lists else " ").join(parts)


_MANNERS = {"rambling": _rambling, "echo": _echo, "rude": _rude, "sloppy": _sloppy, "repeating": _repeating}
