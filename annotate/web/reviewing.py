"""Review of demonstrations: what waits, and one of them with its history and the three decisions."""

from django.contrib import messages
from django.core.paginator import Paginator
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache

from annotate.access import REVIEWER
from annotate.demonstrations.review import accept, return_to_author
from annotate.demonstrations.selectors import written_in
from annotate.errors import UserError
from annotate.models import Demonstration, Project
from annotate.web.common import page, project_view
from annotate.web.conversation import conversation

PAGE_LENGTH = 50
State = Demonstration.State


@never_cache
@project_view(REVIEWER)
def index(request: HttpRequest, project: Project) -> HttpResponse:
    state = request.GET.get("state", "")
    state = state if state in State.values else State.SUBMITTED.value
    tabs = [(value, label, written_in(project, value).count()) for value, label in State.choices]
    listed = Paginator(written_in(project, state), PAGE_LENGTH).get_page(request.GET.get("page"))
    return page(request, "write/review_list.html", project, page_object=listed, tabs=tabs, state=state)


@never_cache
@project_view(REVIEWER)
def review(request: HttpRequest, project: Project, pk: int) -> HttpResponse:
    """POST decides (`do`: accept or return) on the revision that was read."""
    written = Demonstration.objects.filter(prompt__project=project, writing__isnull=False)
    demonstration = get_object_or_404(written.select_related("prompt__project", "author", "reviewer"), pk=pk)
    sent, error = request.POST, None
    if request.method == "POST":
        try:
            _decide(request, demonstration)
        except UserError as refused:
            error = refused
        else:
            following = written_in(project, State.SUBMITTED).exclude(author=request.user).first()
            if following:
                return redirect("demonstration_review", project.slug, following.pk)
            return redirect("demonstrations", project.slug)
    return page(
        request, "write/review.html", project, 422 if error else 200, demonstration=demonstration, error=error,
        text=sent.get("completion", demonstration.completion), comment=sent.get("comment", ""),
        conversation=conversation(demonstration.prompt.messages),
        decides=demonstration.state == State.SUBMITTED and demonstration.author_id != request.user.pk,
        versions=demonstration.versions.select_related("by").order_by("-revision"),
    )  # fmt: skip


def _decide(request: HttpRequest, demonstration: Demonstration) -> None:
    sent = request.POST
    seen = int(sent["revision"]) if sent.get("revision", "").isdecimal() and len(sent["revision"]) < 10 else 0
    comment = sent.get("comment", "")
    if sent.get("do") == "return":
        return_to_author(demonstration, request.user, revision=seen, comment=comment)
        messages.success(request, _("Returned: its author sees your comment."))
    else:
        accept(demonstration, request.user, revision=seen, text=sent.get("completion"), comment=comment)
        messages.success(request, _("Accepted: it is in the next snapshot."))
