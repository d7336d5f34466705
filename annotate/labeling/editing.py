"""People change their last judgments while the project is open; what a judgment said before is kept."""

from datetime import datetime

from django.db import transaction
from django.db.models import QuerySet
from django.utils import timezone
from django.utils.translation import gettext as _

from annotate.errors import UserError
from annotate.labeling import order
from annotate.labeling.locks import lock_annotator
from annotate.labeling.standing import GUIDELINES_CHANGED, standing_of
from annotate.labeling.verdict import Verdict, read_verdict
from annotate.models import Assessment, GoldQuestion, Judgment, JudgmentVersion, Project
from annotate.models.judgment import MADE_HERE
from annotate.projects import current_guidelines
from annotate.quality import gold

# The right answer to a question of the test is shown after it. Hidden gold questions may be changed like any pair, for
# nobody knows which ones they are.
QUALIFICATION = GoldQuestion.Purpose.QUALIFICATION


def own_judgments(project: Project, user) -> QuerySet[Judgment]:
    """What `user` judged in `project`, the newest first, imported votes left out."""
    own = Judgment.objects.filter(MADE_HERE, annotator=user, comparison__project=project)
    return own.order_by("-created_at", "-id")


def editable(project: Project, user) -> set[int]:
    """Ids of the judgments that `user` may change: the last ones, while the project is open."""
    if project.archived:
        return set()
    last = own_judgments(project, user).values_list("pk", "comparison__gold__purpose")[: project.edit_last]
    return {pk for pk, purpose in last if purpose != QUALIFICATION}


def editable_judgment(project: Project, user, judgment_id: int) -> Judgment:
    """One's own judgment with its texts. Raises UserError where there is none, or where it stands by now."""
    judgment = (
        own_judgments(project, user)
        .filter(pk=judgment_id)
        .select_related("comparison__prompt", "left", "right", "guideline")
        .prefetch_related("assessments")
        .first()
    )
    if judgment is None:
        raise UserError(_("You have no such judgment in this project."))
    if GoldQuestion.objects.filter(comparison=judgment.comparison_id, purpose=QUALIFICATION).exists():
        raise UserError(_("The answers of the test stand as they were given."))
    if project.archived:
        raise UserError(_("This project is closed, so its judgments stand as they are."))
    newer = own_judgments(project, user).filter(created_at__gt=judgment.created_at)
    if newer.count() >= project.edit_last:
        counts = {"count": project.edit_last}
        raise UserError(_("Only your last %(count)d judgments can be changed; this one stands.") % counts)
    return judgment


@transaction.atomic
def edit_judgment(
    project: Project, user, judgment_id: int, *, renderer: int | None = None, now: datetime | None = None, **said
) -> Judgment:
    """A new version of one's own judgment; `said` is what `read_verdict` takes. What it said before is kept.

    Saying the same again changes nothing, so an edit that is sent twice is one new version. The times of the first
    version stay, because they measure how the pair was judged.
    Raises UserError for a judgment that may not be changed or a wrong value, PermissionDenied as `submit_judgment`.
    """
    membership = lock_annotator(user, project)
    judgment = editable_judgment(project, user, judgment_id)
    shown = judgment.shown
    verdict, before = read_verdict(project, shown, **said), Verdict.of(judgment)
    if verdict == before:
        return judgment
    JudgmentVersion.objects.create(
        judgment=judgment,
        number=judgment.version,
        said=before.as_json(),
        guideline=judgment.guideline,
        renderer=judgment.renderer,
        given_at=judgment.changed_at or judgment.created_at,
    )
    columns = verdict.columns(shown)
    for column, value in columns.items():
        setattr(judgment, column, value)
    judgment.version += 1
    judgment.changed_at = now or timezone.now()
    # Who has changed guidelines still before them judged by those that they know.
    unread = membership and standing_of(project, membership).state == GUIDELINES_CHANGED
    known = unread and (membership.acknowledged or judgment.guideline)
    judgment.guideline = known or current_guidelines(project)
    judgment.renderer = renderer
    # Not the whole row: an admin may just have given it a slot.
    judgment.save(update_fields=[*columns, "version", "changed_at", "guideline", "renderer"])
    judgment.assessments.all().delete()
    Assessment.objects.bulk_create(verdict.assessments(judgment, shown))
    order.judged(project, judgment.comparison)
    gold.check(judgment, now=judgment.changed_at)
    return judgment
