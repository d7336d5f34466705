"""What people said: judgments with their earlier versions, what they say about single responses, and skips."""

import enum

from django.conf import settings
from django.db import models
from django.db.models import F, Q
from django.utils.translation import gettext_lazy as _


class Rating(models.IntegerChoices):
    """What was clicked on a pair; A is the left response. EQUAL and BOTH_BAD are there if the project allows them."""

    EQUAL = 0, _("Equal")
    A_BETTER = 1, _("A is better")
    A_SLIGHTLY_BETTER = 2, _("A is slightly better")
    B_SLIGHTLY_BETTER = 3, _("B is slightly better")
    B_BETTER = 4, _("B is better")
    BOTH_BAD = 5, _("Both are bad")


class Criterion(models.IntegerChoices):
    """A verdict on one criterion (helpful, truthful or harmless); null where it was not given."""

    A_BETTER = 1, "A"
    EQUAL = 0, "="
    B_BETTER = -1, "B"


class Confidence(models.IntegerChoices):
    """How sure a person is of their own verdict."""

    GUESS = 1, _("A guess")
    FAIRLY = 2, _("Fairly sure")
    CERTAIN = 3, _("Certain")


class Flag(enum.IntFlag):
    """What is wrong with a response by itself: the metadata of Ouyang et al. 2022, table 3 of the appendix."""

    FAILS_INSTRUCTION = enum.auto()
    UNSUITABLE_FOR_ASSISTANT = enum.auto()
    HALLUCINATION = enum.auto()
    SEXUAL = enum.auto()
    VIOLENT = enum.auto()
    ENCOURAGES_HARM = enum.auto()
    DENIGRATES_GROUP = enum.auto()
    HARMFUL_ADVICE = enum.auto()
    OPINION = enum.auto()
    MORAL_JUDGMENT = enum.auto()


FLAG_LABELS = {
    Flag.FAILS_INSTRUCTION: _("Fails to follow the instruction"),
    Flag.UNSUITABLE_FOR_ASSISTANT: _("Unsuitable for a customer assistant"),
    Flag.HALLUCINATION: _("Hallucination: made-up facts"),
    Flag.SEXUAL: _("Sexual content"),
    Flag.VIOLENT: _("Violent content"),
    Flag.ENCOURAGES_HARM: _("Encourages violence, abuse or self-harm"),
    Flag.DENIGRATES_GROUP: _("Denigrates a group of people"),
    Flag.HARMFUL_ADVICE: _("Gives harmful advice"),
    Flag.OPINION: _("Expresses an opinion"),
    Flag.MORAL_JUDGMENT: _("Expresses a moral judgment"),
}
ALL_FLAGS = sum(Flag)
MOST_RESPONSES = 9
# A judgment that may say which response to prefer: a pair with a winner, or a ranking.
DECIDED = Q(winner__isnull=False) | Q(rating__isnull=True)
# What the names of users begin with that stand for a model's verdicts.
JUDGE_PREFIX = "judge:"


def by_people(judgment: str = "", *, of: str = "annotator") -> Q:
    """Judgments that no model made; `judgment` is the way to them, such as "judgments__", and `of` their author."""
    return ~Q(**{f"{judgment}{of}__username__startswith": JUDGE_PREFIX})


def ordinary() -> Q:
    """Judgments that answer no gold question. The votes that a question was made of are as ordinary as any: to leave
    them out because they agreed would make all others look as if they agreed less.
    """
    return Q(comparison__gold__isnull=True) | Q(created_at__lt=F("comparison__gold__created_at"))


# Given on a page of this site, on a pair of the queue or in a chat: imported votes were never shown, and judgments that
# moved here have an origin.
MADE_HERE = Q(shown_at__isnull=False, origin__isnull=True)

_OF_A_PAIR = Q(rating__isnull=False, left__isnull=False, right__isnull=False)
_OF_A_RANKING = Q(rating__isnull=True, left__isnull=True, right__isnull=True, winner__isnull=True)


