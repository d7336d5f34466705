"""The figures of a project's quality page, as they were last computed."""

from django.db import models
from django.db.models import Q

from annotate.models.background import BackgroundWork


class QualityReport(BackgroundWork):
    """`figures` are those of the judgments that `key` stands for; a new key makes them out of date, not wrong.

    They stand while new ones are being made, and where those failed.
    """

    project = models.OneToOneField(
        "annotate.Project", primary_key=True, on_delete=models.CASCADE, related_name="quality_report"
    )
    key = models.CharField(max_length=100, blank=True)
    figures = models.JSONField(null=True)
    computed_at = models.DateTimeField(null=True)

    class Meta(BackgroundWork.Meta):
        abstract = False
        constraints = [
            *BackgroundWork.Meta.constraints,
            models.CheckConstraint(
                condition=Q(computed_at__isnull=True) | ~Q(key=""), name="quality_report_figures_have_a_key"
            ),
        ]

    def __str__(self):
        return f"quality of {self.project}"
