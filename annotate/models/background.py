"""Work that a worker does for a row, and which workers there are to do it."""

from django.db import models
from django.db.models import Q


class BackgroundWork(models.Model):
    """A row that is made outside any request: it says whether it is made, by whom, or why it could not be.

    As with a run, the row is the truth and a Celery message only nudges. Who makes it renews `lease_until`; with none
    it waits to be taken. `attempt` counts the claims since it was asked for.
    """

    class State(models.TextChoices):
        BEING_MADE = "being_made"
        READY = "ready"
        FAILED = "failed"

    state = models.CharField(max_length=10, choices=State.choices, default=State.READY)
    error = models.TextField(blank=True)
    attempt = models.PositiveSmallIntegerField(default=0)
    worker = models.CharField(max_length=200, blank=True)
    lease_until = models.DateTimeField(null=True, blank=True)
    dispatched_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        abstract = True
        constraints = [
            models.CheckConstraint(
                condition=Q(state="being_made") | Q(lease_until__isnull=True), name="%(class)s_lease_while_being_made"
            ),
            models.CheckConstraint(
                condition=(Q(state="failed") & ~Q(error="")) | (~Q(state="failed") & Q(error="")),
                name="%(class)s_failed_says_why",
            ),
        ]

    @property
    def is_ready(self) -> bool:
        return self.state == self.State.READY

    @property
    def is_being_made(self) -> bool:
        return self.state == self.State.BEING_MADE

    @property
    def is_waiting(self) -> bool:
        """To be made, and in nobody's hands yet."""
        return self.is_being_made and self.lease_until is None


class Worker(models.Model):
    """A worker process that takes messages of a queue; it renews `seen_at` as long as it lives."""

    name = models.CharField(max_length=200)
    queue = models.CharField(max_length=20)
    seen_at = models.DateTimeField()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["queue", "name"], name="worker_once_a_queue")]

    def __str__(self):
        return f"{self.name} on {self.queue}"
