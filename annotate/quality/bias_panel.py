"""The bias panel: each pull in words, and where to draw it. No database here.

The words are kept with the figures in English, and translated where they are shown.
"""

import math
from dataclasses import dataclass

import numpy as np
from django.utils.translation import gettext_noop

from annotate.quality import bias
from annotate.quality.bias import HURRY, HURRY_LENGTH, LENGTH, MARKDOWN, POSITION, PULLS, Choices, Pull
from annotate.quality.panels import Missing, attempt

# People with a fit of their own: those with the most decided judgments.
MOST_PEOPLE = 30
# Units across a plot; whole numbers, so that no locale puts a comma into an SVG.
PLOT_WIDTH = 1000
# The edge, in percent from one half, of a plot that shows every chance there is.
WHOLE = 50

TITLES = {
    POSITION: gettext_noop("Left side"),
    LENGTH: gettext_noop("Twice as long"),
    MARKDOWN: gettext_noop("Twice the Markdown"),
    HURRY: gettext_noop("In a hurry, to the left"),
    HURRY_LENGTH: gettext_noop("In a hurry, to the longer"),
}
# What the percentage is, other things equal.
MEANINGS = {
    POSITION: gettext_noop("The chance that the left one of two responses that look alike is chosen."),
    LENGTH: gettext_noop("The chance that a response twice as long as the other is chosen."),
    MARKDOWN: gettext_noop("The chance that a response with twice the formatting of the other is chosen."),
    HURRY: gettext_noop(
        "The chance that the left one is chosen in half the usual time, beyond the pull to the left above."
    ),
    HURRY_LENGTH: gettext_noop(
        "The chance that the longer one is chosen in half the usual time, beyond the pull to the longer above."
    ),
}
# Towards what it pulls when the chance is above one half, and when it is below.
TOWARDS = {
    POSITION: (gettext_noop("left"), gettext_noop("right")),
    LENGTH: (gettext_noop("longer"), gettext_noop("shorter")),
    MARKDOWN: (gettext_noop("more formatted"), gettext_noop("plainer")),
    HURRY: (gettext_noop("left when hurried"), gettext_noop("right when hurried")),
    HURRY_LENGTH: (gettext_noop("longer when hurried"), gettext_noop("shorter when hurried")),
}
VERDICTS = {
    POSITION: (
        gettext_noop("Pulls to the left."),
        gettext_noop("Pulls to the right."),
    ),
    LENGTH: (
        gettext_noop("Pulls to the longer."),
        gettext_noop("Pulls to the shorter."),
    ),
    MARKDOWN: (
        gettext_noop("Pulls to the more formatted."),
        gettext_noop("Pulls to the plainer."),
    ),
    HURRY: (
        gettext_noop("Pulls to the left when hurried."),
        gettext_noop("Pulls to the right when hurried."),
    ),
    HURRY_LENGTH: (
        gettext_noop("Pulls to the longer when hurried."),
        gettext_noop("Pulls to the shorter when hurried."),
    ),
}
WHY_MISSING = {
    POSITION: gettext_noop("These judgments were imported; the order shown is not known."),
    LENGTH: gettext_noop("The responses are equally long."),
    MARKDOWN: gettext_noop("The responses are equally formatted."),
    HURRY: gettext_noop("Judging times are not known, or always the same."),
    HURRY_LENGTH: gettext_noop("Judging times are not known, or always the same."),
}


@dataclass(frozen=True)
class PullRow:
    """`low`, `middle`, `high`: places in the plot, whole numbers from 0 to PLOT_WIDTH."""

    title: str
    meaning: str
    pull: Pull | Missing
    verdict: str
    low: int = 0
    middle: int = 0
    high: int = 0


@dataclass(frozen=True)
class ProjectBias:
    """`edge`: how far the plot's axis reaches from one half to each side, in percent."""

    rows: list[PullRow]
    votes: int
    ridge: bool
    edge: int

    @property
    def axis(self) -> tuple[int, int]:
        return 50 - self.edge, 50 + self.edge


@dataclass(frozen=True)
class PersonBias:
    """`pulls` in the order of PULLS, drawn from 0 to 100 %; `towards`: what this person's votes visibly lean to."""

    name: str
    votes: int
    pulls: list[PullRow]
    towards: list[str]


def project_bias(choices: Choices) -> ProjectBias | Missing:
    fitted = attempt(bias.fit, choices)
    if isinstance(fitted, Missing):
        return fitted
    edge = _edge(list(fitted.pulls.values()))
    return ProjectBias([_row(name, fitted.pulls, edge) for name in PULLS], fitted.judgments, fitted.ridge, edge)


def people_bias(choices: Choices, names: list[str]) -> list[PersonBias]:
    """The people with enough decided judgments for a fit of their own, the busiest first."""
    decided = np.bincount(choices.annotator[choices.judgments])
    busiest = np.argsort(-decided, kind="stable")[:MOST_PEOPLE]
    rows = []
    for person in busiest[decided[busiest] >= bias.FEWEST_JUDGMENTS].tolist():
        fitted = attempt(bias.fit, choices.of(person))
        found = {} if isinstance(fitted, Missing) else fitted.pulls
        pulls = [_row(name, found, WHOLE) for name in PULLS]
        towards = [_of_side(TOWARDS, name, pull) for name, pull in found.items() if pull.is_seen]
        rows.append(PersonBias(names[person], int(decided[person]), pulls, towards))
    return rows


def _row(name: str, pulls: dict[str, Pull], edge: int) -> PullRow:
    pull = pulls.get(name)
    if pull is None:
        return PullRow(TITLES[name], MEANINGS[name], Missing(WHY_MISSING[name]), "")
    verdict = _of_side(VERDICTS, name, pull) if pull.is_seen else gettext_noop("No pull seen: the interval holds 50 %.")
    places = (_place(chance, edge) for chance in (pull.interval[0], pull.chance, pull.interval[1]))
    return PullRow(TITLES[name], MEANINGS[name], pull, verdict, *places)


def _of_side(texts: dict[str, tuple[str, str]], name: str, pull: Pull) -> str:
    return texts[name][0 if pull.log_odds > 0 else 1]


def _edge(pulls: list[Pull]) -> int:
    """Room for every interval, in steps of 10 percent, at least 10 and at most 50."""
    furthest = max(abs(bound - 0.5) for pull in pulls for bound in pull.interval)
    return min(50, max(10, 10 * math.ceil(10 * furthest)))


def _place(chance: float, edge: int) -> int:
    return round(PLOT_WIDTH * (0.5 + (chance - 0.5) * 100 / (2 * edge)))
