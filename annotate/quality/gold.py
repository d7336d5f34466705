"""How people fare against gold questions and in the qualification test, and the thresholds that follow from it.

Nothing is stored about an answer: whether a judgment matches follows from it and the question's expected response. So a
question that is taken out of service stops counting against anybody, and checking twice gives what checking once gives.
"""

import math
from dataclasses import dataclass
from datetime import datetime
from statistics import median

from django.db.models import Count, F, Q, QuerySet
from django.db.models.functions import Coalesce
from django.utils import timezone

from annotate.labeling.admission import pause_for
from annotate.models import GoldQuestion, Judgment, Membership, Project, Skip
from annotate.models.judgment import Rating

GOLD, QUALIFICATION = GoldQuestion.Purpose.GOLD, GoldQuestion.Purpose.QUALIFICATION
# Fewer answers say nothing about a person: with three of four known, one slip is all it takes to fall to one half.
FEWEST_ANSWERS = 4
# Somebody at the threshold does as badly as this after a given number of answers with a lower chance than this. It is
# looked at after every answer, so within 40 of them the chance to be paused is higher: 11 to 15 % for somebody at the
# threshold, 1 to 7 % five points above it, at most 1.1 % fifteen points above (tests/quality/test_gold_thresholds.py).
BY_CHANCE = 0.05

# Whether a judgment is what its gold question expects; “equal” where no response is expected.
MATCHES = Q(winner=F("comparison__gold__expected")) | Q(
    comparison__gold__expected__isnull=True, rating=Rating.EQUAL
)  # fmt: skip


@dataclass(frozen=True)
class Record:
    """Of `answered` questions `matched` came out as expected; a skipped question of the test is answered, unmatched."""

    matched: int
    answered: int

    @property
    def share(self) -> float | None:
        return self.matched / self.answered if self.answered else None

    def is_below(self, threshold: float) -> bool:
        """Whether this person's true share is below `threshold`, as far as so many answers can tell.

        The exact binomial test: the upper end of the one-sided 95 % interval of Clopper & Pearson (1934) lies below it.
        """
        if self.answered < FEWEST_ANSWERS:
            return False
        return _chance_of_at_most(self.matched, self.answered, threshold) < BY_CHANCE


def check(answer: Judgment | Skip, *, now: datetime | None = None) -> None:
    """After a judgment or a skip: ends the test if this was its last question, pauses who is beyond a threshold.

    In the transaction of the answer, or any time later: it looks at what is stored and changes only the membership, by
    conditional updates. Without a test or thresholds it asks the database for nothing but the comparison's project.
    """
    project = answer.comparison.project
    if project.qualification_pass is None and project.pause_below_gold is None and project.pause_below_seconds is None:
        return
    membership = project.memberships.filter(user=answer.annotator_id, role=Membership.Role.ANNOTATOR).first()
    if membership is None or membership.paused_at:
        return
    now = now or timezone.now()
    if project.qualification_pass is not None and membership.qualified_at is None:
        _end_test(project, membership, now)
    elif crossed := _crossed(project, membership):
        pause_for(membership, crossed, now)


def gold_record(
    project: Project, user_id: int, since: datetime | None = None, *, until: datetime | None = None
) -> Record:
    """The answers of a person to the gold questions in service, after `since` and before `until` where one is given."""
    answers = _answers(project, user_id, GOLD, since)
    return _record(answers.filter(created_at__lt=until) if until else answers)


def gold_records(project: Project) -> dict[int, Record]:
    """The same of everybody who answered any, by their primary keys, in one query."""
    answers = _answers_of_all(project, GOLD).order_by().values_list("annotator")
    counted = answers.annotate(matched=Count("pk", filter=MATCHES), answered=Count("pk"))
    return {user: Record(matched, answered) for user, matched, answered in counted}


def test_record(project: Project, membership: Membership) -> Record:
    """The present attempt at the qualification test."""
    user, since = membership.user_id, membership.counted_since
    judged = _record(_answers(project, user, QUALIFICATION, since))
    skipped = Skip.objects.filter(
        annotator=user, comparison__project=project, comparison__gold__purpose=QUALIFICATION,
        comparison__gold__active=True,
    )  # fmt: skip
    if since:
        skipped = skipped.filter(created_at__gt=since)
    return Record(judged.matched, judged.answered + skipped.count())


