"""Writing demonstrations: a prompt and a place for its ideal answer, drafts kept, and what one has written so far."""

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST

from annotate.demonstrations.review import revise
from annotate.demonstrations.selectors import writing_state, written_by
from annotate.demonstrations.writing import next_writing, own_writing, save_draft, skip_writing, submit_demonstration
from annotate.errors import UserError
from annotate.models import Project, Writing
from annotate.web.common import ANNOTATOR, page, project_view
from annotate.web.conversation import conversation

HISTORY_LENGTH = 50


@never_cache
@require_http_methods(["GET", "POST"])
@project_view(ANNOTATOR)
def write(request: HttpRequest, project: Project) -> HttpResponse:
    """GET shows the prompt that this person answers, or reserves the next one; POST stores the answer."""
    return _write(request, project, next_writing, "write")


@never_cache
@require_http_methods(["GET", "POST"])
@project_view(ANNOTATOR)
def own(request: HttpRequest, project: Project) -> HttpResponse:
    """As `write`, with a prompt that this person makes up."""
    return _write(request, project, own_writing, "write_own")


@require_POST
@project_view(ANNOTATOR)
def draft(request: HttpRequest, project: Project) -> HttpResponse:
    """Keeps what is written so far, and answers with how it will look."""
    sent = request.POST
    text = sent.get("completion", "")
    try:
        held = save_draft(
            request.user, sent.get("key", ""), text, own_prompt=sent.get("prompt", ""),
            active_seconds=sent.get("active_seconds"),
        )  # fmt: skip
    except UserError as error:
        return render(request, "write/preview.html", {"refused": error, "text": text}, status=422)
    return render(request, "write/preview.html", {"text": text, "lost": not held})


@require_POST
@project_view(ANNOTATOR)
def skip(request: HttpRequest, project: Project) -> HttpResponse:
    try:
        skip_writing(request.user, request.POST.get("key", ""))
    except UserError as error:
        messages.error(request, error.message)
    return redirect("write", project.slug)


@project_view(ANNOTATOR)
def mine(request: HttpRequest, project: Project) -> HttpResponse:
    """What this person has written, with what reviewers said."""
    return page(
        request, "write/mine.html", project, demonstrations=written_by(project, request.user)[:HISTORY_LENGTH],
        state=writing_state(project, request.user),
    )  # fmt: skip


@never_cache
@project_view(ANNOTATOR)
def revision(request: HttpRequest, project: Project, pk: int) -> HttpResponse:
    """One's own demonstration with its history; a returned one with a form for a better text."""
    demonstration = get_object_or_404(written_by(project, request.user), pk=pk)
    text, error = demonstration.completion, None
    if request.method == "POST":
        text = request.POST.get("completion", "")
        try:
            revise(demonstration, request.user, text, revision=_number(request.POST.get("revision")))
        except UserError as refused:
            error = refused
        else:
            messages.success(request, _("Saved. It waits for review again."))
            return redirect("demonstrations_mine", project.slug)
    return page(
        request, "write/revision.html", project, 422 if error else 200, demonstration=demonstration, text=text,
        error=error, conversation=conversation(demonstration.prompt.messages),
        versions=demonstration.versions.select_related("by").order_by("-revision"),
    )  # fmt: skip


def _write(request: HttpRequest, project: Project, reserve, address: str) -> HttpResponse:
    text, own_prompt, error = "", "", None
    if request.method == "POST":
        text, own_prompt = request.POST.get("completion", ""), request.POST.get("prompt", "")
        try:
            submit_demonstration(
                request.user, request.POST.get("key", ""), text, prompt=own_prompt,
                active_seconds=request.POST.get("active_seconds"),
            )  # fmt: skip
        except UserError as refused:
            error = refused
        else:
            messages.success(request, _("Saved. Somebody else reviews it now."))
            return redirect(address, project.slug)
    try:
        writing = reserve(project, request.user)
    except UserError as refused:
        return page(request, "write/nothing.html", project, closed=refused.message)
    if writing is None:
        state = writing_state(project, request.user)
        return page(request, "write/nothing.html", project, state=state, waiting=_waiting(project, request.user))
    return page(
        request, "write/page.html", project, 422 if error else 200, writing=writing, error=error, address=address,
        text=text or writing.draft, own_prompt=own_prompt or writing.own_prompt,
        conversation=conversation(writing.prompt.messages) if writing.prompt else None,
    )  # fmt: skip


def _waiting(project: Project, user) -> int:
    """Prompts that others are answering right now: one may come back."""
    return Writing.objects.filter(project=project, ended_at=None, prompt__isnull=False).exclude(writer=user).count()


def _number(text: str | None) -> int:
    return int(text) if text and text.isdecimal() and len(text) < 10 else 0
