"""What the starter model reads: conversations about the prompts that are not held out, without end, from a seed."""

import random
from collections import defaultdict
from collections.abc import Iterator

from .answers import STARTER, Mix, draw
from .task import Task
from .tasks import train_tasks


def conversations(seed: int | str, mix: Mix = STARTER) -> Iterator[tuple[list[dict[str, str]], str]]:
    """(messages, answer) without end. Every topic of a family comes up equally often."""
    rng = random.Random(seed)
    topics = defaultdict(list)
    for task in train_tasks():
        topics[task.family if len(task.turns) == 1 else "longer chats", task.topic].append(task)
    groups: list[list[Task]] = list(topics.values())
    while True:
        rng.shuffle(groups)
        for group in groups:
            task = rng.choice(group)
            yield task.messages, draw(task, mix, rng)
