"""How far a project's judgments can be trusted: agreement, people, what pulls votes, whose responses win."""

from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect

from annotate.models import Project
from annotate.quality.report import figures_for, try_again
from annotate.web.common import RESEARCHER, page, project_view


@project_view(RESEARCHER)
def quality(request: HttpRequest, project: Project) -> HttpResponse:
    """The figures as they stand, with their age; while they are computed the page looks again by itself.

    Sent to, it asks once more for figures that could not be computed.
    """
    if request.method == "POST":
        try_again(project)
        return redirect("quality", project.slug)
    figures = figures_for(project)
    if not figures.judgments or (figures.content and not figures.content["judgments"]):
        return page(request, "quality/empty.html", project)
    template = "quality/figures.html" if request.htmx else "quality/index.html"
    return page(request, template, project, figures=figures, **(figures.content or {}))
