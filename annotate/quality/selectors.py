"""What the quality page reads from the database, in four queries: responses, judgments, rankings, names."""

import heapq
from dataclasses import dataclass
from operator import itemgetter

import numpy as np
from django.db.models.functions import Coalesce

from annotate.models import Comparison, Judgment, Project, Response, User
from annotate.models.judgment import by_people, ordinary
from annotate.quality.appearance import markdown_marks
from annotate.quality.rankings import implied_rows
from annotate.quality.table import JudgmentTable

CRITERIA = ("helpful", "truthful", "harmless")


@dataclass(frozen=True)
class ResponseTable:
    """A row a response: `ids` ascending, characters, marks of Markdown, all (responses,); `generators` as a list."""

    ids: np.ndarray
    length: np.ndarray
    markdown: np.ndarray
    generators: list[str]


def read_responses(project: Project) -> ResponseTable:
    """The responses to every prompt of the project that somebody has judged."""
    judged = Comparison.objects.filter(project=project, judgments__isnull=False).values("prompt")
    rows = Response.objects.filter(prompt__in=judged).order_by("pk").values_list("pk", "generator", "text")
    found = [(pk, len(text), markdown_marks(text), generator) for pk, generator, text in rows.iterator()]
    ids, length, markdown, generators = zip(*found, strict=True) if found else ((), (), (), ())
    return ResponseTable(*(np.array(column, dtype=int) for column in (ids, length, markdown)), list(generators))


def read_judgments(project: Project, responses: ResponseTable) -> JudgmentTable:
    """Every judgment by people, extras and imported votes too, a ranking as the pairs it implies.

    Answers to gold questions are left out: those were chosen because people agree on them. A judgment's `seconds` are
    its active time where that was measured.
    """
    of_pairs = (
        Judgment.objects.filter(
            by_people(), ordinary(), comparison__project=project, rating__isnull=False
        )
        .order_by("pk")
        .values_list("pk", "annotator", "comparison", "shown_at", "left", "right", "rating",
                     Coalesce("active_seconds", "seconds"), "guideline__number", *CRITERIA)
    )  # fmt: skip
    rows = list(heapq.merge(of_pairs, implied_rows(project, len(CRITERIA)), key=itemgetter(0)))
    _, annotator, comparison, shown_at, left, right, rating, *measured = (
        zip(*rows, strict=True) if rows else [()] * 12
    )
    annotator, comparison, left, right, rating = (
        np.array(column, dtype=int) for column in (annotator, comparison, left, right, rating)
    )
    # Null becomes nan.
    seconds, guideline, *criteria = (np.array(column, dtype=float) for column in measured)
    accounts, annotator = np.unique(annotator, return_inverse=True)
    names = dict(
        User.objects.filter(pk__in=Judgment.objects.filter(comparison__project=project).values("annotator"))
        .values_list("pk", "username")
    )  # fmt: skip
    return JudgmentTable(
        names=[names[pk] for pk in accounts.tolist()],
        annotator=annotator,
        comparison=np.unique(comparison, return_inverse=True)[1],
        item=np.unique(
            np.stack([comparison, np.minimum(left, right), np.maximum(left, right)]), axis=1, return_inverse=True
        )[1],
        shown_here=np.array([time is not None for time in shown_at], dtype=bool),
        # A constraint of the database: the response with the lower id is the first.
        left_is_first=left < right,
        rating=rating,
        criteria=dict(zip(CRITERIA, criteria, strict=True)),
        guideline=np.nan_to_num(guideline).astype(int),
        seconds=seconds,
        left=np.searchsorted(responses.ids, left),
        right=np.searchsorted(responses.ids, right),
    )
