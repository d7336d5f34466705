"""A training or generation run, and the events it reported."""

from django.conf import settings
from django.db import models
from django.db.models import Q


class Run(models.Model):
    """The row is the truth; a Celery message only nudges a worker to look at it.

    A worker owns a running run as long as it renews `lease_until`. `attempt` counts the claims.
    The run directory is RUNS_DIR/<id>: config.json and data/ written by the site, everything else by the child.
    """

    class State(models.TextChoices):
        QUEUED = "queued"
        RUNNING = "running"
        SUCCEEDED = "succeeded"
        FAILED = "failed"
        CANCELLED = "cancelled"

    project = models.ForeignKey("annotate.Project", on_delete=models.CASCADE, related_name="runs")
    recipe = models.CharField(max_length=20)
    title = models.CharField(max_length=120, blank=True)
    params = models.JSONField(default=dict, help_text="key=value settings as given, without paths.")
    dataset = models.ForeignKey("annotate.Dataset", null=True, blank=True, on_delete=models.PROTECT)
    base_model = models.ForeignKey(
        "annotate.ModelVersion", null=True, blank=True, on_delete=models.PROTECT, related_name="runs_from"
    )
    reward_model = models.ForeignKey(
        "annotate.ModelVersion", null=True, blank=True, on_delete=models.PROTECT, related_name="runs_scored"
    )
    # In place of a model of the registry, who is asked by the recipe judge.
    endpoint = models.ForeignKey(
        "annotate.ChatEndpoint", null=True, blank=True, on_delete=models.PROTECT, related_name="runs"
    )
    state = models.CharField(max_length=10, choices=State.choices, default=State.QUEUED)
    attempt = models.PositiveSmallIntegerField(default=0)
    worker = models.CharField(max_length=200, blank=True)
    lease_until = models.DateTimeField(null=True, blank=True)
    dispatched_at = models.DateTimeField(null=True, blank=True)
    cancel_requested = models.BooleanField(default=False)
    step = models.PositiveIntegerField(default=0)
    total_steps = models.PositiveIntegerField(default=0)
    phase = models.CharField(max_length=60, blank=True)
    error = models.TextField(blank=True)
    log_tail = models.TextField(blank=True)
    created_by = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, on_delete=models.SET_NULL, related_name="+")
    created_at = models.DateTimeField(auto_now_add=True)
    started_at = models.DateTimeField(null=True, blank=True)
    finished_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["-id"]
        constraints = [
            models.CheckConstraint(
                condition=Q(state="running", lease_until__isnull=False)
                | (~Q(state="running") & Q(lease_until__isnull=True)),
                name="run_has_a_lease_while_running",
            ),
            models.CheckConstraint(
                condition=Q(state__in=["succeeded", "failed", "cancelled"], finished_at__isnull=False)
                | Q(state__in=["queued", "running"], finished_at__isnull=True),
                name="run_finished_at_fits_state",
            ),
            models.CheckConstraint(condition=~Q(state="failed") | ~Q(error=""), name="run_failed_says_why"),
        ]
        indexes = [models.Index(fields=["state", "lease_until"], name="run_sweep")]

    def __str__(self):
        return self.title or f"{self.recipe} run {self.pk}"

    @property
    def is_finished(self) -> bool:
        return self.state in {self.State.SUCCEEDED, self.State.FAILED, self.State.CANCELLED}


class RunEvent(models.Model):
    """One line of the child's events.jsonl. `number` is the line's number, so that following twice stores once."""

    run = models.ForeignKey(Run, on_delete=models.CASCADE, related_name="events")
    number = models.PositiveIntegerField()
    kind = models.CharField(max_length=20)
    step = models.PositiveIntegerField(default=0)
    data = models.JSONField(default=dict)

    class Meta:
        ordering = ["run", "number"]
        constraints = [models.UniqueConstraint(fields=["run", "number"], name="run_event_once")]
        indexes = [models.Index(fields=["run", "kind", "number"], name="run_event_kind")]

    def __str__(self):
        return f"{self.kind} {self.number} of run {self.run_id}"
