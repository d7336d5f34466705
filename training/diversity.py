"""How different completions are from each other: the signs of a policy that has come to say one thing only."""

from collections import Counter
from collections.abc import Sequence


def distinct_n(completions: Sequence[Sequence[int]], n: int) -> float:
    """Different n-grams of all completions over all of their n-grams, 0 to 1. Li et al. 2016, distinct-1 and -2.

    1 where no completion is as long as n tokens.
    """
    grams = [gram for ids in completions for gram in _grams(ids, n)]
    return len(set(grams)) / len(grams) if grams else 1.0


def self_similarity(completions: Sequence[Sequence[int]], group: int) -> float:
    """How much the completions of one prompt share, 0 to 1: the mean over neighbours of Dice's overlap of bigrams.

    `completions` holds `group` of each prompt, one prompt after the other. 1 means that each prompt always gets the
    same answer; a group of one has no neighbours, and gives 0. Self-BLEU (Zhu et al. 2018) asks the same of all pairs.
    """
    if group == 1:
        return 0.0
    counts = [Counter(_grams((None, *ids), 2)) for ids in completions]
    overlaps = []
    for i, one in enumerate(counts):
        other = counts[i + 1 if (i + 1) % group else i + 1 - group]
        overlaps.append(2 * (one & other).total() / (one.total() + other.total()))
    return sum(overlaps) / len(overlaps)


def _grams(ids: Sequence, n: int) -> list[tuple]:
    return list(zip(*(ids[start:] for start in range(n)), strict=False))
