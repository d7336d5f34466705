"""How well one verdict can be made of several people's votes, on 11,890 pairs of arguments with about 5 votes each.

    python -m benchmarks.aggregation [path of ukp_convincing_votes.jsonl.gz]

The data: Habernal & Gurevych 2016. Their `gold` is itself MACE's answer to these very votes, kept where it was sure, so
agreement with it says above all whether our MACE is theirs. The two held-out columns need no gold and no published
figure: of every pair one vote is put aside, and the verdict made of the others has to name it.
"""

import argparse
import gzip
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from annotate.quality.reliability import dawid_skene, mace, majority, one_coin
from annotate.quality.strengths import PRIOR, Duels, bradley_terry
from annotate.quality.votes import Votes

DATA = Path(__file__).resolve().parent.parent / "../shared/data/ukp_convincing_votes.jsonl.gz"
FIRST, EQUAL, SECOND = 0, 1, 2
LABEL = {"a1": FIRST, "equal": EQUAL, "a2": SECOND}
SEED = 0


@dataclass(frozen=True)
class Corpus:
    """`gold`: (pairs,), −1 where there is none; `published`: (workers,), the competence that came with the data."""

    votes: Votes
    gold: np.ndarray
    published: np.ndarray
    one: np.ndarray
    other: np.ndarray


def read_corpus(path: Path) -> Corpus:
    with gzip.open(path, "rt", encoding="utf-8") as file:
        rows = [json.loads(line) for line in file]
    workers, arguments, published = {}, {}, {}
    votes = []
    for pair, row in enumerate(rows):
        for vote in row["votes"]:
            worker = workers.setdefault(vote["worker"], len(workers))
            published[worker] = vote["mace_competence"]
            votes.append((pair, worker, LABEL[vote["choice"]]))

    def argument(row: dict, side: str) -> int:
        # The same text for another side of another debate is another argument.
        return arguments.setdefault((row["topic"], row[side]), len(arguments))

    sides = np.array([(argument(row, "a1"), argument(row, "a2")) for row in rows])
    return Corpus(
        Votes(*np.array(votes).T, labels=3),
        np.array([LABEL.get(row["gold"], -1) for row in rows]),
        np.array([published[worker] for worker in range(len(workers))]),
        *sides.T,
    )


def gold_agreement(label: np.ndarray, gold: np.ndarray) -> float:
    """The share of all pairs with a gold label (gold "equal" too) whose label is that one; −1 (undecided) is wrong."""
    return float((label == gold)[gold >= 0].mean())


def correlations(ours: np.ndarray, published: np.ndarray) -> tuple[float, float]:
    """Pearson's and Spearman's."""
    return tuple(float(np.corrcoef(a, b)[0, 1]) for a, b in ((ours, published), (_ranks(ours), _ranks(published))))


def put_one_aside(votes: Votes, seed: int = SEED) -> tuple[Votes, Votes]:
    """All votes but one of each item, and those: drawn at random."""
    order = np.lexsort((np.random.default_rng(seed).random(votes.item.size), votes.item))
    aside = np.zeros(votes.item.size, dtype=bool)
    aside[order[np.unique(votes.item[order], return_index=True)[1]]] = True
    return votes.where(~aside), votes.where(aside)


def _ranks(values: np.ndarray) -> np.ndarray:
    """Ranks from 1, the mean rank for equal values."""
    _, place, times = np.unique(values, return_inverse=True, return_counts=True)
    return (np.cumsum(times) - (times - 1) / 2)[place]


def _label_or_chance(votes: Votes, label: np.ndarray, seed: int = SEED) -> np.ndarray:
    """Majority labels, ties broken by a seeded coin among the labels that share the first place."""
    top = votes.counts == votes.counts.max(1, keepdims=True)
    drawn = (top * np.random.default_rng(seed).random(top.shape)).argmax(1)
    return np.where(label < 0, drawn, label)


