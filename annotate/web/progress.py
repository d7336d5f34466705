"""Progress: a person's own page, and for admins the project's throughput, cost and projected end."""

from django.http import HttpRequest, HttpResponse

from annotate.labeling.standing import QUALIFYING, standing
from annotate.models import Project
from annotate.quality.gold import test_answers
from annotate.quality.progress import DAYS, FEWEST_SHARED, own_progress, project_progress
from annotate.quality.throughput import FEWEST_DAYS, bars
from annotate.web.common import ADMIN, ANNOTATOR, page, project_view


@project_view(ANNOTATOR)
def mine(request: HttpRequest, project: Project) -> HttpResponse:
    """What one has done oneself, how fast, and how far the others agree; the test's answers once it is over."""
    own = own_progress(project, request.user)
    under_test = standing(project, request.user).state == QUALIFYING
    return page(
        request, "progress/mine.html", project, own=own, bars=bars(own.days), days=DAYS, fewest_shared=FEWEST_SHARED,
        test=[] if under_test else test_answers(project, request.user.pk),
    )  # fmt: skip


@project_view(ADMIN)
def throughput(request: HttpRequest, project: Project) -> HttpResponse:
    progress = project_progress(project)
    return page(
        request, "progress/throughput.html", project, progress=progress, bars=bars(progress.days), days=DAYS,
        fewest_days=FEWEST_DAYS,
    )  # fmt: skip
