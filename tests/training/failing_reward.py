"""A reward function that gives nothing for the prompts that the second of two processes scores in the first step."""

import random

ROWS, SEED = 21, 0
_ORDER = list(range(ROWS))
random.Random(f"{SEED}/0").shuffle(_ORDER)
SECOND_PROCESS = (_ORDER[1], _ORDER[3])


def fails_there(messages, completion, reference) -> float:
    """Of prompts whose last word is the number of their row."""
    return float("nan") if int(messages[-1]["content"].split()[-1]) in SECOND_PROCESS else float(len(completion))
