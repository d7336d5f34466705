"""An immutable snapshot of a project's data that a paper can cite."""

from django.conf import settings
from django.db import models
from django.utils.translation import gettext_lazy as _


class Dataset(models.Model):
    """Rows frozen at one moment. The lines lie in `DATASETS_DIR/<sha256>.jsonl`; the row says what they are.

    Equal content has an equal `sha256`, whoever makes the snapshot and whenever.
    """

    class Kind(models.TextChoices):
        PREFERENCES = "preferences", _("Preferences")
        DEMONSTRATIONS = "demonstrations", _("Demonstrations")
        COMPARISONS = "comparisons", _("Comparisons")
        PROMPTS = "prompts", _("Prompts")
        JUDGMENTS = "judgments", _("Judgments")

    project = models.ForeignKey("annotate.Project", on_delete=models.CASCADE, related_name="datasets")
    kind = models.CharField(max_length=16, choices=Kind.choices)
    number = models.PositiveIntegerField()
    rows = models.PositiveIntegerField()
    sha256 = models.CharField(max_length=64)
    facts = models.JSONField(
        default=dict, help_text="How the rows were made: which votes count, how many were read, what was left out."
    )
    note = models.CharField(max_length=200, blank=True)
    created_by = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, on_delete=models.SET_NULL, related_name="+")
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["project", "-id"]
        constraints = [
            models.UniqueConstraint(fields=["project", "kind", "number"], name="dataset_number_once_a_kind"),
        ]

    def __str__(self):
        return f"{self.project.slug} {self.kind} {self.number}"
