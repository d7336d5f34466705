"""Every task of the demo world, once; which of them are held out; and the way back from messages to their task."""

import hashlib
import json
from functools import cache

from . import conduct, exercises, lookups
from .task import Task

FAMILIES = (
    lookups.single_questions, lookups.one_word_answers, lookups.follow_ups, lookups.doubts,
    exercises.sums, exercises.sizes, exercises.lists, exercises.how_to,
    exercises.polite, exercises.past_tense, exercises.spelling,
    conduct.false_premises, conduct.unkind_requests, conduct.worries,
)


@cache
def all_tasks() -> tuple[Task, ...]:
    """Every task in a fixed order. No two have the same messages."""
    return tuple(_by_key().values())


def train_tasks() -> list[Task]:
    return [task for task in all_tasks() if not is_heldout(task)]


def heldout_tasks() -> list[Task]:
    return [task for task in all_tasks() if is_heldout(task)]


def is_heldout(task: Task) -> bool:
    """One prompt in ten is never trained on. What it asks about is asked in other words elsewhere."""
    return int(_key(task.messages)[:8], 16) % 10 == 0


def find(messages: list[dict[str, str]]) -> Task:
    """The task that asks these messages. Raises KeyError for a chat from outside the world."""
    return _by_key()[_key(messages)]


@cache
def _by_key() -> dict[str, Task]:
    tasks: dict[str, Task] = {}
    for family in FAMILIES:
        for task in family():
            tasks.setdefault(_key(task.messages), task)
    return tasks


def _key(messages: list[dict[str, str]]) -> str:
    turns = [[message["role"], message["content"]] for message in messages]
    return hashlib.sha256(json.dumps(turns, ensure_ascii=False).encode()).hexdigest()
