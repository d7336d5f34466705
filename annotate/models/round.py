"""A round: a policy answers the project's prompts, and the pairs of its answers go to the queue."""

from django.conf import settings
from django.db import models
from django.db.models import Q


class Round(models.Model):
    """The return path of the loop. `run` is the generation run that writes the responses."""

    project = models.ForeignKey("annotate.Project", on_delete=models.CASCADE, related_name="rounds")
    number = models.PositiveIntegerField()
    policy = models.ForeignKey("annotate.ModelVersion", on_delete=models.PROTECT, related_name="rounds")
    run = models.OneToOneField("annotate.Run", on_delete=models.PROTECT, related_name="round")
    responses_per_prompt = models.PositiveSmallIntegerField(default=2)
    rankings = models.BooleanField(default=False, help_text="Four or more answers are ranked at once, not in pairs.")
    created_by = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, on_delete=models.SET_NULL, related_name="+")
    created_at = models.DateTimeField(auto_now_add=True)
    # Set in the transaction that puts the pairs into the queue: a round opens once.
    opened_at = models.DateTimeField(null=True, blank=True)
    prompts_without_pair = models.PositiveIntegerField(
        default=0, help_text="Prompts whose responses were all the same text: nothing to compare."
    )

    class Meta:
        ordering = ["-number"]
        constraints = [
            models.UniqueConstraint(fields=["project", "number"], name="round_number_once_a_project"),
            models.CheckConstraint(
                condition=Q(responses_per_prompt__gte=2) & Q(responses_per_prompt__lte=9),
                name="round_2_to_9_responses",
            ),
            models.CheckConstraint(
                condition=Q(rankings=False) | Q(responses_per_prompt__gte=4), name="round_ranks_4_or_more"
            ),
        ]

    def __str__(self):
        return f"{self.project} round {self.number}"
