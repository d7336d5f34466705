"""Adjudication: the final verdict on a comparison that people could not agree about."""

from django.conf import settings
from django.db import models
from django.db.models import Q

from annotate.models.judgment import Rating


class Adjudication(models.Model):
    """One a comparison. `blind_rating` was given before its author saw the votes, `rating` after, with a `reason`.

    A is the comparison's `second` response where `swapped`. Without a `rating` it is only begun; then somebody else may
    begin it anew.
    """

    comparison = models.OneToOneField("annotate.Comparison", on_delete=models.CASCADE, related_name="adjudication")
    author = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="adjudications")
    swapped = models.BooleanField()
    blind_rating = models.PositiveSmallIntegerField(choices=Rating.choices)
    rating = models.PositiveSmallIntegerField(null=True, choices=Rating.choices)
    winner = models.ForeignKey("annotate.Response", null=True, on_delete=models.RESTRICT, related_name="+")
    reason = models.TextField(blank=True)
    begun_at = models.DateTimeField()
    decided_at = models.DateTimeField(null=True)

    class Meta:
        ordering = ["-decided_at", "id"]
        constraints = [
            models.CheckConstraint(
                condition=Q(rating__isnull=True, decided_at__isnull=True, winner__isnull=True)
                | (Q(rating__isnull=False, decided_at__isnull=False) & ~Q(reason="")),
                name="adjudication_decided_with_a_reason",
            ),
            models.CheckConstraint(
                condition=Q(rating__isnull=True)
                | Q(rating__in=[Rating.EQUAL, Rating.BOTH_BAD], winner__isnull=True)
                | Q(rating__in=[1, 2, 3, 4], winner__isnull=False),
                name="adjudication_winner_follows_rating",
            ),
            models.CheckConstraint(condition=Q(blind_rating__lte=5), name="adjudication_blind_rating_known"),
        ]

    def __str__(self):
        return f"adjudication of {self.comparison}"

    @property
    def left(self):
        """The response shown as A."""
        return self.comparison.second if self.swapped else self.comparison.first

    @property
    def right(self):
        return self.comparison.first if self.swapped else self.comparison.second
