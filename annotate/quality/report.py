"""The figures of the quality page: computed once for a state of the judgments, kept, and made anew when it changed.

A page asks for them with `figures_for`, which answers at once: few judgments are computed on the spot, many by a
worker; meanwhile the page has the figures of before, or none yet, and says where the new ones stand.
"""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

import numpy as np
from django.db.models import Exists, OuterRef, Sum
from django.utils import timezone

from annotate.background import claims, presence
from annotate.models import GoldQuestion, Judgment, JudgmentVersion, PersonTally, Project, QualityReport
from annotate.quality import panels, selectors
from annotate.quality.bias import FEWEST_JUDGMENTS
from annotate.quality.bias_panel import TITLES, people_bias, project_bias
from annotate.quality.gold_questions import candidates
from annotate.quality.reliability import mace
from annotate.quality.splits import split_comparisons

# Of many split pairs and candidates for gold questions, so many are kept: more than are decided before the next report.
MOST_LISTED = 1000
# Up to so many judgments the figures take less time than a person notices.
AT_ONCE = 3000
# Stands in every key: another number, and what was computed by other formulas or without the lists is computed anew.
EDITION = 3

@dataclass(frozen=True)
class Figures:
    """`content` is what the templates show, None while it is computed for the first time; `new` judgments came since.

    `judgments` counts all of the project, imported ones as well. Where they are not `fresh`, `work` says how far the
    new ones are, and `worker_is_there` whether anybody would make them.
    """

    content: dict | None
    computed_at: datetime | None
    judgments: int
    fresh: bool
    work: QualityReport | None = None
    worker_is_there: bool = True

    @property
    def held_up(self) -> bool:
        """New ones do not come by themselves."""
        return self.work is not None and (bool(self.work.error) or not self.worker_is_there)

    @property
    def minutes(self) -> int:
        """The age of the figures in whole minutes."""
        return int((timezone.now() - self.computed_at).total_seconds() // 60) if self.computed_at else 0

    @property
    def new(self) -> int:
        return self.judgments - self.content["judgments_counted"] if self.content else 0


def is_small(project: Project) -> bool:
    """Whether a page may read all votes of the project by itself."""
    return _judged(project) <= AT_ONCE


def figures_for(project: Project) -> Figures:
    """The figures as they stand; asks for new ones where judgments have come or changed since.

    Those that failed are not asked for again by a look (see `try_again`).
    """
    judged, key = _state(project)
    report = QualityReport.objects.filter(project=project).first()
    fresh = report is not None and report.key == key
    if not fresh and judged:
        if judged <= AT_ONCE:
            _compute_here(project)
            report, fresh = QualityReport.objects.get(project=project), True
        elif report is None or report.is_ready:
            report = _ask(project)
    if fresh or not judged:
        return Figures(report and report.figures, report and report.computed_at, judged, fresh)
    there = presence.is_there() if report.is_waiting else True
    return Figures(report.figures, report.computed_at, judged, False, report, there)


def try_again(project: Project) -> None:
    """Figures that could not be computed are asked for once more."""
    _ask(project)


def make(report: QualityReport) -> None:
    """Computes the figures of a claimed report, unless they are there already."""
    judged, key = _state(report.project)
    if not judged or report.key == key:
        claims.finish(report)
        return
    with claims.kept(report):
        content = _figures(report.project, judged)
    claims.finish(report, key=key, figures=content, computed_at=timezone.now())


def compute(project_id: int) -> None:
    """The figures of now, computed here however many judgments there are: for commands and measurements."""
    _compute_here(Project.objects.get(pk=project_id))


def _compute_here(project: Project) -> None:
    judged, key = _state(project)
    kept = {"key": key, "figures": _figures(project, judged), "computed_at": timezone.now()}
    QualityReport.objects.update_or_create(project=project, defaults=kept)


def _figures(project: Project, judged: int) -> dict:
    content = plain(_content(project)) | {"judgments_counted": judged}
    if judged > AT_ONCE:
        content |= {
            "split_pairs": list(split_comparisons(project).values_list("pk", flat=True)[:MOST_LISTED]),
            "gold_candidates": list(candidates(project).values_list("pk", flat=True)[:MOST_LISTED]),
        }
    return content


def plain(value):
    """`value` as JSON holds it: a dataclass becomes its fields and its properties, an array's number a number."""
    if dataclasses.is_dataclass(value):
        names = [field.name for field in dataclasses.fields(value)]
        names += [name for name, member in vars(type(value)).items() if isinstance(member, property)]
        return {name: plain(getattr(value, name)) for name in names}
    if isinstance(value, Mapping):
        return {str(name): plain(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, np.generic):
        return value.item()
    return value if isinstance(value, bool | int | float) or value is None else str(value)


def _content(project: Project) -> dict:
    responses = selectors.read_responses(project)
    table = selectors.read_judgments(project, responses)
    if not len(table):
        return {"judgments": 0}
    choices = table.choices(responses.length, responses.markdown)
    rows = panels.agreement_rows(table)
    truth = mace(table.verdicts())
    return {
        "judgments": len(table.judgments),
        "annotators": len(table.names),
        "comparisons": int(table.comparison.max()) + 1,
        "reading": panels.reading_of(rows[0].alpha),
        "both_bad": table.both_bad,
        "overall": rows[0],
        "agreement": rows,
        "guidelines": panels.guideline_rows(table),
        "people": panels.people_rows(table, truth),
        "settled": truth.converged,
        "steps": truth.steps,
        "pairs": panels.pair_rows(table),
        "bias": project_bias(choices),
        "people_bias": people_bias(choices, table.names),
        "pull_titles": list(TITLES.values()),
        "fewest_votes": FEWEST_JUDGMENTS,
        "contestants": panels.contestant_rows(table, responses.generators),
    }


def _judged(project: Project) -> int:
    return PersonTally.objects.filter(project=project).aggregate(n=Sum("judged"))["n"] or 0


def _state(project: Project) -> tuple[int, str]:
    """How many judgments there are, and a key that changes with each of them, each edit and each gold question."""
    judged = _judged(project)
    # The newest edit, not their number: it stands at the end of the index, however many there are. A condition that
    # planners cannot turn into a join, for they would begin with all judgments.
    here = Judgment.objects.filter(pk=OuterRef("judgment"), comparison__project=project)
    newest = JudgmentVersion.objects.filter(Exists(here)).order_by("-pk").values_list("pk", flat=True).first() or 0
    gold = GoldQuestion.objects.filter(comparison__project=project).count()
    return judged, f"{EDITION}: {judged} {newest} {gold}"


def _ask(project: Project) -> QualityReport:
    """One page asks, however many look at the same time."""
    report, _created = QualityReport.objects.get_or_create(project=project)
    if claims.ask(QualityReport.objects.filter(pk=report.pk)):
        from annotate.quality.tasks import compute_report  # the task's module imports this one

        claims.nudge(report, compute_report)
    report.refresh_from_db()
    return report