def questions_ahead(project: Project, user_id: int) -> int:
    """How many questions of the test this person has not met: what another attempt can be made of."""
    questions = GoldQuestion.objects.filter(comparison__project=project, purpose=QUALIFICATION, active=True)
    mine = Q(comparison__judgments__annotator=user_id) | Q(comparison__skips__annotator=user_id)
    return questions.count() - questions.filter(mine).distinct().count()


def test_answers(project: Project, user_id: int) -> QuerySet[Judgment]:
    """What a person answered in the test, in that order, each with `matches` and its question's explanation."""
    answers = Judgment.objects.filter(
        annotator=user_id, comparison__project=project, comparison__gold__purpose=QUALIFICATION,
        created_at__gte=F("comparison__gold__created_at"),
    )  # fmt: skip
    return (
        answers.annotate(matches=MATCHES)
        .select_related("comparison__gold__expected", "comparison__prompt", "left", "right")
        .order_by("created_at", "id")
    )


def _end_test(project: Project, membership: Membership, now: datetime) -> None:
    attempt = test_record(project, membership)
    asked = min(project.qualification_questions, attempt.answered + questions_ahead(project, membership.user_id))
    if not attempt.answered or attempt.answered < asked:
        return
    # A share of 0.8 of five questions is four of them, whatever 0.8 · 5 is in binary.
    if attempt.matched >= project.qualification_pass * attempt.answered - 1e-9:
        Membership.objects.filter(pk=membership.pk, qualified_at__isnull=True).update(qualified_at=now)
    else:
        pause_for(membership, Membership.Pause.TEST, now)


def _crossed(project: Project, membership: Membership) -> str | None:
    """Which threshold this person has crossed, looking at no more than the last `pause_after` judgments for speed."""
    since = membership.counted_since
    judged = Judgment.objects.filter(annotator=membership.user_id, comparison__project=project)
    if since:
        judged = judged.filter(created_at__gt=since)
    last = list(
        judged.order_by("-created_at").values_list(Coalesce("active_seconds", "seconds"), flat=True)
        [: max(1, project.pause_after)]
    )  # fmt: skip
    if len(last) < project.pause_after:
        return None
    known = [seconds for seconds in last if seconds is not None]
    if project.pause_below_seconds is not None and known and median(known) < project.pause_below_seconds:
        return Membership.Pause.HURRY
    threshold = project.pause_below_gold
    if threshold is not None and gold_record(project, membership.user_id, since).is_below(threshold):
        return Membership.Pause.GOLD
    return None


def _chance_of_at_most(matched: int, answered: int, share: float) -> float:
    """P(X ≤ matched) where X is binomial of `answered` and `share`, by logarithms: coefficients outgrow floats."""
    if share >= 1:
        return float(matched >= answered)
    yes, no = math.log(share), math.log1p(-share)
    ways = [
        math.lgamma(answered + 1) - math.lgamma(hits + 1) - math.lgamma(answered - hits + 1)
        for hits in range(matched + 1)
    ]
    return math.fsum(math.exp(way + hits * yes + (answered - hits) * no) for hits, way in enumerate(ways))


def _answers(project: Project, user_id: int, purpose: str, since: datetime | None) -> QuerySet[Judgment]:
    """This person's judgments of the questions in service."""
    answers = _answers_of_all(project, purpose).filter(annotator=user_id)
    return answers.filter(created_at__gt=since) if since else answers


def _answers_of_all(project: Project, purpose: str) -> QuerySet[Judgment]:
    """Judgments of the questions in service by the people who met them, those left out that a question was made of."""
    return Judgment.objects.filter(
        comparison__project=project, comparison__gold__purpose=purpose, comparison__gold__active=True,
        reservation__isnull=False, created_at__gte=F("comparison__gold__created_at"),
    )  # fmt: skip


def _record(answers: QuerySet[Judgment]) -> Record:
    return Record(**answers.aggregate(matched=Count("pk", filter=MATCHES), answered=Count("pk")))
