"""What the labeling page shows about a person's standing: changed guidelines to acknowledge, a pause, the test."""

from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.views.decorators.http import require_POST

from annotate.errors import UserError
from annotate.labeling.admission import acknowledge_guidelines
from annotate.labeling.standing import GUIDELINES_CHANGED, PAUSED, QUALIFYING, standing_of
from annotate.models import GuidelineVersion, Judgment, Membership, Project
from annotate.projects import current_guidelines
from annotate.quality.gold import gold_record, questions_ahead, test_record
from annotate.web.common import ANNOTATOR, project_view
from annotate.web.word_diff import word_diff


def held_up_context(project: Project, user, membership: Membership | None) -> dict:
    """Where this person with this membership stands, and what they have to read if that is not open."""
    where = standing_of(project, membership)
    context = {"standing": where, "acknowledged": membership and membership.acknowledged_id}
    if where.state == GUIDELINES_CHANGED:
        newest, known = current_guidelines(project), _known_version(project, membership)
        context |= {
            "held_up_guideline": newest,
            "known_guideline": known,
            "changes": word_diff(known.text, newest.text) if known else None,
        }
    elif where.state == QUALIFYING:
        answered = test_record(project, membership).answered
        asked = min(project.qualification_questions, answered + questions_ahead(project, user.pk))
        context |= {"test_question": answered + 1, "test_questions": asked}
    elif where.state == PAUSED:
        context["failed_test"] = membership.pause_reason == Membership.Pause.TEST
        if membership.pause_reason == Membership.Pause.GOLD:
            context["gold"] = gold_record(project, user.pk, membership.counted_since)
    return context


def _known_version(project: Project, membership: Membership) -> GuidelineVersion | None:
    """What this person read last: the version they acknowledged, else the one they last judged under."""
    if membership.acknowledged_id:
        return membership.acknowledged
    last = (
        Judgment.objects.filter(annotator=membership.user_id, comparison__project=project, guideline__isnull=False)
        .select_related("guideline")
        .order_by("-created_at")
        .first()
    )
    return last and last.guideline


@require_POST
@project_view(ANNOTATOR)
def acknowledge(request: HttpRequest, project: Project) -> HttpResponse:
    """“I have read this”, of the version that the page showed: one that came since is shown next."""
    try:
        number = int(request.POST.get("number", ""))
        acknowledge_guidelines(project, request.user, number)
    except (ValueError, UserError):
        pass  # The page that follows shows the present version and asks again.
    return redirect("label", project.slug)
