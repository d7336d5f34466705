"""Which split pairs and which candidates for gold questions a page lists.

To find them all votes of a project are read. Few are read when a page asks; of many, the task that computes the
quality report keeps the first of each list, and a page looks only whether those still belong there.
"""

from dataclasses import dataclass

from django.db.models import QuerySet

from annotate.models import Comparison, Project
from annotate.quality import report
from annotate.quality.gold_questions import candidates
from annotate.quality.report import Figures, figures_for
from annotate.quality.splits import split_comparisons


@dataclass(frozen=True)
class Waiting:
    """`pairs` belong there now. `figures`: with which report the list was made; None where it is of this moment.

    `is_coming`: the first list is still being made.
    """

    pairs: QuerySet[Comparison]
    figures: Figures | None = None
    is_coming: bool = False


def waiting_splits(project: Project) -> Waiting:
    return _waiting(project, split_comparisons(project), "split_pairs")


def waiting_candidates(project: Project) -> Waiting:
    return _waiting(project, candidates(project), "gold_candidates")


def _waiting(project: Project, found: QuerySet[Comparison], name: str) -> Waiting:
    if report.is_small(project):
        return Waiting(found)
    figures = figures_for(project)
    # A report that was made while votes were few has no list either.
    kept = (figures.content or {}).get(name)
    return Waiting(found.filter(pk__in=kept or []), figures, is_coming=kept is None)
