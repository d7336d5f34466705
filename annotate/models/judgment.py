"""What people said: judgments on the four-way scale, and skips."""

from django.conf import settings
from django.db import models
from django.db.models import F, Q


class Rating(models.IntegerChoices):
    """The four-way scale as clicked; A is the left response. EQUAL only comes from imported votes."""

    EQUAL = 0, "Equal"
    A_BETTER = 1, "A is better"
    A_SLIGHTLY_BETTER = 2, "A is slightly better"
    B_SLIGHTLY_BETTER = 3, "B is slightly better"
    B_BETTER = 4, "B is better"


class Criterion(models.IntegerChoices):
    """A verdict on one criterion (helpful, truthful or harmless); null where it was not given."""

    A_BETTER = 1, "A"
    EQUAL = 0, "="
    B_BETTER = -1, "B"


class Judgment(models.Model):
    """One person's verdict on one comparison, with the order in which it was shown (`left` is A, `right` is B)."""

    comparison = models.ForeignKey("annotate.Comparison", on_delete=models.CASCADE, related_name="judgments")
    annotator = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="judgments")
    # Null for imported votes, and for an extra: a late submit for which no slot was left.
    slot = models.OneToOneField("annotate.Slot", null=True, on_delete=models.RESTRICT, related_name="judgment")
    # Null for imported votes. One judgment a reservation: the same submit twice is stored once.
    reservation = models.OneToOneField(
        "annotate.Reservation", null=True, on_delete=models.RESTRICT, related_name="judgment"
    )
    left = models.ForeignKey("annotate.Response", on_delete=models.RESTRICT, related_name="+")
    right = models.ForeignKey("annotate.Response", on_delete=models.RESTRICT, related_name="+")
    rating = models.PositiveSmallIntegerField(choices=Rating.choices)
    winner = models.ForeignKey("annotate.Response", null=True, on_delete=models.RESTRICT, related_name="+")
    helpful = models.SmallIntegerField(null=True, blank=True, choices=Criterion.choices)
    truthful = models.SmallIntegerField(null=True, blank=True, choices=Criterion.choices)
    harmless = models.SmallIntegerField(null=True, blank=True, choices=Criterion.choices)
    note = models.TextField(blank=True)
    guideline = models.ForeignKey("annotate.GuidelineVersion", null=True, on_delete=models.RESTRICT)
    shown_at = models.DateTimeField(null=True)
    seconds = models.FloatField(null=True, help_text="Time from showing the pair to submitting it.")
    created_at = models.DateTimeField()

    class Meta:
        ordering = ["id"]
        constraints = [
            models.UniqueConstraint(fields=["comparison", "annotator"], name="judgment_one_a_person"),
            models.CheckConstraint(condition=Q(rating__gte=0) & Q(rating__lte=4), name="judgment_rating_known"),
            models.CheckConstraint(condition=~Q(left=F("right")), name="judgment_of_two_responses"),
            models.CheckConstraint(
                condition=Q(rating=0, winner__isnull=True)
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
                condition=Q(seconds__isnull=True) | Q(seconds__gte=0), name="judgment_seconds_not_negative"
            ),
        ]
        indexes = [models.Index(fields=["annotator", "-created_at"], name="judgment_of_annotator")]

    def __str__(self):
        return f"{self.annotator} on {self.comparison}: {self.get_rating_display()}"


class Skip(models.Model):
    """A person declined to judge a comparison; it is not offered to them again and its slot is open for others."""

    class Reason(models.TextChoices):
        UNCLEAR_PROMPT = "unclear_prompt", "The prompt makes no sense"
        NEED_EXPERTISE = "need_expertise", "Judging needs knowledge I do not have"
        TOO_DISTURBING = "too_disturbing", "I do not want to read this"
        BROKEN = "broken", "Something is displayed wrongly"
        OTHER = "other", "Another reason"

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
