"""In which order the queue goes, and with which probability a person gets an item. Pure: nothing here asks a database.

Each policy is a function from what is known about a comparison to its rank; the lowest rank is served first, and within
a rank what has waited longest. `draw` mixes the policy's pick with uniform draws and gold questions:

    P(i) = (1 − g) · (s · U(i) + (1 − s) · [i is the policy's pick])        P(gold question j) = g / number of them

g is the project's gold share (0 where this person has met every gold question), s its random share, and U(i) what the
uniform draw gives to i. Given the person and the queue at that moment this is exact, so one judgment of an item drawn
with P(i) may be weighted by 1/P(i): then f(i)/P(i) has as expectation the sum of f over all that was open to the person
(Horvitz & Thompson 1952), as long as s > 0.

How uniform U is. Every comparison has a place on a circle of circumference 1, the fractional part of its number times
the golden ratio (Knuth, The Art of Computer Programming 3, section 6.4): the places of n comparisons lie evenly. A draw
turns to a uniformly random place, takes the next `WINDOW` open comparisons from there, and picks one of them uniformly.
So U(i) = (distance from i back to the WINDOW-th open comparison before it) / WINDOW, which is 1/n where n ≤
WINDOW are open, within a few percent of 1/n while most are open, and where the rest is scattered at random of relative
standard deviation 1/√WINDOW, a quarter. The stored probability is U itself, not 1/n.
"""

import random
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import fmean

from annotate.models.project import QueuePolicy

WINDOW = 16
GOLDEN_RATIO = 0.6180339887498949


def place_on_circle(number: int) -> float:
    """The place of comparison `number` (its primary key) on the circle, in [0, 1)."""
    return (number * GOLDEN_RATIO) % 1.0


@dataclass(frozen=True)
class Known:
    """What is known about a comparison: votes for its first and second response and for neither, and by which round
    of the loop it was made (0: by none); `uncertainty` of a reward model in [0, 1], None if none was asked.

    A judgment of a ranking is a vote for neither. `ranked`: the votes on every two of its responses, each as (for one,
    for the other, equal); empty for a pair.
    """

    first: float = 0
    second: float = 0
    equal: float = 0
    round: int = 0
    uncertainty: float | None = None
    ranked: tuple[tuple[float, float, float], ...] = ()

    @property
    def votes(self) -> float:
        return self.first + self.second + self.equal


def oldest(known: Known) -> float:
    return 0.0


def breadth(known: Known) -> float:
    return float(known.votes)


def on_policy(known: Known) -> float:
    return float(-known.round)


def uncertainty(known: Known) -> float:
    """−4p(1 − p), where p = (votes for the first + equal/2 + 1/2) / (votes + 1), or the reward model's before any vote.

    Of a ranking, the mean over every two of its responses. What neither people nor a reward model have judged is wholly
    uncertain; no reward model is asked about rankings. Of equally uncertain comparisons those with more votes come
    first, so a split one goes before one nobody has judged.
    """
    if not known.votes:
        return -1.0 if known.uncertainty is None else -known.uncertainty
    pairs = known.ranked or ((known.first, known.second, known.equal),)
    return -fmean(_spread(*pair) for pair in pairs) - known.votes / 1000


def _spread(first: float, second: float, equal: float) -> float:
    """4p(1 − p): 1 where votes on two responses are split, towards 0 the more of them agree."""
    p = (first + equal / 2 + 0.5) / (first + second + equal + 1)
    return 4 * p * (1 - p)


RANKS = {
    QueuePolicy.OLDEST: oldest,
    QueuePolicy.BREADTH: breadth,
    QueuePolicy.UNCERTAINTY: uncertainty,
    QueuePolicy.ON_POLICY: on_policy,
}


@dataclass(frozen=True)
class Item:
    """An open comparison, known by its place on the circle, and one of its free slots."""

    slot: int
    spread: float


