"""The model registry: every policy and reward model, where it lies and what it was made from."""

from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _


class ModelVersion(models.Model):
    """`source` is a hub id or a directory (absolute, or relative to VAR_DIR). Made by `run`, from `parent`."""

    class Kind(models.TextChoices):
        POLICY = "policy", _("Policy")
        REWARD = "reward", _("Reward")

    project = models.ForeignKey("annotate.Project", on_delete=models.CASCADE, related_name="models")
    kind = models.CharField(max_length=8, choices=Kind.choices)
    name = models.CharField(max_length=120)
    source = models.CharField(max_length=500)
    parent = models.ForeignKey("self", null=True, blank=True, on_delete=models.SET_NULL, related_name="children")
    run = models.OneToOneField(
        "annotate.Run", null=True, blank=True, on_delete=models.SET_NULL, related_name="model_made"
    )
    metrics = models.JSONField(default=dict)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["-id"]
        constraints = [
            models.UniqueConstraint(fields=["project", "name"], name="model_name_once_a_project"),
            models.CheckConstraint(condition=Q(kind__in=["policy", "reward"]), name="model_kind_known"),
        ]

    def __str__(self):
        return self.name
