"""The project's comparisons in a table: how many people judge each, which an admin may change for a single one."""

from django.contrib import messages
from django.core.paginator import Paginator
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.http import require_POST

from annotate.errors import UserError
from annotate.labeling.comparisons import set_judgments_wanted
from annotate.labeling.listing import ALL, DIFFERENT, OPEN, listed
from annotate.models import Comparison, Project
from annotate.web.common import ADMIN, RESEARCHER, page, project_view
from training.records import MOST_WANTED

PER_PAGE = 25
SHOWN = [
    (ALL, gettext_lazy("All")),
    (OPEN, gettext_lazy("With an open place")),
    (DIFFERENT, gettext_lazy("With a number of their own")),
]


@project_view(RESEARCHER)
def index(request: HttpRequest, project: Project) -> HttpResponse:
    shown = request.GET.get("show", ALL)
    containing = request.GET.get("q", "").strip()
    rows = Paginator(listed(project, shown=shown, containing=containing), PER_PAGE).get_page(request.GET.get("page"))
    return page(
        request, "data/comparisons.html", project, rows=rows, shown=shown, choices=SHOWN, containing=containing,
        most=MOST_WANTED,
    )  # fmt: skip


@require_POST
@project_view(ADMIN)
def change(request: HttpRequest, project: Project, pk: int) -> HttpResponse:
    """Sets how many people judge this comparison, and goes back to where it was listed."""
    comparison = get_object_or_404(Comparison.objects.select_related("project"), pk=pk, project=project)
    wanted = request.POST.get("wanted", "")
    is_number = wanted.isdecimal() and len(wanted) < 10
    try:
        set_judgments_wanted(comparison, int(wanted) if is_number else -1, user=request.user)
        messages.success(request, _("Saved. Judgments wanted: %(wanted)s.") % {"wanted": wanted})
    except UserError as error:
        messages.error(request, error.message)
    back = redirect("comparisons", project.slug)
    if request.GET:
        back["Location"] += f"?{request.GET.urlencode()}"
    return back
