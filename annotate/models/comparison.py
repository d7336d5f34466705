"""What is judged: a prompt, its responses, and a comparison of two of them."""

import hashlib
import json

from django.db import models
from django.db.models import F, Q


def text_digest(value) -> str:
    """SHA-256 of a text or of a list of chat messages in canonical JSON: equal content, equal digest."""
    return hashlib.sha256(json.dumps(value, ensure_ascii=False, sort_keys=True).encode()).hexdigest()


class Prompt(models.Model):
    """A chat that ends with a turn to answer: `messages` is `[{"role", "content"}, …]`."""

    project = models.ForeignKey("annotate.Project", on_delete=models.CASCADE, related_name="prompts")
    messages = models.JSONField()
    digest = models.CharField(max_length=64, editable=False)
    in_pool = models.BooleanField(
        default=False, help_text="Uploaded as a prompt: policies train on it and answer it in new rounds."
    )
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["id"]
        constraints = [models.UniqueConstraint(fields=["project", "digest"], name="prompt_once_a_project")]

    def __str__(self):
        return self.messages[-1]["content"][:80] if self.messages else ""


class Response(models.Model):
    """One answer to a prompt. `generator` names who wrote it and is never sent to an annotator's browser."""

    prompt = models.ForeignKey(Prompt, on_delete=models.CASCADE, related_name="responses")
    text = models.TextField()
    digest = models.CharField(max_length=64, editable=False)
    generator = models.CharField(max_length=200, blank=True)
    model = models.ForeignKey("annotate.ModelVersion", null=True, blank=True, on_delete=models.SET_NULL)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["id"]
        constraints = [
            models.UniqueConstraint(fields=["prompt", "digest", "generator"], name="response_once_a_generator"),
            models.CheckConstraint(condition=~Q(text=""), name="response_not_empty"),
        ]

    def __str__(self):
        return self.text[:80]


class Comparison(models.Model):
    """Two responses to one prompt that people are asked to compare.

    All pairs of a prompt stay on one side of a split into train and held-out data; those of a `group` as well, where
    one is given: a debate or a document that several prompts share.
    """

    project = models.ForeignKey("annotate.Project", on_delete=models.CASCADE, related_name="comparisons")
    prompt = models.ForeignKey(Prompt, on_delete=models.CASCADE, related_name="comparisons")
    first = models.ForeignKey(Response, on_delete=models.CASCADE, related_name="+")
    second = models.ForeignKey(Response, on_delete=models.CASCADE, related_name="+")
    group = models.CharField(max_length=200, blank=True)
    judgments_wanted = models.PositiveSmallIntegerField()
    round = models.ForeignKey(
        "annotate.Round", null=True, blank=True, on_delete=models.SET_NULL, related_name="comparisons"
    )
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["id"]
        constraints = [
            models.CheckConstraint(condition=~Q(first=F("second")), name="comparison_of_two_different_responses"),
            # The service stores the lower id first, so a pair cannot stand twice with its sides exchanged.
            models.CheckConstraint(condition=Q(first__lt=F("second")), name="comparison_lower_response_first"),
            models.UniqueConstraint(fields=["first", "second"], name="comparison_pair_once"),
            models.CheckConstraint(
                condition=Q(judgments_wanted__gte=0) & Q(judgments_wanted__lte=50), name="comparison_wants_0_to_50"
            ),
        ]

    def __str__(self):
        return f"comparison {self.pk}"
