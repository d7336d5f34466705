"""What somebody judged: the list of their judgments, one of them to read again, and changing one of the last."""

from django.contrib import messages
from django.core.paginator import Paginator
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET, require_http_methods

from annotate.errors import UserError
from annotate.labeling.editing import edit_judgment, editable, editable_judgment, own_judgments
from annotate.labeling.progress import queue_state
from annotate.labeling.verdict import Verdict
from annotate.models import Judgment, Project
from annotate.models.judgment import FLAG_LABELS
from annotate.projects import current_guidelines
from annotate.web.common import ANNOTATOR, page, project_view
from annotate.web.conversation import conversation
from annotate.web.labeling import answer
from annotate.web.rendering import RENDERER_VERSION
from annotate.web.sheet import CRITERIA, LETTERS, read_sheet, sheet_of

PER_PAGE = 25


@require_GET
@project_view(ANNOTATOR)
def history(request: HttpRequest, project: Project) -> HttpResponse:
    """The judgments of this person, the newest first, with a way to change those that may be changed. No full texts:
    those of a hundred pairs would be megabytes.
    """
    judgments = own_judgments(project, request.user).select_related("comparison__prompt")
    shown = Paginator(judgments.prefetch_related("assessments"), PER_PAGE).get_page(request.GET.get("page"))
    may_change = editable(project, request.user)
    rows = [
        {
            "judgment": judgment,
            "ranking": _ranking_in_words(judgment) if judgment.is_ranking else "",
            "editable": judgment.pk in may_change,
        }
        for judgment in shown
    ]
    return page(request, "label/history.html", project, rows=rows, page_object=shown)


@project_view(ANNOTATOR)
def show(request: HttpRequest, project: Project, pk: int) -> HttpResponse:
    """One of this person's judgments with its texts, to read again."""
    judgments = own_judgments(project, request.user).select_related("comparison__prompt", "left", "right", "guideline")
    judgment = get_object_or_404(judgments.prefetch_related("assessments"), pk=pk)
    return page(
        request, "label/judgment.html", project, judgment=judgment, responses=_as_judged(judgment),
        editable=judgment.pk in editable(project, request.user),
        ranking=_ranking_in_words(judgment) if judgment.is_ranking else "",
        criteria=[(label, getattr(judgment, f"get_{name}_display")()) for name, label in CRITERIA],
        conversation=conversation(judgment.comparison.prompt.messages),
    )  # fmt: skip


def _as_judged(judgment: Judgment) -> list[dict]:
    """The responses in the order shown, with what was said about each; `chosen` marks the better one."""
    said = Verdict.of(judgment)
    return [
        {
            "letter": LETTERS[place],
            "text": response.text,
            "chosen": response.pk == judgment.winner_id or (place < len(said.ranks) and said.ranks[place] == 1),
            "overall": said.overall[place],
            "flags": [label for flag, label in FLAG_LABELS.items() if said.flags[place] & flag],
        }
        for place, response in enumerate(judgment.shown)
    ]


@never_cache
@require_http_methods(["GET", "POST"])
@project_view(ANNOTATOR)
def edit(request: HttpRequest, project: Project, pk: int) -> HttpResponse:
    """GET shows the comparison with what was said about it; POST stores a new version and goes on to the next one."""
    if request.method == "POST":
        return answer(
            request,
            project,
            lambda: edit_judgment(project, request.user, pk, renderer=RENDERER_VERSION, **read_sheet(request.POST)),
            _("Changed."),
            again=request.path,
        )
    try:
        judgment = editable_judgment(project, request.user, pk)
    except UserError as error:
        messages.error(request, str(error))
        return redirect("label_history", project.slug)
    state = queue_state(project, request.user)
    context = {
        "editing": judgment,
        "page_key": f"{judgment.pk}/{judgment.version}",
        "sheet": sheet_of(project, judgment.shown, Verdict.of(judgment)),
        "conversation": conversation(judgment.comparison.prompt.messages),
        "submit_url": reverse("label_edit", args=[project.slug, pk]),
        "guideline": current_guidelines(project),
        "state": state,
    }
    return page(request, "label/page.html", project, **context)


def _ranking_in_words(judgment) -> str:
    """"B > A = C > D": the letters of the order shown, the best first."""
    by_rank: dict[int, list[str]] = {}
    for assessment in judgment.assessments.all():
        by_rank.setdefault(assessment.rank, []).append(LETTERS[assessment.place])
    return " > ".join(" = ".join(letters) for _rank, letters in sorted(by_rank.items()))
