"""A prompt with its ideal answer, written by a person: data for supervised fine-tuning."""

from django.conf import settings
from django.db import models
from django.db.models import Q


class Demonstration(models.Model):
    """`completion` is how the assistant should answer `prompt`."""

    prompt = models.ForeignKey("annotate.Prompt", on_delete=models.CASCADE, related_name="demonstrations")
    completion = models.TextField()
    digest = models.CharField(max_length=64, editable=False)
    author = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, on_delete=models.SET_NULL, related_name="+")
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["id"]
        constraints = [
            models.UniqueConstraint(fields=["prompt", "digest"], name="demonstration_once_a_prompt"),
            models.CheckConstraint(condition=~Q(completion=""), name="demonstration_not_empty"),
        ]

    def __str__(self):
        return self.completion[:80]
