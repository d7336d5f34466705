"""How far a project's judgments can be trusted: agreement, people, what pulls votes, whose responses win."""

from django.http import HttpRequest, HttpResponse

from annotate.models import Project
from annotate.quality import panels, selectors
from annotate.quality.bias_panel import people_bias, project_bias
from annotate.web.common import RESEARCHER, page, project_view


@project_view(RESEARCHER)
def quality(request: HttpRequest, project: Project) -> HttpResponse:
    """All of it, computed from the judgments of this moment."""
    responses = selectors.read_responses(project)
    table = selectors.read_judgments(project, responses)
    if not len(table):
        return page(request, "quality/empty.html", project)
    verdicts = table.verdicts()
    choices = table.choices(responses.length, responses.markdown)
    rows = panels.agreement_rows(table)
    people = panels.people_rows(table)
    pairs = panels.pair_rows(verdicts)
    biased = people_bias(choices)
    context = {
        "judgments": len(table),
        "people_total": len(table.annotator_ids),
        "comparisons_total": verdicts.items,
        "reading": panels.reading_of(rows[0].alpha),
        "overall": rows[0],
        "agreement": rows,
        "guidelines": panels.guideline_rows(table),
        "people": people,
        "pairs": pairs,
        "bias": project_bias(choices),
        "people_bias": biased,
        "contestants": panels.contestant_rows(table, responses.generators),
        "names": _names(table, people, pairs),
    }
    return page(request, "quality/index.html", project, **context)
