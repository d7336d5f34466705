"""A prompt with its ideal answer: data for supervised fine-tuning. Who writes one, who reviewed it, and its texts."""

import uuid

from django.conf import settings
from django.db import models
from django.db.models import F, Q
from django.utils.translation import gettext_lazy as _

from annotate.models.attended import Attended


class Writing(Attended):
    """One person at work on one answer. `key` goes into the page and makes the submit idempotent.

    `place` is which of the prompt's wanted demonstrations it will be: a prompt's places have one holder each. The place
    of a writing that is not ended is held until `lease_until`; then somebody else may take it, and this writing, which
    may still be submitted, has none. `prompt` is null while a prompt of one's own is being written (`own_prompt`).
    """

    key = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    project = models.ForeignKey("annotate.Project", on_delete=models.CASCADE, related_name="writings")
    prompt = models.ForeignKey("annotate.Prompt", null=True, on_delete=models.CASCADE, related_name="writings")
    writer = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="writings")
    place = models.PositiveSmallIntegerField(null=True)
    lease_until = models.DateTimeField()
    own_prompt = models.TextField(blank=True)
    draft = models.TextField(blank=True)
    started_at = models.DateTimeField()
    # Set by the submit and by a skip; only a submitted writing has a demonstration.
    ended_at = models.DateTimeField(null=True)

    class Meta:
        ordering = ["started_at"]
        constraints = [
            models.UniqueConstraint(
                fields=["prompt", "place"], condition=Q(place__isnull=False), name="writing_one_a_place"
            ),
            models.UniqueConstraint(fields=["prompt", "writer"], name="writing_one_a_person"),
            models.UniqueConstraint(
                fields=["project", "writer"],
                condition=Q(prompt__isnull=True, ended_at__isnull=True),
                name="writing_one_own_prompt_at_a_time",
            ),
            models.CheckConstraint(
                condition=Q(place__isnull=True) | Q(prompt__isnull=False), name="writing_place_is_of_a_prompt"
            ),
        ]
        indexes = [
            models.Index(fields=["writer", "project"], condition=Q(ended_at__isnull=True), name="writing_under_way"),
            models.Index(
                fields=["project", "lease_until"],
                condition=Q(place__isnull=False, ended_at__isnull=True), name="writing_lapsing",
            ),
        ]

    def __str__(self):
        return f"{self.writer} on {self.prompt or 'a prompt of their own'}"


class Demonstration(models.Model):
    """`completion` is how the assistant should answer `prompt`. Only accepted ones are trained on.

    Imported ones are accepted and have no `writing`. `revision` counts the texts and reviews of a written one: a review
    names the revision it is about, so it never decides on a text that its reviewer has not read.
    """

    class State(models.TextChoices):
        SUBMITTED = "submitted", _("Waits for review")
        RETURNED = "returned", _("Returned with a comment")
        ACCEPTED = "accepted", _("Accepted")

    prompt = models.ForeignKey("annotate.Prompt", on_delete=models.CASCADE, related_name="demonstrations")
    completion = models.TextField()
    digest = models.CharField(max_length=64, editable=False)
    author = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, on_delete=models.SET_NULL, related_name="+")
    writing = models.OneToOneField(Writing, null=True, on_delete=models.RESTRICT, related_name="demonstration")
    state = models.CharField(max_length=10, choices=State.choices, default=State.ACCEPTED)
    reviewer = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, on_delete=models.SET_NULL, related_name="+")
    revision = models.PositiveSmallIntegerField(default=1)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["id"]
        constraints = [
            models.UniqueConstraint(
                fields=["prompt", "digest"],
                condition=Q(writing__isnull=True),
                name="demonstration_imported_once_a_prompt",
            ),
            models.CheckConstraint(condition=~Q(completion=""), name="demonstration_not_empty"),
            models.CheckConstraint(
                condition=Q(state__in=["submitted", "returned", "accepted"]), name="demonstration_state_known"
            ),
            models.CheckConstraint(
                condition=Q(writing__isnull=False) | Q(state="accepted"), name="demonstration_imported_is_accepted"
            ),
            models.CheckConstraint(
                condition=Q(reviewer__isnull=True) | Q(author__isnull=True) | ~Q(reviewer=F("author")),
                name="demonstration_not_reviewed_by_its_author",
            ),
            models.CheckConstraint(
                condition=~Q(state="submitted") | Q(reviewer__isnull=True), name="demonstration_waiting_is_unreviewed"
            ),
        ]
        indexes = [models.Index(fields=["state", "id"], condition=Q(state="submitted"), name="demonstration_to_review")]

    def __str__(self):
        return self.completion[:80]


class DemonstrationVersion(models.Model):
    """One entry in a demonstration's history: its text after somebody wrote, returned, edited or accepted it."""

    class Action(models.TextChoices):
        WRITTEN = "written", _("Written")
        REVISED = "revised", _("Revised")
        RETURNED = "returned", _("Returned")
        ACCEPTED = "accepted", _("Accepted")
        EDITED = "edited", _("Edited and accepted")

    demonstration = models.ForeignKey(Demonstration, on_delete=models.CASCADE, related_name="versions")
    revision = models.PositiveSmallIntegerField()
    action = models.CharField(max_length=10, choices=Action.choices)
    text = models.TextField()
    comment = models.TextField(blank=True)
    by = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, on_delete=models.SET_NULL, related_name="+")
    created_at = models.DateTimeField()

    class Meta:
        ordering = ["demonstration", "revision"]
        constraints = [
            models.UniqueConstraint(fields=["demonstration", "revision"], name="demonstration_revision_once"),
            models.CheckConstraint(
                condition=~Q(action="returned") | ~Q(comment=""), name="demonstration_returned_says_why"
            ),
        ]

    def __str__(self):
        return f"{self.demonstration_id}, {self.revision}: {self.action}"
