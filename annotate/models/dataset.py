"""An immutable snapshot of a project's data that a paper can cite."""

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _

from annotate.models.background import BackgroundWork


class Dataset(BackgroundWork):
    """Rows frozen at one moment. The lines lie in `DATASETS_DIR/<sha256>.jsonl`; the row says what they are.

    Equal content has an equal `sha256`, whoever makes the snapshot and whenever. A number, a digest and final `rows` it
    has when it is ready; `rows` until then are those that are written. One that turned out to be what another one is
    already becomes a pointer to it, `same_as`, for those who were told its id.
    """

    class Kind(models.TextChoices):
        PREFERENCES = "preferences", _("Preferences")
        DEMONSTRATIONS = "demonstrations", _("Demonstrations")
        COMPARISONS = "comparisons", _("Comparisons")
        PROMPTS = "prompts", _("Prompts")
        JUDGMENTS = "judgments", _("Judgments")

    project = models.ForeignKey("annotate.Project", on_delete=models.CASCADE, related_name="datasets")
    kind = models.CharField(max_length=16, choices=Kind.choices)
    options = models.JSONField(default=dict, help_text="Which rows were asked for, as lines.py takes it.")
    number = models.PositiveIntegerField(null=True)
    rows = models.PositiveIntegerField(default=0)
    sha256 = models.CharField(max_length=64, blank=True)
    same_as = models.ForeignKey("self", null=True, on_delete=models.CASCADE, related_name="+")
    facts = models.JSONField(
        default=dict, help_text="How the rows were made: which votes count, how many were read, what was left out."
    )
    note = models.CharField(max_length=200, blank=True)
    created_by = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, on_delete=models.SET_NULL, related_name="+")
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta(BackgroundWork.Meta):
        abstract = False
        ordering = ["project", "-id"]
        constraints = [
            *BackgroundWork.Meta.constraints,
            models.UniqueConstraint(fields=["project", "kind", "number"], name="dataset_number_once_a_kind"),
            models.CheckConstraint(
                condition=Q(state="ready", same_as__isnull=True, number__isnull=False) & ~Q(sha256="")
                | (~Q(state="ready") | Q(same_as__isnull=False)) & Q(number__isnull=True, sha256=""),
                name="dataset_ready_has_its_rows",
            ),
            # Asked for twice, it is made once.
            models.UniqueConstraint(
                fields=["project", "kind", "options", "note"],
                condition=~Q(state="ready"),
                name="dataset_asked_for_once",
            ),
        ]

    def __str__(self):
        return f"{self.project.slug} {self.kind} {self.number or self.state}"
