"""What is judged: a prompt, its responses, and a comparison of two of them or a ranking of more."""

import hashlib
import json
from functools import cached_property

from django.db import models
from django.db.models import F, Q
from django.utils.text import Truncator
from django.utils.translation import gettext_lazy as _

from annotate.models.judgment import MOST_RESPONSES


def text_digest(value) -> str:
    """SHA-256 of a text or of a list of chat messages in canonical JSON: equal content, equal digest."""
    return hashlib.sha256(json.dumps(value, ensure_ascii=False, sort_keys=True).encode()).hexdigest()


class Prompt(models.Model):
    """A chat that ends with a turn to answer: `messages` is `[{"role", "content"}, …]`.

    `reference` is what verifiable rewards check an answer by (training.records.Prompt). It is no part of the digest: a
    prompt is the same prompt whatever is known about its answer.
    """

    project = models.ForeignKey("annotate.Project", on_delete=models.CASCADE, related_name="prompts")
    messages = models.JSONField()
    digest = models.CharField(max_length=64, editable=False)
    reference = models.JSONField(default=dict, blank=True)
    in_pool = models.BooleanField(
        default=False, help_text="Uploaded as a prompt: policies train on it and answer it in new rounds."
    )
    # Demonstrations that are imported, written, or being written; triggers keep it (annotate/labeling/counters.py).
    places_taken = models.PositiveSmallIntegerField(default=0, editable=False)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["id"]
        constraints = [models.UniqueConstraint(fields=["project", "digest"], name="prompt_once_a_project")]
        indexes = [
            models.Index(
                fields=["project", "places_taken", "id"], condition=Q(in_pool=True), name="prompt_to_be_answered"
            ),
        ]

    def __str__(self):
        return Truncator(self.messages[-1]["content"]).chars(120) if self.messages else ""


class Response(models.Model):
    """One answer to a prompt. `generator` names who wrote it and is never sent to an annotator's browser."""

    class LeakState(models.TextChoices):
        NONE = "", _("Nothing found")
        FOUND = "found", _("To be looked at")
        SERVED = "served", _("Served")
        LEFT_OUT = "left_out", _("Left out")

    prompt = models.ForeignKey(Prompt, on_delete=models.CASCADE, related_name="responses")
    text = models.TextField()
    digest = models.CharField(max_length=64, editable=False)
    generator = models.CharField(max_length=200, blank=True)
    model = models.ForeignKey("annotate.ModelVersion", null=True, blank=True, on_delete=models.SET_NULL)
    # Phrases of the text that tell who wrote it (annotate/labeling/leaks.py), and what an admin decided about them.
    leaks = models.JSONField(default=list, blank=True)
    leak_state = models.CharField(max_length=8, choices=LeakState.choices, default="", blank=True)
    leaks_checked_at = models.DateTimeField(null=True, help_text="Null: stored before texts were checked for leaks.")
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["id"]
        constraints = [
            models.UniqueConstraint(fields=["prompt", "digest", "generator"], name="response_once_a_generator"),
            models.CheckConstraint(condition=~Q(text=""), name="response_not_empty"),
            models.CheckConstraint(
                condition=Q(leak_state__in=["", "found", "served", "left_out"]), name="response_leak_state_known"
            ),
        ]
        indexes = [
            models.Index(fields=["leak_state", "prompt"], condition=~Q(leak_state=""), name="response_leaks"),
            models.Index(
                fields=["prompt"], condition=Q(leaks_checked_at__isnull=True), name="response_leaks_unchecked"
            ),
        ]

    def __str__(self):
        return self.text[:80]


class Comparison(models.Model):
    """Two responses to one prompt that people are asked to compare, or four to nine that they rank.

    A pair has its `first` and its `second`; a ranking has its candidates. All comparisons of a prompt stay on one side
    of a split into train and held-out data; those of a `group` as well, where one is given: a debate or a document that
    several prompts share.
    """

    class Kind(models.TextChoices):
        PAIR = "pair", _("Pair")
        RANKING = "ranking", _("Ranking")

    project = models.ForeignKey("annotate.Project", on_delete=models.CASCADE, related_name="comparisons")
    prompt = models.ForeignKey(Prompt, on_delete=models.CASCADE, related_name="comparisons")
    kind = models.CharField(max_length=8, choices=Kind.choices, default=Kind.PAIR)
    first = models.ForeignKey(Response, null=True, on_delete=models.CASCADE, related_name="+")
    second = models.ForeignKey(Response, null=True, on_delete=models.CASCADE, related_name="+")
    # Of a ranking: the digest of its candidates' ids, so that the same responses are ranked as one comparison.
    ranking_digest = models.CharField(max_length=64, null=True, unique=True, editable=False)
    group = models.CharField(max_length=200, blank=True)
    judgments_wanted = models.PositiveSmallIntegerField()
    uncertainty = models.FloatField(
        null=True, blank=True,
        help_text="0 to 1: how unsure a reward model is which response is better, 4p(1 - p); null: not asked.",
    )  # fmt: skip
    round = models.ForeignKey(
        "annotate.Round", null=True, blank=True, on_delete=models.SET_NULL, related_name="comparisons"
    )
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["id"]
        constraints = [
            models.CheckConstraint(
                condition=Q(kind="pair", first__isnull=False, second__isnull=False, ranking_digest__isnull=True)
                | Q(kind="ranking", first__isnull=True, second__isnull=True, ranking_digest__isnull=False),
                name="comparison_is_a_pair_or_a_ranking",
            ),
            models.CheckConstraint(condition=~Q(first=F("second")), name="comparison_of_two_different_responses"),
            # The service stores the lower id first, so a pair cannot stand twice with its sides exchanged.
            models.CheckConstraint(condition=Q(first__lt=F("second")), name="comparison_lower_response_first"),
            models.UniqueConstraint(fields=["first", "second"], name="comparison_pair_once"),
            models.CheckConstraint(
                condition=Q(judgments_wanted__gte=0) & Q(judgments_wanted__lte=50), name="comparison_wants_0_to_50"
            ),
            models.CheckConstraint(
                condition=Q(uncertainty__isnull=True) | Q(uncertainty__gte=0, uncertainty__lte=1),
                name="comparison_uncertainty_0_to_1",
            ),
        ]

    def __str__(self):
        return f"comparison {self.pk}"

    @property
    def is_ranking(self) -> bool:
        return self.kind == self.Kind.RANKING

    @cached_property
    def responses(self) -> list[Response]:
        """All of them, in the comparison's own order: never the order in which somebody sees them."""
        if self.is_ranking:
            return [candidate.response for candidate in self.candidates.all()]
        return [self.first, self.second]


class CandidateManager(models.Manager):
    """Candidates are read for their texts."""

    def get_queryset(self):
        return super().get_queryset().select_related("response")


class Candidate(models.Model):
    """One of the responses of a ranking; `number` is its place in the ranking's own order."""

    comparison = models.ForeignKey(Comparison, on_delete=models.CASCADE, related_name="candidates")
    number = models.PositiveSmallIntegerField()
    response = models.ForeignKey(Response, on_delete=models.CASCADE, related_name="+")

    objects = CandidateManager()

    class Meta:
        ordering = ["comparison", "number"]
        constraints = [
            models.UniqueConstraint(fields=["comparison", "number"], name="candidate_number_once"),
            models.UniqueConstraint(fields=["comparison", "response"], name="candidate_response_once"),
            models.CheckConstraint(condition=Q(number__lt=MOST_RESPONSES), name="candidate_number_known"),
        ]

    def __str__(self):
        return f"{self.comparison}, candidate {self.number}"
