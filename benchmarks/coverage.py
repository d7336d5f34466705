"""How often 95 % intervals of the quality page hold the truth, for pairs and for rankings.

    python -m benchmarks.coverage [--repeats 300]

People rank `length` responses by their quality plus noise of their own; on some rankings all are unsure together. The
true coefficient is that of 20,000 such rankings. "As pairs": the same votes with every implied pair taken as a
comparison of its own.
"""

import argparse
import dataclasses
import itertools

import numpy as np

from annotate.quality.agreement import Estimate, krippendorff_alpha, percent_agreement
from annotate.quality.votes import Votes

FIRST, SECOND, LABELS = 0, 2, 3
PEOPLE = 3
MANY = 20_000
EASY_AND_HARD = (0.2, 6.0)
# Responses a ranking, noise, rankings.
CASES = [(2, (1.0,), 30), (4, (1.0,), 30), (6, (1.0,), 30), (9, (1.0,), 30), (6, EASY_AND_HARD, 30),
         (6, EASY_AND_HARD, 100)]  # fmt: skip


def ranked(*, rankings: int, length: int, people: int, noise: tuple[float, ...], rng: np.random.Generator) -> Votes:
    """Votes on every two responses of each ranking; `noise`: standard deviations, one of them drawn for a ranking."""
    pairs = np.array(list(itertools.combinations(range(length), 2)))
    unsure = rng.choice(noise, rankings)[:, None, None]
    seen = rng.normal(size=(rankings, 1, length)) + unsure * rng.normal(size=(rankings, people, length))
    label = np.where(seen[:, :, pairs[:, 0]] > seen[:, :, pairs[:, 1]], FIRST, SECOND)
    ranking, person, pair = (index.ravel() for index in np.indices(label.shape))
    return Votes(ranking * len(pairs) + pair, person, label.ravel(), LABELS, comparison=ranking)


def held(found: Estimate, truth: float) -> bool:
    return found.interval is not None and found.low <= truth <= found.high


def print_intervals(repeats: int) -> None:
    print(f"{'responses':>9}{'rankings':>9}{'difficulty':>12}{'agreement':>11}{'alpha':>7}   as pairs:")
    for length, noise, rankings in CASES:
        rng = np.random.default_rng(1)
        of_many = ranked(rankings=MANY, length=length, people=PEOPLE, noise=noise, rng=rng)
        counts = of_many.counts
        share = float((counts * (counts - 1)).sum() / (len(counts) * PEOPLE * (PEOPLE - 1)))
        chance = float(((counts.sum(0) / counts.sum()) ** 2).sum())
        truths = {percent_agreement: share, krippendorff_alpha: (share - chance) / (1 - chance)}
        hits = np.zeros((2, 2))
        for _ in range(repeats):
            votes = ranked(rankings=rankings, length=length, people=PEOPLE, noise=noise, rng=rng)
            for row, of in enumerate((votes, dataclasses.replace(votes, comparison=None))):
                hits[row] += [held(figure(of), truth) for figure, truth in truths.items()]
        ours, pairs = hits / repeats
        mixed = "mixed" if len(noise) > 1 else "alike"
        print(f"{length:9}{rankings:9}{mixed:>12}{ours[0]:11.1%}{ours[1]:7.1%}{pairs[0]:11.1%}{pairs[1]:7.1%}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--repeats", type=int, default=300)
    print_intervals(parser.parse_args().repeats)


if __name__ == "__main__":
    main()
