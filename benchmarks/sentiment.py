"""The gold scorer of the sentiment task: naive Bayes over words and pairs of words of 10,662 film-review snippets.

Closed-form and quick, and right about more held-out snippets than a small neural classifier taught on so few: Wang and
Manning (2012) report 79 % on this corpus. A plain function, so that both sides of a benchmark call the same code.
"""

import functools
import gzip
import json
import math
import random
from collections import Counter
from itertools import pairwise
from pathlib import Path

POLARITY = Path(__file__).resolve().parents[2] / "shared" / "data" / "sentence_polarity.jsonl.gz"
HELD_OUT = 0.1
FEWEST_WORDS = 10


def snippets() -> list[dict]:
    """{"words", "label"} of all of them, 1 for a favourable one, in an order of their own."""
    with gzip.open(POLARITY, "rt", encoding="utf-8") as file:
        rows = [json.loads(line) for line in file]
    rows = [{"words": row["text"].split(), "label": row["label"]} for row in rows]
    random.Random(0).shuffle(rows)
    return rows


def gold(messages: list[dict], completion: str, reference: dict) -> float:
    """How favourable a completion is: 0 where nothing tells. A reward function of the trainer (docs/formats.md)."""
    return score(completion.split())


def score(words: list[str]) -> float:
    """Log-odds a word that it is from a favourable snippet, less in texts that are too short to be one.

    Their sum would be the classifier's, and would make the longest text the best one.
    """
    ratios = _log_ratios()
    return sum(ratios.get(feature, 0.0) for feature in _features(words)) / max(len(words), FEWEST_WORDS)


def accuracy() -> float:
    """Share of the held-out snippets on whose side of 0 the score is."""
    rows = _split()[1]
    return sum((score(row["words"]) > 0) == row["label"] for row in rows) / len(rows)


@functools.cache
def _log_ratios() -> dict[str, float]:
    """Per feature log P(feature | favourable) − log P(feature | not), each count one more than it is."""
    counts = Counter(), Counter()
    for row in _split()[0]:
        counts[row["label"]].update(set(_features(row["words"])))
    every = set().union(*counts)
    bad, good = ({feature: of[feature] + 1 for feature in every} for of in counts)
    offset = math.log(sum(bad.values()) / sum(good.values()))
    return {feature: math.log(good[feature] / bad[feature]) + offset for feature in every}


@functools.cache
def _split() -> tuple[list[dict], list[dict]]:
    rows = snippets()
    held_out = int(HELD_OUT * len(rows))
    return rows[held_out:], rows[:held_out]


def _features(words: list[str]) -> list[str]:
    return [*words, *(f"{first} {second}" for first, second in pairwise(words))]