class Judgment(models.Model):
    """One person's verdict on one comparison, with the order in which it was shown.

    On a pair `left` is A, `right` is B, and `rating` says which is better. On a ranking these are null, and the ranks
    stand in its assessments, a row a response. What was said before an edit is kept as a JudgmentVersion.
    """

    comparison = models.ForeignKey("annotate.Comparison", on_delete=models.CASCADE, related_name="judgments")
    annotator = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="judgments")
    # Null for imported votes, and for an extra: a late submit for which no slot was left.
    slot = models.OneToOneField("annotate.Slot", null=True, on_delete=models.RESTRICT, related_name="judgment")
    # Null for imported votes. One judgment a reservation: the same submit twice is stored once.
    reservation = models.OneToOneField(
        "annotate.Reservation", null=True, on_delete=models.RESTRICT, related_name="judgment"
    )
    left = models.ForeignKey("annotate.Response", null=True, on_delete=models.RESTRICT, related_name="+")
    right = models.ForeignKey("annotate.Response", null=True, on_delete=models.RESTRICT, related_name="+")
    rating = models.PositiveSmallIntegerField(null=True, choices=Rating.choices)
    winner = models.ForeignKey("annotate.Response", null=True, on_delete=models.RESTRICT, related_name="+")
    helpful = models.SmallIntegerField(null=True, blank=True, choices=Criterion.choices)
    truthful = models.SmallIntegerField(null=True, blank=True, choices=Criterion.choices)
    harmless = models.SmallIntegerField(null=True, blank=True, choices=Criterion.choices)
    confidence = models.PositiveSmallIntegerField(null=True, blank=True, choices=Confidence.choices)
    note = models.TextField(blank=True)
    edited = models.TextField(blank=True, help_text="The better answer as this person improved it.")
    guideline = models.ForeignKey("annotate.GuidelineVersion", null=True, on_delete=models.RESTRICT)
    renderer = models.PositiveSmallIntegerField(null=True, help_text="Version of the renderer that made the page.")
    shown_at = models.DateTimeField(null=True)
    seconds = models.FloatField(null=True, help_text="Time from showing the pair to submitting it.")
    active_seconds = models.FloatField(null=True, help_text="Of these, the time in which the page was worked with.")
    version = models.PositiveSmallIntegerField(default=1)
    created_at = models.DateTimeField()
    changed_at = models.DateTimeField(null=True, help_text="When this version was given, after the first.")
    # Of a judgment that was exported elsewhere and imported here (datasets/moving.py): what has no row in this project.
    origin = models.JSONField(null=True)
    # Set on the row that `submit_judgment` returns where it stood already and says something else than what was sent.
    said_otherwise = False

    class Meta:
        ordering = ["id"]
        constraints = [
            models.UniqueConstraint(fields=["comparison", "annotator"], name="judgment_one_a_person"),
            models.CheckConstraint(condition=_OF_A_PAIR | _OF_A_RANKING, name="judgment_of_a_pair_or_a_ranking"),
            models.CheckConstraint(condition=Q(rating__gte=0) & Q(rating__lte=5), name="judgment_rating_known"),
            models.CheckConstraint(condition=~Q(left=F("right")), name="judgment_of_two_responses"),
            models.CheckConstraint(
                condition=Q(rating__isnull=True)
                | Q(rating__in=[0, 5], winner__isnull=True)
                | Q(rating__in=[1, 2], winner=F("left"))
                | Q(rating__in=[3, 4], winner=F("right")),
                name="judgment_winner_follows_rating",
            ),
            *[
                models.CheckConstraint(
                    condition=Q(**{f"{name}__isnull": True}) | Q(**{f"{name}__in": [-1, 0, 1]}),
                    name=f"judgment_{name}_known",
                )
                for name in ("helpful", "truthful", "harmless")
            ],
            models.CheckConstraint(
                condition=Q(confidence__isnull=True) | Q(confidence__in=[1, 2, 3]), name="judgment_confidence_known"
            ),
            models.CheckConstraint(
                condition=Q(seconds__isnull=True) | Q(seconds__gte=0), name="judgment_seconds_not_negative"
            ),
            models.CheckConstraint(
                condition=Q(active_seconds__isnull=True)
                | Q(seconds__isnull=False, active_seconds__gte=0, active_seconds__lte=F("seconds")),
                name="judgment_active_seconds_within_seconds",
            ),
            models.CheckConstraint(
                condition=Q(version=1, changed_at__isnull=True) | Q(version__gt=1, changed_at__isnull=False),
                name="judgment_later_versions_have_a_time",
            ),
        ]
        indexes = [models.Index(fields=["annotator", "-created_at"], name="judgment_of_annotator")]

    def __str__(self):
        return f"{self.annotator} on {self.comparison}: {self.get_rating_display() or 'ranked'}"

    @property
    def is_ranking(self) -> bool:
        return self.rating is None

    @property
    def shown(self) -> list:
        """The responses in the order shown: A, B, …"""
        if self.is_ranking:
            return [assessment.response for assessment in self.assessments.all()]
        return [self.left, self.right]


