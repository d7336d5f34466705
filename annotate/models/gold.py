"""A gold question: a comparison whose better response is known, so that it tells about the person who judges it."""

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _


class GoldQuestion(models.Model):
    """Its comparison takes no part in the ordinary queue: it wants no judgments, and everybody may judge it once.

    The slot of a person is made when the question is served to them. What is judged here is never training data.
    `expected` is one of the comparison's two responses; null where “equal” is the right answer.
    """

    class Purpose(models.TextChoices):
        GOLD = "gold", _("Hidden among the others")
        QUALIFICATION = "qualification", _("Qualification test")

    comparison = models.OneToOneField("annotate.Comparison", on_delete=models.CASCADE, related_name="gold")
    expected = models.ForeignKey("annotate.Response", null=True, blank=True, on_delete=models.CASCADE, related_name="+")
    explanation = models.TextField(blank=True, help_text="Shown after the answer in the qualification test.")
    purpose = models.CharField(max_length=16, choices=Purpose.choices, default=Purpose.GOLD)
    # What is served no more keeps its judgments, and stays out of the training data.
    active = models.BooleanField(default=True)
    created_by = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, on_delete=models.SET_NULL, related_name="+")
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["id"]
        constraints = [
            models.CheckConstraint(condition=Q(purpose__in=["gold", "qualification"]), name="gold_purpose_known"),
        ]
        indexes = [
            models.Index(fields=["purpose", "comparison"], condition=Q(active=True), name="gold_active"),
        ]

    def __str__(self):
        return f"gold question {self.pk}"