def print_verdicts(corpus: Corpus) -> None:
    methods: dict[str, Callable[[Votes], np.ndarray]] = {
        "majority, a tie is wrong": majority,
        "majority, a tie is drawn": lambda votes: _label_or_chance(votes, majority(votes)),
        "one coin a person": lambda votes: one_coin(votes).label,
        "Dawid–Skene": lambda votes: dawid_skene(votes).label,
        "MACE": lambda votes: mace(votes).label,
    }
    kept, aside = put_one_aside(corpus.votes)
    decided = corpus.gold[corpus.gold >= 0] != EQUAL
    print(f"{corpus.gold.size:,} pairs, {(corpus.gold >= 0).sum():,} with gold, {decided.sum():,} of them not equal")
    print(f"{'verdict made by':26}{'gold':>9}{'gold a1/a2':>12}{'held-out':>10}{'seconds':>9}")
    for name, aggregate in methods.items():
        start = time.perf_counter()
        label = aggregate(corpus.votes)
        seconds = time.perf_counter() - start
        found = [
            gold_agreement(label, corpus.gold),
            gold_agreement(label, np.where(corpus.gold == EQUAL, -1, corpus.gold)),
            float((aggregate(kept)[aside.item] == aside.label).mean()),
        ]
        print(f"{name:26}{found[0]:9.1%}{found[1]:12.1%}{found[2]:10.1%}{seconds:9.2f}")


def print_competence(corpus: Corpus) -> None:
    judged = np.bincount(corpus.votes.annotator)
    competences = {
        "one coin a person": one_coin(corpus.votes).competence,
        "Dawid–Skene": dawid_skene(corpus.votes).competence,
        "MACE": mace(corpus.votes).competence,
    }
    print(f"\n{'competence by':26}{'Pearson':>9}{'Spearman':>10}   with the published one, all {judged.size:,} workers")
    print(f"{'':26}{'Pearson':>9}{'Spearman':>10}   the {(judged >= 10).sum():,} with 10 votes or more")
    for name, ours in competences.items():
        everybody = correlations(ours, corpus.published)
        busy = correlations(ours[judged >= 10], corpus.published[judged >= 10])
        print(f"{name:26}{everybody[0]:9.3f}{everybody[1]:10.3f}")
        print(f"{'':26}{busy[0]:9.3f}{busy[1]:10.3f}")


def print_strengths(corpus: Corpus) -> None:
    """Strengths fitted without a fifth of the pairs, asked about that fifth."""
    votes = corpus.votes
    unseen = np.random.default_rng(SEED).random(corpus.gold.size) < 0.2
    fitted, asked = votes.where(~unseen[votes.item]), votes.where(unseen[votes.item] & (votes.label != EQUAL))
    duels = Duels(
        corpus.one[fitted.item], corpus.other[fitted.item], fitted.annotator, fitted.item, 1 - fitted.label / 2
    )
    decided = unseen & (corpus.gold >= 0) & (corpus.gold != EQUAL)
    arguments = max(corpus.one.max(), corpus.other.max()) + 1
    print(f"\nstrengths of {arguments:,} arguments, asked about {unseen.sum():,} pairs they were not fitted on")
    print(f"{'fitted by':26}{'gold a1/a2':>12}{'votes':>9}{'log loss':>10}{'seconds':>9}")
    for name, prior in {"Bradley–Terry": None, "with annotator weights": PRIOR}.items():
        start = time.perf_counter()
        result = bradley_terry(duels, prior=prior)
        seconds = time.perf_counter() - start
        strength = np.zeros(arguments)
        strength[: len(result.strength)] = result.strength
        ahead = strength[corpus.one] - strength[corpus.other]
        reading = np.full(votes.annotators, 1.0 if prior is None else prior[0] / sum(prior))
        reading[: len(result.reading)] = result.reading
        trust = reading[asked.annotator]
        chance = trust / (1 + np.exp(-ahead[asked.item])) + (1 - trust) / 2
        right = float(((ahead > 0) == (corpus.gold == FIRST))[decided].mean())
        foreseen = float(((chance > 0.5) == (asked.label == FIRST)).mean())
        loss = float(-np.log(np.where(asked.label == FIRST, chance, 1 - chance)).mean())
        print(f"{name:26}{right:12.1%}{foreseen:9.1%}{loss:10.4f}{seconds:9.2f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("path", nargs="?", type=Path, default=DATA)
    corpus = read_corpus(parser.parse_args().path)
    print_verdicts(corpus)
    print_competence(corpus)
    print_strengths(corpus)


if __name__ == "__main__":
    main()