@dataclass(frozen=True)
class Neighbours:
    """Open comparisons around one place of the circle, nearest first, WINDOW + 1 of each where there are as many.

    `before` and `after` (which begins at the place itself) reach to the ends of [0, 1); from there the circle goes on
    with `highest` and `lowest`.
    """

    before: Sequence[Item] = ()
    after: Sequence[Item] = ()
    lowest: Sequence[Item] = ()
    highest: Sequence[Item] = ()

    @classmethod
    def of(cls, items: Sequence[Item], place: float) -> "Neighbours":
        """Where all open slots are known; one of a comparison's stands for it."""
        upwards = sorted({item.spread: item for item in items}.values(), key=lambda item: item.spread)
        here = bisect_left(upwards, place, key=lambda item: item.spread)
        some = WINDOW + 1
        return cls(upwards[:here][::-1][:some], upwards[here:][:some], upwards[:some], upwards[::-1][:some])

    def forward(self) -> list[Item]:
        """The next WINDOW from the place on, all of them where there are fewer."""
        return list({item.spread: item for item in [*self.after, *self.lowest]}.values())[:WINDOW]


@dataclass(frozen=True)
class Open:
    """What a person can get now: the policy's pick, the gold questions they have not met, and who is near `around`."""

    pick: Item | None
    gold: Sequence[int] = ()
    around: Neighbours = field(default_factory=Neighbours)


@dataclass(frozen=True)
class Drawn:
    """`gold` is a gold question's comparison, else `item` an open one. `by_policy`: they have come as far as it."""

    probability: float
    item: Item | None = None
    gold: int | None = None
    by_policy: bool = False


@dataclass(frozen=True)
class Lot:
    """The coins of one draw, thrown before anybody looks into the queue: gold?, random?, and where on the circle."""

    gold: bool
    at_random: bool
    place: float

    @classmethod
    def throw(cls, rng: random.Random, *, gold_share: float, random_share: float) -> "Lot":
        gold = gold_share > 0 and rng.random() < gold_share
        at_random = random_share > 0 and rng.random() < random_share
        return cls(gold, at_random, rng.random() if at_random else 0.0)


def draw(lot: Lot, found: Open, rng: random.Random, *, gold_share: float, random_share: float) -> Drawn | None:
    """What the person gets, with its probability; None where nothing ordinary is open for them.

    `found.around` are the neighbours of `lot.place` if the draw is at random, else of the policy's pick.
    """
    if found.pick is None:
        return None
    if found.gold and lot.gold:
        return Drawn(gold_share / len(found.gold), gold=rng.choice(found.gold))
    shares = {"gold_share": gold_share, "random_share": random_share}
    if not lot.at_random:
        uniform = uniform_probability(found.pick, found.around) if random_share else 0.0
        return Drawn(by_policy_probability(uniform, found, **shares), item=found.pick, by_policy=True)
    item = rng.choice(found.around.forward())
    uniform = uniform_probability(item, found.around)
    if item.spread == found.pick.spread:
        return Drawn(by_policy_probability(uniform, found, **shares), item=item)
    return Drawn((1 - gold_share if found.gold else 1.0) * random_share * uniform, item=item)


def by_policy_probability(uniform: float, found: Open, *, gold_share: float, random_share: float) -> float:
    """P of the policy's pick, which a uniform draw would give with probability `uniform`."""
    return (1 - gold_share if found.gold else 1.0) * (random_share * uniform + 1 - random_share)


def uniform_probability(item: Item, around: Neighbours) -> float:
    """U(item). `around` is the place where the draw began, or that of `item`: the WINDOW before it are there."""
    known = (*around.before, *around.after, *around.lowest, *around.highest)
    others = {other.spread for other in known} - {item.spread}
    if len(others) < WINDOW:
        return 1 / (len(others) + 1)
    return sorted((item.spread - place) % 1.0 for place in others)[WINDOW - 1] / WINDOW
