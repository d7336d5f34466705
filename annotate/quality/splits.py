"""Comparisons whose votes are split: all that was wanted is in, and it does not say which response is better."""

from django.db.models import Case, Count, Exists, F, OuterRef, Q, QuerySet, Sum, Value, When

from annotate.models import Comparison, Project, Slot
from annotate.models.judgment import Rating, by_people

CLEARLY, SLIGHTLY = [Rating.A_BETTER, Rating.B_BETTER], [Rating.A_SLIGHTLY_BETTER, Rating.B_SLIGHTLY_BETTER]
_POINTS = Case(
    When(judgments__rating__in=CLEARLY, then=Value(2)), When(judgments__rating__in=SLIGHTLY, then=Value(1)),
    default=Value(0),
)  # fmt: skip


def split_comparisons(project: Project) -> QuerySet[Comparison]:
    """Pairs with a vote for each response and no free or held slot left, undecided by an adjudicator, and where

    - as many voted for the one as for the other, or
    - with “clearly” as two points and “slightly” as one, both have as many points, or the one with fewer votes has more
      or as many (the two ways of counting name different winners), or
    - somebody called the one and somebody else the other clearly better.

    Each with its `votes`, `for_first`, `for_second`, `points_first` and `points_second`; the most votes come first.
    """
    people = by_people("judgments__")
    of_first, of_second = Q(judgments__winner=F("first")) & people, Q(judgments__winner=F("second")) & people
    clear = Q(judgments__rating__in=CLEARLY)
    open_slots = Slot.objects.filter(comparison=OuterRef("pk"), free_from__isnull=False, apart=False)
    return (
        Comparison.objects.filter(project=project, kind=Comparison.Kind.PAIR, gold__isnull=True)
        .filter(Q(adjudication__isnull=True) | Q(adjudication__rating__isnull=True))
        .filter(~Exists(open_slots))
        .annotate(
            votes=Count("judgments", filter=people),
            for_first=Count("judgments", filter=of_first),
            for_second=Count("judgments", filter=of_second),
            points_first=Sum(_POINTS, filter=of_first, default=0),
            points_second=Sum(_POINTS, filter=of_second, default=0),
            clear_first=Count("judgments", filter=of_first & clear),
            clear_second=Count("judgments", filter=of_second & clear),
        )
        .filter(for_first__gt=0, for_second__gt=0)
        .filter(
            Q(for_first=F("for_second"))
            | Q(points_first=F("points_second"))
            | Q(for_first__gt=F("for_second"), points_first__lt=F("points_second"))
            | Q(for_first__lt=F("for_second"), points_first__gt=F("points_second"))
            | Q(clear_first__gt=0, clear_second__gt=0)
        )
        .select_related("prompt", "first", "second")
        .order_by("-votes", "id")
    )
