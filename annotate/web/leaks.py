"""Responses that tell who wrote them: listed for admins, who serve them or leave them out."""

from django.contrib import messages
from django.core.paginator import Paginator
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods, require_POST

from annotate.errors import UserError
from annotate.labeling.holding import AT_ONCE, check_stored, leaks_of, review_leak, set_hold, unchecked
from annotate.models import Project, Response
from annotate.web.common import ADMIN, page, project_view

PER_PAGE = 25
# Characters around the telling phrase.
AROUND = 160


@require_http_methods(["GET", "POST"])
@project_view(ADMIN)
def leaks(request: HttpRequest, project: Project) -> HttpResponse:
    """GET lists what is to be looked at; POST sets whether it waits for that, or looks through what is unchecked."""
    if request.method == "POST" and "check" in request.POST:
        found = check_stored(project, most=AT_ONCE, user=request.user)
        messages.success(request, _("Checked; in %(count)s responses something was found.") % {"count": found})
        return redirect("leaks", project.slug)
    if request.method == "POST":
        set_hold(project, request.POST.get("hold") == "yes", user=request.user)
        messages.success(request, _("The setting is saved."))
        return redirect("leaks", project.slug)
    found = Paginator(leaks_of(project).select_related("model"), PER_PAGE).get_page(request.GET.get("page"))
    rows = [{"response": response, "excerpt": _excerpt(response)} for response in found]
    return page(
        request, "data/leaks.html", project, rows=rows, page_object=found,
        unchecked=unchecked(project).count(),
    )  # fmt: skip


@require_POST
@project_view(ADMIN)
def review(request: HttpRequest, project: Project, pk: int) -> HttpResponse:
    try:
        response = review_leak(project, pk, request.POST.get("state", ""), user=request.user)
        served = response.leak_state == Response.LeakState.SERVED
        messages.success(request, _("The response is served.") if served else _("The response is left out."))
    except UserError as error:
        messages.error(request, error.message)
    return redirect("leaks", project.slug)


def _excerpt(response: Response) -> tuple[str, str, str]:
    """The text before the first telling phrase, the phrase, and the text behind it."""
    phrase = response.leaks[0] if response.leaks else ""
    start = max(0, response.text.find(phrase))
    end = start + len(phrase)
    before, after = response.text[max(0, start - AROUND) : start], response.text[end : end + AROUND]
    return ("…" if start > AROUND else "") + before, phrase, after + ("…" if end + AROUND < len(response.text) else "")
