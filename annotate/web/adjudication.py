"""Split votes: which pairs wait for a decision, the pair without its votes, then with them, and the verdict."""

from django.contrib import messages
from django.core.paginator import Paginator
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect
from django.utils.translation import gettext as _

from annotate.errors import UserError
from annotate.models import Adjudication, Comparison, Project
from annotate.models.judgment import Rating
from annotate.quality import adjudication
from annotate.quality.waiting import waiting_splits
from annotate.web.common import RESEARCHER, page, project_view
from annotate.web.conversation import conversation
from annotate.web.sheet import CLOSENESS

PAIRS_A_PAGE = 25
RECENT = 10


@project_view(RESEARCHER)
def index(request: HttpRequest, project: Project) -> HttpResponse:
    found = waiting_splits(project)
    waiting = Paginator(found.pairs, PAIRS_A_PAGE).get_page(request.GET.get("page"))
    decided = (
        Adjudication.objects.filter(comparison__project=project, rating__isnull=False)
        .select_related("author", "comparison__prompt")
        .order_by("-decided_at")
    )
    return page(
        request, "adjudication/index.html", project, waiting=waiting, decided=decided[:RECENT],
        count=decided.count(), listed=found,
    )  # fmt: skip


@project_view(RESEARCHER)
def show(request: HttpRequest, project: Project, pk: int) -> HttpResponse:
    """The pair; its votes only once this person has given a blind verdict. POST gives that one, then the final one."""
    comparison = get_object_or_404(
        Comparison.objects.select_related("prompt", "first", "second", "project"),
        pk=pk, project=project, kind=Comparison.Kind.PAIR,
    )  # fmt: skip
    sent = request.POST
    if request.method == "POST":
        try:
            if "reason" in sent:
                adjudication.decide(comparison, request.user, sent.get("rating"), sent["reason"])
                messages.success(request, _("Decided. Snapshots with adjudicated verdicts use it."))
                return redirect("adjudication", project.slug)
            adjudication.begin(comparison, request.user, sent.get("rating"))
            return redirect("adjudicate", project.slug, pk)
        except UserError as error:
            messages.error(request, error.message)
    begun = Adjudication.objects.filter(comparison=comparison).select_related("author").first()
    may_see_votes = begun and (begun.rating is not None or begun.author_id == request.user.pk)
    swapped = begun.swapped if may_see_votes else adjudication.shown_swapped(comparison, request.user)
    pair = (comparison.second, comparison.first) if swapped else (comparison.first, comparison.second)
    return page(
        request, "adjudication/show.html", project,
        comparison=comparison, conversation=conversation(comparison.prompt.messages), left=pair[0], right=pair[1],
        begun=begun if may_see_votes else None, votes=_votes(comparison, pair[0]) if may_see_votes else [],
        ratings=[(rating.value, rating.label) for rating in CLOSENESS],
        reason=sent.get("reason", ""), rating=sent.get("rating", ""),
    )  # fmt: skip


def _votes(comparison: Comparison, left) -> list[dict]:
    """Who voted what, in the order in which this page shows the responses: A here may have been B there."""
    mirrored = {Rating.A_BETTER: Rating.B_BETTER, Rating.A_SLIGHTLY_BETTER: Rating.B_SLIGHTLY_BETTER}
    mirrored |= {other: one for one, other in mirrored.items()}
    return [
        {
            "name": judgment.annotator.username,
            "verdict": Rating(
                judgment.rating if judgment.left_id == left.pk else mirrored.get(judgment.rating, judgment.rating)
            ).label,
            "note": judgment.note,
        }
        for judgment in comparison.judgments.select_related("annotator").order_by("created_at")
    ]
