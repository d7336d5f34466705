"""How far a project's judgments can be trusted: agreement, people, what pulls votes, whose responses win."""

from django.http import HttpRequest, HttpResponse

from annotate.models import Project
from annotate.quality import panels, selectors
from annotate.quality.bias import FEWEST_VOTES
from annotate.quality.bias_panel import TITLES, people_bias, project_bias
from annotate.web.common import RESEARCHER, page, project_view


@project_view(RESEARCHER)
def quality(request: HttpRequest, project: Project) -> HttpResponse:
    """All of it, computed from the judgments of this moment."""
    responses = selectors.read_responses(project)
    table = selectors.read_judgments(project, responses)
    if not len(table):
        return page(request, "quality/empty.html", project)
    choices = table.choices(responses.length, responses.markdown)
    rows = panels.agreement_rows(table)
    context = {
        "judgments": len(table),
        "annotators": len(table.names),
        "comparisons": int(table.comparison.max()) + 1,
        "reading": panels.reading_of(rows[0].alpha),
        "overall": rows[0],
        "agreement": rows,
        "guidelines": panels.guideline_rows(table),
        "people": panels.people_rows(table),
        "pairs": panels.pair_rows(table),
        "bias": project_bias(choices),
        "people_bias": people_bias(choices, table.names),
        "pull_titles": TITLES.values(),
        "fewest_votes": FEWEST_VOTES,
        "contestants": panels.contestant_rows(table, responses.generators),
    }
    return page(request, "quality/index.html", project, **context)
