"""The labeling page: one pair at a time, judged or skipped, and the next pair in the same response."""

from contextlib import suppress

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from annotate.errors import UserError
from annotate.labeling import attention
from annotate.labeling.progress import QueueState, queue_state
from annotate.labeling.queue import renew as renew_reservation
from annotate.labeling.queue import reserve_next
from annotate.labeling.submit import skip_comparison, submit_judgment
from annotate.models import Judgment, Project, Reservation, Skip
from annotate.models.judgment import Rating
from annotate.projects import current_guidelines
from annotate.web.common import ANNOTATOR, page, project_view
from annotate.web.conversation import conversation
from annotate.web.held_up import held_up_context
from annotate.web.rendering import RENDERER_VERSION

RATINGS = [
    (Rating.A_BETTER.value, Rating.A_BETTER.label, "clearly"),
    (Rating.A_SLIGHTLY_BETTER.value, Rating.A_SLIGHTLY_BETTER.label, "truly close"),
    (Rating.B_SLIGHTLY_BETTER.value, Rating.B_SLIGHTLY_BETTER.label, "truly close"),
    (Rating.B_BETTER.value, Rating.B_BETTER.label, "clearly"),
]
CRITERIA = [("helpful", "Helpful"), ("truthful", "Truthful"), ("harmless", "Harmless")]
HISTORY_LENGTH = 50
# An open page says at least this often that it is read, and for how long so far.
RENEW_SECONDS = 60


@never_cache
@require_http_methods(["GET", "POST"])
@project_view(ANNOTATOR)
def label(request: HttpRequest, project: Project) -> HttpResponse:
    """GET shows the pair this person holds, or reserves the next one; POST stores a judgment."""
    if request.method == "GET":
        return _show_next(request, project)
    return _answer(request, project, lambda: _judge(request), "Saved.")


@require_POST
@project_view(ANNOTATOR)
def skip(request: HttpRequest, project: Project) -> HttpResponse:
    sent = request.POST
    return _answer(
        request,
        project,
        lambda: skip_comparison(request.user, sent.get("key", ""), sent.get("reason", ""), sent.get("note", "")),
        "Skipped.",
    )


@require_POST
@project_view(ANNOTATOR)
def renew(request: HttpRequest, project: Project, key) -> HttpResponse:
    """Keeps the pair reserved while its page is looked at. A pair that is lost meanwhile may still be submitted."""
    with suppress(UserError):
        renew_reservation(key, request.user)
    attention.report(key, request.user, request.POST.get("active_seconds"))
    return HttpResponse(status=204)


@require_GET
@project_view(ANNOTATOR)
def history(request: HttpRequest, project: Project) -> HttpResponse:
    """The last judgments of this person."""
    judgments = (
        Judgment.objects.filter(annotator=request.user, comparison__project=project)
        .select_related("comparison__prompt", "left", "right")
        .order_by("-created_at")[:HISTORY_LENGTH]
    )
    return page(request, "label/history.html", project, judgments=judgments)


def _judge(request: HttpRequest) -> None:
    sent = request.POST
    verdicts = {name: sent.get(name, "") for name, _ in CRITERIA}
    submit_judgment(
        request.user, sent.get("key", ""), sent.get("rating", ""), note=sent.get("note", ""),
        active_seconds=sent.get("active_seconds"), renderer=RENDERER_VERSION, **verdicts,
    )  # fmt: skip


def _answer(request: HttpRequest, project: Project, store, done: str) -> HttpResponse:
    """Runs `store`; then the next pair in the same response, or without JavaScript a redirect to it."""
    try:
        store()
    except UserError as error:
        if not request.htmx:
            messages.error(request, str(error))
            return redirect("label", project.slug)
        response = render(request, "label/refused.html", {"error": error, "project": project}, status=422)
        response["HX-Retarget"] = "#form-error"
        response["HX-Reswap"] = "innerHTML"
        return response
    if request.htmx:
        return _show_next(request, project, done)
    messages.success(request, done)
    return redirect("label", project.slug)


def _show_next(request: HttpRequest, project: Project, done: str = "") -> HttpResponse:
    held_up = held_up_context(project, request.user)
    reservation = None if held_up["standing"].is_held_up else reserve_next(project, request.user)
    state = queue_state(project, request.user)
    guideline = current_guidelines(project)
    context = {
        "reservation": reservation,
        "state": state,
        "reach": state.judged + state.open_for_me,
        "waiting": reservation is None and state.reserved_by_others > 0,
        "ratings": RATINGS,
        "criteria": CRITERIA,
        "reasons": Skip.Reason.choices,
        "renew_seconds": max(5, min(RENEW_SECONDS, project.lease_seconds // 3)),
        "guideline": guideline,
        **held_up,
    }
    if reservation:
        context["conversation"] = conversation(reservation.comparison.prompt.messages)
    if not request.htmx:
        acknowledged = guideline and held_up["acknowledged"] == guideline.pk
        news = _guideline_news(request, project, guideline) if reservation and not acknowledged else {}
        return page(request, "label/page.html", project, **context, **news)
    read = request.POST.get("guideline", "")
    context |= {
        "project": project,
        "oob": True,
        "announcement": f"{done} {_announce(reservation, state)}".strip(),
        # The panel is sent again only when the text changed under somebody's hands.
        "guidelines_new": bool(reservation and guideline and read and read != str(guideline.number)),
        "guidelines_changed": True,
    }
    return render(request, "label/task.html", context)


def _guideline_news(request: HttpRequest, project: Project, guideline) -> dict:
    """Whether the panel opens by itself: at the first comparison, and when the text changed since the last one."""
    last = (
        Judgment.objects.filter(annotator=request.user, comparison__project=project)
        .order_by("-created_at")
        .values_list("guideline_id", flat=True)
        .first()
    )
    changed = bool(guideline and last and last != guideline.pk)
    return {"guidelines_new": bool(guideline) and last != guideline.pk, "guidelines_changed": changed}


def _announce(reservation: Reservation | None, state: QueueState) -> str:
    if reservation:
        return f"Next comparison. {state.judged} done."
    if state.reserved_by_others:
        return "Nothing free at the moment; this page looks again by itself."
    return "Nothing left to compare."