class AssessmentManager(models.Manager):
    """Assessments are read with their responses."""

    def get_queryset(self):
        return super().get_queryset().select_related("response")


class Assessment(models.Model):
    """What a judgment says about one response by itself. `place` is where it was shown: 0 is A, 1 is B, …

    A ranking has one for each of its responses, with its `rank`: 1 is the best, tied responses share one. A pair has
    one where flags or an overall score were given.
    """

    judgment = models.ForeignKey(Judgment, on_delete=models.CASCADE, related_name="assessments")
    response = models.ForeignKey("annotate.Response", on_delete=models.RESTRICT, related_name="+")
    place = models.PositiveSmallIntegerField()
    rank = models.PositiveSmallIntegerField(null=True)
    overall = models.PositiveSmallIntegerField(null=True, help_text="Quality from 1 to 7.")
    flags = models.PositiveSmallIntegerField(default=0, help_text="The sum of its Flags.")

    objects = AssessmentManager()

    class Meta:
        ordering = ["judgment", "place"]
        constraints = [
            models.UniqueConstraint(fields=["judgment", "place"], name="assessment_place_once"),
            models.UniqueConstraint(fields=["judgment", "response"], name="assessment_response_once"),
            models.CheckConstraint(condition=Q(place__lt=MOST_RESPONSES), name="assessment_place_known"),
            models.CheckConstraint(
                condition=Q(rank__isnull=True) | Q(rank__gte=1, rank__lte=MOST_RESPONSES), name="assessment_rank_known"
            ),
            models.CheckConstraint(
                condition=Q(overall__isnull=True) | Q(overall__gte=1, overall__lte=7), name="assessment_overall_1_to_7"
            ),
            models.CheckConstraint(condition=Q(flags__gte=0, flags__lte=ALL_FLAGS), name="assessment_flags_known"),
        ]

    def __str__(self):
        return f"{self.judgment}, response {self.place}"


class JudgmentVersion(models.Model):
    """What a judgment said before it was edited. `said` is the JSON of annotate.labeling.verdict.Verdict."""

    judgment = models.ForeignKey(Judgment, on_delete=models.CASCADE, related_name="earlier_versions")
    number = models.PositiveSmallIntegerField()
    said = models.JSONField()
    guideline = models.ForeignKey("annotate.GuidelineVersion", null=True, on_delete=models.RESTRICT)
    renderer = models.PositiveSmallIntegerField(null=True)
    given_at = models.DateTimeField()

    class Meta:
        ordering = ["judgment", "number"]
        constraints = [
            models.UniqueConstraint(fields=["judgment", "number"], name="judgment_version_number_once"),
            models.CheckConstraint(condition=Q(number__gte=1), name="judgment_version_from_1"),
        ]

    def __str__(self):
        return f"{self.judgment}, version {self.number}"


class Skip(models.Model):
    """A person declined to judge a comparison; it is not offered to them again and its slot is open for others."""

    class Reason(models.TextChoices):
        UNCLEAR_PROMPT = "unclear_prompt", _("The prompt makes no sense")
        NEED_EXPERTISE = "need_expertise", _("Judging needs knowledge I do not have")
        TOO_DISTURBING = "too_disturbing", _("I do not want to read this")
        BROKEN = "broken", _("Something is displayed wrongly")
        OTHER = "other", _("Another reason")

    comparison = models.ForeignKey("annotate.Comparison", on_delete=models.CASCADE, related_name="skips")
    annotator = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="skips")
    reason = models.CharField(max_length=20, choices=Reason.choices)
    note = models.TextField(blank=True)
    created_at = models.DateTimeField()

    class Meta:
        ordering = ["id"]
        constraints = [models.UniqueConstraint(fields=["comparison", "annotator"], name="skip_one_a_person")]

    def __str__(self):
        return f"{self.annotator} skipped {self.comparison}"
