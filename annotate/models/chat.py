"""Live chat: a person writes, two models answer side by side, and the better answer becomes the next turn."""

import uuid

from django.conf import settings
from django.db import models
from django.db.models import Q


class ChatEndpoint(models.Model):
    """Where replies come from: an OpenAI-compatible address, or a model of the registry that a worker serves.

    The key is never stored: `key_variable` names the environment variable that holds it where the worker runs. A model
    of the registry is served while `served` is true: a worker claims the row (`server`, renewed until `lease_until`),
    starts `python -m training serve`, and writes the address once that answers.
    """

    project = models.ForeignKey("annotate.Project", on_delete=models.CASCADE, related_name="chat_endpoints")
    name = models.CharField(max_length=120)
    base_url = models.CharField(max_length=500, blank=True)
    model_name = models.CharField(max_length=200, blank=True)
    key_variable = models.CharField(max_length=100, blank=True)
    model = models.OneToOneField(
        "annotate.ModelVersion", null=True, blank=True, on_delete=models.CASCADE, related_name="chat_endpoint"
    )
    temperature = models.FloatField(default=1.0)
    max_tokens = models.PositiveIntegerField(default=512)
    enabled = models.BooleanField(default=True, help_text="Answers new turns. A disabled one keeps what it said.")
    served = models.BooleanField(default=False)
    server = models.CharField(max_length=200, blank=True)
    lease_until = models.DateTimeField(null=True)
    problem = models.CharField(max_length=500, blank=True, help_text="Why it did not answer last, for admins.")
    answered_at = models.DateTimeField(null=True)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["name"]
        constraints = [
            models.UniqueConstraint(fields=["project", "name"], name="chat_endpoint_name_once"),
            models.CheckConstraint(
                condition=Q(model__isnull=False) | ~Q(base_url=""), name="chat_endpoint_has_an_address_or_a_model"
            ),
            models.CheckConstraint(
                condition=Q(model__isnull=False) | Q(served=False), name="chat_endpoint_serves_models_of_the_registry"
            ),
            models.CheckConstraint(
                condition=Q(base_url="") | Q(base_url__startswith="http://") | Q(base_url__startswith="https://"),
                name="chat_endpoint_speaks_http",
            ),
            models.CheckConstraint(
                condition=Q(temperature__gte=0) & Q(temperature__lte=2), name="chat_endpoint_temperature_0_to_2"
            ),
            models.CheckConstraint(
                condition=Q(max_tokens__gte=1) & Q(max_tokens__lte=8192), name="chat_endpoint_1_to_8192_tokens"
            ),
        ]

    def __str__(self):
        return self.name


class Chat(models.Model):
    """One conversation of one person. `draft` is the turn being written."""

    key = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    project = models.ForeignKey("annotate.Project", on_delete=models.CASCADE, related_name="chats")
    annotator = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="chats")
    draft = models.TextField(blank=True)
    created_at = models.DateTimeField()
    ended_at = models.DateTimeField(null=True)

    class Meta:
        ordering = ["-created_at"]
        indexes = [models.Index(fields=["annotator", "project", "-created_at"], name="chat_of_annotator")]

    def __str__(self):
        return f"chat of {self.annotator}"

    @property
    def group(self) -> str:
        """What its comparisons are held together by: a split never parts a conversation."""
        return f"chat:{self.key}"


class ChatTurn(models.Model):
    """What the person wrote, and which of the two replies they went on with. `key` makes sending it twice safe."""

    key = models.UUIDField(primary_key=True, editable=False)
    chat = models.ForeignKey(Chat, on_delete=models.CASCADE, related_name="turns")
    number = models.PositiveSmallIntegerField()
    text = models.TextField()
    # Null until the choice, and where both replies are the same text: there is nothing to judge then.
    judgment = models.ForeignKey("annotate.Judgment", null=True, on_delete=models.RESTRICT, related_name="+")
    chosen = models.OneToOneField("annotate.ChatReply", null=True, on_delete=models.RESTRICT, related_name="+")
    created_at = models.DateTimeField()

    class Meta:
        ordering = ["chat", "number"]
        constraints = [
            models.UniqueConstraint(fields=["chat", "number"], name="chat_turn_number_once"),
            models.CheckConstraint(condition=~Q(text=""), name="chat_turn_not_empty"),
            models.CheckConstraint(
                condition=Q(judgment__isnull=True) | Q(chosen__isnull=False), name="chat_turn_judged_goes_on"
            ),
        ]

    def __str__(self):
        return f"turn {self.number} of {self.chat}"


class ChatReply(models.Model):
    """One model's answer to a turn; `side` 0 is shown as A, 1 as B, drawn at random when the turn was made.

    A worker owns a running reply (`worker`) as long as it renews `lease_until`; it writes the text as it comes.
    """

    class State(models.TextChoices):
        QUEUED = "queued"
        RUNNING = "running"
        DONE = "done"
        FAILED = "failed"

    turn = models.ForeignKey(ChatTurn, on_delete=models.CASCADE, related_name="replies")
    side = models.PositiveSmallIntegerField()
    endpoint = models.ForeignKey(ChatEndpoint, null=True, on_delete=models.SET_NULL, related_name="replies")
    seed = models.PositiveIntegerField(default=0)
    state = models.CharField(max_length=8, choices=State.choices, default=State.QUEUED)
    text = models.TextField(blank=True)
    error = models.TextField(blank=True, help_text="For the person who chats: names no model.")
    # The model's name and registry entry when it answered: the endpoint may change or go later.
    generator = models.CharField(max_length=200, blank=True)
    model = models.ForeignKey("annotate.ModelVersion", null=True, on_delete=models.SET_NULL, related_name="+")
    attempt = models.PositiveSmallIntegerField(default=0)
    worker = models.CharField(max_length=200, blank=True)
    lease_until = models.DateTimeField(null=True)
    queued_at = models.DateTimeField()
    finished_at = models.DateTimeField(null=True)

    class Meta:
        ordering = ["turn", "side"]
        constraints = [
            models.UniqueConstraint(fields=["turn", "side"], name="chat_reply_one_a_side"),
            models.CheckConstraint(condition=Q(side__in=[0, 1]), name="chat_reply_side_a_or_b"),
            models.CheckConstraint(
                condition=Q(state="running", lease_until__isnull=False)
                | (~Q(state="running") & Q(lease_until__isnull=True)),
                name="chat_reply_has_a_lease_while_running",
            ),
            models.CheckConstraint(condition=~Q(state="done") | ~Q(text=""), name="chat_reply_done_says_something"),
            models.CheckConstraint(condition=~Q(state="failed") | ~Q(error=""), name="chat_reply_failed_says_why"),
        ]
        indexes = [
            models.Index(
                fields=["queued_at"], condition=Q(state__in=["queued", "running"]), name="chat_reply_under_way"
            ),
        ]

    def __str__(self):
        return f"reply {'AB'[self.side]} of {self.turn}"
