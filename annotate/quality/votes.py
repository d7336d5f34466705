"""Who said what about which item, as flat arrays: the input of every formula in this package.

An item is two responses. A comparison is what a person judges at once: one item, or a ranking with every two of its
responses. The items of a comparison come out alike for reasons of their own (one prompt, one sitting), so the
comparison is what intervals take as independent, and a person's votes on one comparison are one judgment.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np


class NotDefined(Exception):
    """A quantity that these votes do not determine; the message is a sentence for the page."""


@dataclass(frozen=True)
class Votes:
    """`item`, `annotator` and `label` are whole numbers from 0, each of shape (votes,); a person votes once an item.

    `labels` is how many labels there are, used or not. `shown`, (votes,), is the label as it was clicked, where that
    differs: a person who always takes the left one repeats a `shown` label, whichever response lay there. `comparison`,
    (votes,), is the number of the comparison that the item belongs to; None where each item is one of its own.
    """

    item: np.ndarray
    annotator: np.ndarray
    label: np.ndarray
    labels: int
    shown: np.ndarray | None = None
    comparison: np.ndarray | None = None

    @property
    def items(self) -> int:
        return int(self.item.max()) + 1 if self.item.size else 0

    @property
    def annotators(self) -> int:
        return int(self.annotator.max()) + 1 if self.annotator.size else 0

    @property
    def clicked(self) -> np.ndarray:
        """(votes,): the label in the order shown."""
        return self.label if self.shown is None else self.shown

    @property
    def judged_in(self) -> np.ndarray:
        """(votes,): the comparison in which the vote was given."""
        return self.item if self.comparison is None else self.comparison

    @cached_property
    def comparison_of(self) -> np.ndarray:
        """(items,): the comparison of each item that got a vote, 0 for the others."""
        found = np.zeros(self.items, dtype=int)
        found[self.item] = self.judged_in
        return found

    @property
    def judgments(self) -> np.ndarray:
        """The places of one vote for each judgment."""
        return firsts(self.annotator, self.judged_in)

    @cached_property
    def counts(self) -> np.ndarray:
        """(items, labels): how many votes each label of each item got."""
        flat = np.bincount(self.item * self.labels + self.label, minlength=self.items * self.labels)
        return flat.reshape(self.items, self.labels)

    @cached_property
    def pairs(self) -> tuple[np.ndarray, np.ndarray]:
        """Every two votes on one item, once: two arrays of places in `item`, the lower annotator first."""
        return pairs_within(self.item, self.annotator)

    def where(self, mask: np.ndarray) -> "Votes":
        """The votes of `mask`, (votes,) of bool; items and annotators keep their numbers."""
        shown, comparison = (None if of is None else of[mask] for of in (self.shown, self.comparison))
        return Votes(self.item[mask], self.annotator[mask], self.label[mask], self.labels, shown, comparison)

    def overlapping(self) -> "Votes":
        """The votes on items that at least two people voted on."""
        per_item = np.bincount(self.item, minlength=self.items)
        return self.where(per_item[self.item] >= 2)


def pairs_within(group: np.ndarray, member: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Every two rows of one group, once: two arrays of places, the row of the lower `member` first; both (rows,)."""
    order = np.lexsort((member, group))
    group = group[order]
    found = [(np.empty(0, int), np.empty(0, int))]
    for distance in range(1, len(order)):
        here = np.flatnonzero(group[:-distance] == group[distance:])
        if not here.size:
            break
        found.append((order[here], order[here + distance]))
    earlier, later = zip(*found, strict=True)
    return np.concatenate(earlier), np.concatenate(later)


def numbered(one: np.ndarray, other: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The place of the first row with each combination of the two numbers, and each row's combination, from 0."""
    if not one.size:
        return np.empty(0, int), np.empty(0, int)
    _, first, number = np.unique(one * (int(other.max()) + 1) + other, return_index=True, return_inverse=True)
    return first, number


def firsts(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """The place of the first row with each combination of the two numbers."""
    return numbered(one, other)[0]
