"""Rankings as the pairs that they imply, so that every formula of this package sees one kind of row."""

import itertools
from collections.abc import Iterator

from annotate.models import Assessment, Project
from annotate.models.judgment import Rating, by_people


def implied_rows(project: Project, criteria: int) -> Iterator[tuple]:
    """Rows as `read_judgments` reads them for pairs: every two responses of each ranking, the earlier shown as left.

    A ranking says which is better and not by how much, so no implied pair is "slightly"; `criteria` verdicts and the
    time are unknown, for they were given to the whole.
    """
    assessed = (
        Assessment.objects.filter(by_people("judgment__"), judgment__comparison__project=project, rank__isnull=False)
        .order_by("judgment", "place")
        .values_list("judgment", "judgment__annotator", "judgment__comparison", "judgment__shown_at",
                     "judgment__guideline__number", "response", "rank")
    )  # fmt: skip
    for (judgment, annotator, comparison, shown_at, guideline), rows in itertools.groupby(
        assessed.iterator(), key=lambda row: row[:5]
    ):
        for (*_, left, left_rank), (*_, right, right_rank) in itertools.combinations(rows, 2):
            rating = _rating(left_rank, right_rank)
            yield (judgment, annotator, comparison, shown_at, left, right, rating, None, guideline,
                   *[None] * criteria)  # fmt: skip


def _rating(left: int, right: int) -> int:
    if left == right:
        return Rating.EQUAL
    return Rating.A_BETTER if left < right else Rating.B_BETTER
