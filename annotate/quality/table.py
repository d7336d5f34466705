"""A project's judgments as columns, and as the votes that the formulas take. No database here."""

from dataclasses import dataclass

import numpy as np

from annotate.models.judgment import Rating
from annotate.quality.bias import Choices
from annotate.quality.strengths import Duels
from annotate.quality.votes import Votes, firsts

# Labels of verdicts and criteria, in the comparison's own order of responses.
FIRST, EQUAL, SECOND = range(3)
# How far a rating (0 equal, 1 and 2 for the left response, 3 and 4 for the right, 5 both bad) leans to the left. Where
# both are bad neither is better, as with equal ones.
_LEANING = np.array([0, 2, 1, -1, -2, 0])


@dataclass(frozen=True)
class JudgmentTable:
    """A row a verdict on two responses; every array is of shape (verdicts,) and in the order of judging.

    A judgment of a pair is one row, one of a ranking a row for every two of its responses. `annotator`, `comparison`
    and `item` (two responses of a comparison) count from 0; `names` has a user name for each annotator. `shown_here`:
    judged on this site, so left and right are what the person saw; imported votes do not say. `left_is_first`: the left
    response is the comparison's `first`. `criteria`: per name the verdict 1 left, 0 equal, −1 right, nan where not
    given. `guideline`: the version's number, 0 where there was none. `seconds`: nan where not known. `left` and `right`
    are rows of the table of responses.
    """

    names: list[str]
    annotator: np.ndarray
    comparison: np.ndarray
    item: np.ndarray
    shown_here: np.ndarray
    left_is_first: np.ndarray
    rating: np.ndarray
    criteria: dict[str, np.ndarray]
    guideline: np.ndarray
    seconds: np.ndarray
    left: np.ndarray
    right: np.ndarray

    def __len__(self) -> int:
        return len(self.rating)

    @property
    def judgments(self) -> np.ndarray:
        """The rows that stand for one judgment each: the first of every person's on every comparison."""
        return firsts(self.annotator, self.comparison)

    @property
    def orientation(self) -> np.ndarray:
        """1 where left is first, −1 where the sides were exchanged."""
        return np.where(self.left_is_first, 1, -1)

    @property
    def leaning(self) -> np.ndarray:
        """2 the left response is better, 1 slightly, 0 equal, −1 the right one slightly, −2 the right one."""
        return _LEANING[self.rating]

    @property
    def both_bad(self) -> int:
        """How many judgments said that both responses are bad."""
        return int((self.rating == Rating.BOTH_BAD).sum())

    def verdicts(self) -> Votes:
        """Which response is better: FIRST, EQUAL or SECOND of the comparison; shown: left, equal or right if known."""
        label = 1 - np.sign(self.leaning * self.orientation)
        shown = np.where(self.shown_here, 1 - np.sign(self.leaning), label)
        return Votes(self.item, self.annotator, label, 3, shown, self.comparison)

    def scale(self) -> Votes:
        """The whole rating from 0, the first response is better, over 2, equal, to 4, the second is better."""
        return Votes(self.item, self.annotator, 2 - self.leaning * self.orientation, 5, comparison=self.comparison)

    def criterion(self, name: str) -> Votes:
        """The verdicts on one criterion, where they were given."""
        given = ~np.isnan(self.criteria[name])
        label = 1 - (self.criteria[name][given] * self.orientation[given]).astype(int)
        return Votes(self.item[given], self.annotator[given], label, 3, comparison=self.comparison[given])

    def choices(self, length: np.ndarray, markdown: np.ndarray) -> Choices:
        """The decided verdicts with what their responses look like; both arguments are (responses,)."""
        decided = self.leaning != 0
        sides = np.stack([self.left, self.right], axis=1)[decided]
        return Choices(
            chose_left=self.leaning[decided] > 0, order_known=self.shown_here[decided],
            length=length[sides], markdown=markdown[sides],
            seconds=self.seconds[decided], annotator=self.annotator[decided], comparison=self.comparison[decided],
        )  # fmt: skip

    def duels(self, contestant: np.ndarray) -> Duels:
        """The verdicts as duels of contestants, (responses,), −1 for none; nobody meets themselves."""
        first = contestant[np.where(self.left_is_first, self.left, self.right)]
        second = contestant[np.where(self.left_is_first, self.right, self.left)]
        met = (first >= 0) & (second >= 0) & (first != second)
        return Duels(
            one=first[met], other=second[met], annotator=self.annotator[met], comparison=self.comparison[met],
            wins=(1 + np.sign(self.leaning * self.orientation)[met]) / 2,
        )  # fmt: skip
