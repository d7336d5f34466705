"""What the demo project starts with. Plain data for whoever loads it; the same on every machine.

    NAME, DESCRIPTION         of the project
    TEAM                      the simulated annotators, `.name` each
    prompts()                 -> list of messages: the pool that policies train on and answer in new rounds
    demonstrations()          -> list of (messages, completion)
    judged_comparisons()      -> list of Judged: messages, response A, response B, judgments by members of TEAM
    open_comparisons()        -> list of (messages, response A, response B) for the newcomer to judge
    heldout_prompts()         -> list of messages that none of the above contains

Messages are [{"role", "content"}, …]; a judgment's rating is 1–4 with A first. No prompt is in two of the comparisons.
"""

import random
from dataclasses import dataclass

from .annotators import TEAM, Judgment
from .answers import DEMONSTRATIONS, STARTER, draw
from .task import Task
from .tasks import heldout_tasks, train_tasks

__all__ = [
    "DESCRIPTION", "NAME", "TEAM", "Judged", "demonstrations", "heldout_prompts", "judged_comparisons",
    "open_comparisons", "prompts",
]  # fmt: skip

NAME = "Everyday questions"
DESCRIPTION = (
    "Short questions of everyday life: facts, small sums, lists, rewriting, advice, and a few requests that should be "
    "declined. Which answer would you rather get?"
)

Messages = list[dict[str, str]]


@dataclass(frozen=True)
class Judged:
    messages: Messages
    a: str
    b: str
    judgments: list[Judgment]


def prompts(count: int = 400) -> list[Messages]:
    return [task.messages for task in _spread("pool", train_tasks(), count)]


def heldout_prompts(count: int = 200) -> list[Messages]:
    return [task.messages for task in _spread("held out", heldout_tasks(), count)]


def demonstrations(count: int = 600) -> list[tuple[Messages, str]]:
    """Answers as people write them: most are good, some ramble, err or are curt."""
    rng = random.Random("demonstrations")
    tasks = _spread("demonstrations", train_tasks(), count)
    return [(task.messages, draw(task, DEMONSTRATIONS, rng)) for task in tasks]


def judged_comparisons(count: int = 480) -> list[Judged]:
    """Every fourth pair is judged by three people, the others by one."""
    rng = random.Random("judgments")
    judged = []
    for place, task in enumerate(_comparison_tasks()[:count]):
        a, b = _two_responses(task, rng)
        people = rng.sample(TEAM, 3 if place % 4 == 0 else 1)
        judged.append(Judged(task.messages, a, b, [one.judge(task.messages, a, b, rng) for one in people]))
    return judged


def open_comparisons(count: int = 40) -> list[tuple[Messages, str, str]]:
    """Pairs nobody has judged. The first ones show what the page can do: lists, code, a chat of several turns."""
    rng = random.Random("open")
    tasks = _comparison_tasks()[-200:]
    first = {family: place for place, family in enumerate(("how-to", "unkind requests", "doubts", "python", "lists"))}
    tasks = sorted(tasks, key=lambda task: first.pop(task.family, len(first) + 5))[:count]
    return [(task.messages, *_two_responses(task, rng)) for task in tasks]


def _comparison_tasks() -> list[Task]:
    return _spread("comparisons", train_tasks(), 1000)


def _two_responses(task: Task, rng: random.Random) -> tuple[str, str]:
    """Two different answers of any quality, one of them more likely decent."""
    one = draw(task, rng.choice((STARTER, DEMONSTRATIONS)), rng)
    while True:
        other = draw(task, STARTER, rng)
        if other != one:
            return (one, other) if rng.random() < 0.5 else (other, one)


def _spread(name: str, tasks: list[Task], count: int) -> list[Task]:
    """`count` different tasks in an order drawn by `name`, topic by topic, so that all of the world is met early."""
    rng = random.Random(name)
    by_topic: dict[tuple[str, str], list[Task]] = {}
    for task in rng.sample(tasks, len(tasks)):
        by_topic.setdefault((task.family, task.topic), []).append(task)
    groups = list(by_topic.values())
    spread: list[Task] = []
    while len(spread) < count and groups:
        rng.shuffle(groups)
        spread += [group.pop() for group in groups]
        groups = [group for group in groups if group]
    return spread[:count]
