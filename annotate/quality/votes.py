"""Who said what about which item, as flat arrays: the input of every formula in this package."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np


class NotDefined(Exception):
    """A quantity that these votes do not determine; the message is a sentence for the page."""


@dataclass(frozen=True)
class Votes:
    """`item`, `annotator` and `label` are whole numbers from 0, each of shape (votes,); a person votes once an item.

    `labels` is how many labels there are, used or not. `shown`, (votes,), is the label as it was clicked, where that
    differs: a person who always takes the left one repeats a `shown` label, whichever response lay there.
    """

    item: np.ndarray
    annotator: np.ndarray
    label: np.ndarray
    labels: int
    shown: np.ndarray | None = None

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

    @cached_property
    def counts(self) -> np.ndarray:
        """(items, labels): how many votes each label of each item got."""
        flat = np.bincount(self.item * self.labels + self.label, minlength=self.items * self.labels)
        return flat.reshape(self.items, self.labels)

    @cached_property
    def pairs(self) -> tuple[np.ndarray, np.ndarray]:
        """Every two votes on one item, once: two arrays of places in `item`, the lower annotator first."""
        order = np.lexsort((self.annotator, self.item))
        item = self.item[order]
        found = [(np.empty(0, int), np.empty(0, int))]
        for distance in range(1, len(order)):
            here = np.flatnonzero(item[:-distance] == item[distance:])
            if not here.size:
                break
            found.append((order[here], order[here + distance]))
        earlier, later = zip(*found, strict=True)
        return np.concatenate(earlier), np.concatenate(later)

    def where(self, mask: np.ndarray) -> "Votes":
        """The votes of `mask`, (votes,) of bool; items and annotators keep their numbers."""
        shown = None if self.shown is None else self.shown[mask]
        return Votes(self.item[mask], self.annotator[mask], self.label[mask], self.labels, shown)

    def overlapping(self) -> "Votes":
        """The votes on items that at least two people voted on."""
        per_item = np.bincount(self.item, minlength=self.items)
        return self.where(per_item[self.item] >= 2)
