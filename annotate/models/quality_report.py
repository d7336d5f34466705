"""The figures of a project's quality page, as they were last computed."""

from django.db import models
from django.db.models import Q


class QualityReport(models.Model):
    """`figures` are those of the judgments that `key` stands for; a new key makes them out of date, not wrong.

    `asked_at`: since when new figures are waited for; null where nobody waits.
    """

    project = models.OneToOneField(
        "annotate.Project", primary_key=True, on_delete=models.CASCADE, related_name="quality_report"
    )
    key = models.CharField(max_length=100, blank=True)
    figures = models.JSONField(null=True)
    computed_at = models.DateTimeField(null=True)
    asked_at = models.DateTimeField(null=True)

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=Q(computed_at__isnull=True) | ~Q(key=""), name="quality_report_figures_have_a_key"
            ),
        ]

    def __str__(self):
        return f"quality of {self.project}"
