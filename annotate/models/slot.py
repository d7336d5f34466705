"""A slot: the promise that one more person may judge a comparison."""

import uuid

from django.conf import settings
from django.db import models
from django.db.models import Q


class Slot(models.Model):
    """One of a comparison's `judgments_wanted` places. Open, reserved by one holder under a lease, or used up.

    Only annotate/labeling writes this table. A reserved slot whose lease has run out counts as open.
    `key` is made anew with each reservation and goes into the page: it makes the submit idempotent.
    `swapped` is the random order of that reservation: True shows the comparison's `second` response as A.
    """

    class State(models.TextChoices):
        OPEN = "open"
        RESERVED = "reserved"
        DONE = "done"

    project = models.ForeignKey("annotate.Project", on_delete=models.CASCADE, related_name="slots")
    comparison = models.ForeignKey("annotate.Comparison", on_delete=models.CASCADE, related_name="slots")
    number = models.PositiveSmallIntegerField()
    state = models.CharField(max_length=8, choices=State.choices, default=State.OPEN)
    holder = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, on_delete=models.CASCADE, related_name="slots")
    lease_until = models.DateTimeField(null=True)
    key = models.UUIDField(default=uuid.uuid4, unique=True)
    swapped = models.BooleanField(default=False)
    shown_at = models.DateTimeField(null=True)

    class Meta:
        ordering = ["id"]
        constraints = [
            models.UniqueConstraint(fields=["comparison", "number"], name="slot_number_once_a_comparison"),
            models.UniqueConstraint(
                fields=["comparison", "holder"], condition=Q(holder__isnull=False), name="slot_one_a_person"
            ),
            models.CheckConstraint(
                condition=Q(state="open", holder__isnull=True, lease_until__isnull=True)
                | Q(state="reserved", holder__isnull=False, lease_until__isnull=False)
                | Q(state="done", holder__isnull=False, lease_until__isnull=True),
                name="slot_state_fits_holder_and_lease",
            ),
        ]
        indexes = [
            models.Index(fields=["project", "state", "id"], name="slot_queue"),
            models.Index(fields=["holder", "state"], name="slot_of_holder"),
        ]

    def __str__(self):
        return f"slot {self.number} of comparison {self.comparison_id} ({self.state})"
