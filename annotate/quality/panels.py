"""The tables of the quality page: agreement, people, and whose responses win. No database here."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from django.utils.translation import gettext_noop

from annotate.quality import agreement
from annotate.quality.agreement import Estimate
from annotate.quality.reliability import Mace
from annotate.quality.strengths import bradley_terry
from annotate.quality.table import JudgmentTable
from annotate.quality.votes import NotDefined, Votes, firsts

# Rows beyond these say less and less; the page tells how many it leaves out.
MOST_PEOPLE = 100
MOST_PAIRS = 30
MOST_CONTESTANTS = 100

# Krippendorff (2004, Content Analysis, chapter 11): from here on reliable, from here on for tentative conclusions.
RELIABLE, TENTATIVE = 0.8, 0.667


@dataclass(frozen=True)
class Missing:
    """A cell whose figure is not defined, and why."""

    why: str


@dataclass(frozen=True)
class AgreementRow:
    """`guideline`: the version it is about, 0 for none, in the table of versions."""

    name: str
    judgments: int
    comparisons: int
    percent: Estimate | Missing
    fleiss: Estimate | Missing
    alpha: Estimate | Missing
    guideline: int | None = None


@dataclass(frozen=True)
class PairRow:
    one: str
    other: str
    percent: Estimate | Missing
    kappa: Estimate | Missing


@dataclass(frozen=True)
class PersonRow:
    """`seconds`: the median, None where not known. `competence` counts the judgments it rests on as its items."""

    name: str
    judgments: int
    seconds: float | None
    agreement: Estimate | Missing
    competence: Estimate | Missing

    @property
    def guesses(self) -> bool:
        """Whether the whole interval of the competence lies below one half."""
        return isinstance(self.competence, Estimate) and self.competence.high < 0.5


@dataclass(frozen=True)
class ContestantRow:
    """`chance` to win against another of them; it counts the judgments it rests on as its items."""

    name: str
    chance: Estimate


def attempt(figure: Callable, *args, **options):
    """The figure, or why it is not defined."""
    try:
        return figure(*args, **options)
    except NotDefined as error:
        return Missing(str(error))


def agreement_row(name: str, votes: Votes, level: str = "nominal", *, guideline: int | None = None) -> AgreementRow:
    shared = votes.overlapping()
    return AgreementRow(
        name,
        judgments=len(votes.judgments),
        comparisons=len(np.unique(shared.judged_in)),
        percent=attempt(agreement.percent_agreement, shared),
        fleiss=attempt(agreement.fleiss_kappa, shared),
        alpha=attempt(agreement.krippendorff_alpha, shared, level),
        guideline=guideline,
    )


def agreement_rows(table: JudgmentTable) -> list[AgreementRow]:
    """The verdict, the whole scale, and each criterion that anybody used."""
    rows = [
        agreement_row(gettext_noop("Which is better"), table.verdicts()),
        agreement_row(gettext_noop("How much better, as an order"), table.scale(), "ordinal"),
        agreement_row(gettext_noop("How much better, as numbers"), table.scale(), "interval"),
    ]
    criteria = {name: table.criterion(name) for name in table.criteria}
    return rows + [agreement_row(name.capitalize(), votes) for name, votes in criteria.items() if len(votes.item)]


def guideline_rows(table: JudgmentTable) -> list[AgreementRow]:
    """The verdict under each version of the guidelines, the newest first; only votes under the same version meet."""
    votes = table.verdicts()
    return [
        agreement_row(
            f"Version {number}" if number else gettext_noop("Without guidelines"),
            votes.where(table.guideline == number),
            guideline=number,
        )
        for number in sorted(np.unique(table.guideline).tolist(), reverse=True)
    ]


def pair_rows(table: JudgmentTable) -> list[PairRow]:
    """The pairs of people with the most comparisons in common."""
    votes, rows = table.verdicts(), []
    for one, other in agreement.most_shared(votes, MOST_PAIRS):
        both = votes.where((votes.annotator == one) | (votes.annotator == other))
        percent = attempt(agreement.percent_agreement, both)
        kappa = attempt(agreement.cohen_kappa, both, one, other)
        rows.append(PairRow(table.names[one], table.names[other], percent, kappa))
    return rows


def people_rows(table: JudgmentTable, truth: Mace) -> list[PersonRow]:
    """Who judged most, with how far the others bear them out."""
    votes = table.verdicts()
    judged = np.bincount(table.annotator[table.judgments], minlength=len(table.names))
    shown = np.argsort(-judged, kind="stable")[:MOST_PEOPLE]
    intervals = truth.competence_interval(shown)
    shared = votes.overlapping()
    met = np.bincount(shared.annotator[shared.judgments], minlength=len(judged))
    return [
        PersonRow(
            name=table.names[person],
            judgments=int(judged[person]),
            seconds=_median(table.seconds[table.annotator == person]),
            agreement=attempt(agreement.agreement_with_others, votes, person),
            competence=_competence(truth, person, interval, int(met[person])),
        )
        for person, interval in zip(shown, intervals, strict=True)
    ]


def contestant_rows(table: JudgmentTable, generators: list[str]) -> list[ContestantRow]:
    """Whose responses win, by the name of the generator, the strongest first; empty unless two of them have met."""
    names = sorted(set(generators) - {""})
    number = {name: place for place, name in enumerate(names)} | {"": -1}
    duels = table.duels(np.array([number[name] for name in generators], dtype=int))
    if not duels.one.size:
        return []
    met, sides = np.unique(np.concatenate([duels.one, duels.other]), return_inverse=True)
    one, other = np.split(sides, 2)
    strengths = bradley_terry(duels.between(one, other))
    # A judgment of a ranking, in which a contestant meets several, is one judgment of it.
    judge = duels.comparison * len(table.names) + duels.annotator
    judged = np.bincount(sides[firsts(sides, np.concatenate([judge, judge]))])
    return [
        ContestantRow(names[met[place]], Estimate(*strengths.chances(place), items=int(judged[place])))
        for place in np.argsort(-strengths.strength, kind="stable")[:MOST_CONTESTANTS]
    ]


def reading_of(alpha: Estimate | Missing) -> str:
    """What the overall α means, in a sentence or two."""
    if isinstance(alpha, Missing):
        return gettext_noop("Let several people judge the same comparisons to see how far they agree.")
    if alpha.value >= RELIABLE:
        return gettext_noop("People mean the same thing by a better response: the judgments are reliable.")
    if alpha.value >= TENTATIVE:
        return gettext_noop("People agree well enough for tentative conclusions, not for fine differences.")
    if alpha.value > 0:
        return gettext_noop(
            "People disagree often. That is usual for matters of taste, and several judgments a comparison average it"
            " out; for matters of fact the guidelines leave too much open."
        )
    return gettext_noop("People agree no more than by chance: do not train on these judgments before you know why.")


def _competence(truth: Mace, person: int, interval: np.ndarray, met: int) -> Estimate | Missing:
    if np.isnan(truth.competence[person]):
        return Missing(gettext_noop("Nobody else judged the same comparisons."))
    return Estimate(float(truth.competence[person]), float(interval[0]), float(interval[1]), met)


def _median(seconds: np.ndarray) -> float | None:
    known = seconds[~np.isnan(seconds)]
    return float(np.median(known)) if known.size else None
