"""A slot: the promise that one more person may judge a comparison. A reservation: one showing of it to one person."""

import uuid

from django.conf import settings
from django.db import models
from django.db.models import F, Q

from annotate.models.attended import Attended


class Slot(models.Model):
    """One of a comparison's `judgments_wanted` places: free, held by one person under a lease, or used up.

    `free_from` says which. Null: used up by `holder`. In the future: held by `holder` until then. Past: free to take,
    whether it never had a holder, was given back, or its lease ran out, so a crashed browser needs no cleaning up.
    The queue goes by `rank`, the lowest first, and then by `free_from`: what is given back joins the end of its rank.
    `spread` is the comparison's place on a circle of circumference 1, from which uniform draws start (see draw.py).
    A slot that stands `apart` is drawn by nobody and no total counts it: it was made for one person to answer a gold
    question, or it was withdrawn because fewer judgments are wanted now (it may be what a late submit refers to).
    Only annotate/labeling writes this table.
    """

    # The composite indexes below serve these, so they have none of their own.
    project = models.ForeignKey(
        "annotate.Project", on_delete=models.CASCADE, related_name="slots", db_index=False
    )
    comparison = models.ForeignKey(
        "annotate.Comparison", on_delete=models.CASCADE, related_name="slots", db_index=False
    )
    number = models.PositiveSmallIntegerField()
    free_from = models.DateTimeField(null=True)
    rank = models.FloatField(default=0)
    spread = models.FloatField(default=0)
    apart = models.BooleanField(default=False)
    holder = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, on_delete=models.PROTECT, related_name="slots", db_index=False
    )

    class Meta:
        ordering = ["id"]
        constraints = [
            models.UniqueConstraint(fields=["comparison", "number"], name="slot_number_once_a_comparison"),
            models.UniqueConstraint(
                fields=["comparison", "holder"], condition=Q(holder__isnull=False), name="slot_one_a_person"
            ),
            models.CheckConstraint(
                condition=Q(free_from__isnull=False) | Q(holder__isnull=False), name="slot_used_up_by_somebody"
            ),
        ]
        indexes = [
            models.Index(
                fields=["project", "rank", "free_from", "id"],
                condition=Q(free_from__isnull=False, apart=False), name="slot_queue",
            ),
            models.Index(
                fields=["project", "spread"], condition=Q(free_from__isnull=False, apart=False), name="slot_spread"
            ),
            # What became free lately and what is held: few, in all projects.
            models.Index(fields=["free_from"], condition=Q(free_from__isnull=False), name="slot_freed"),
            # What a person holds now, however much they used up before.
            # Few rows, and planners know it: with free slots in it too, statistics would show a null holder's many.
            models.Index(
                fields=["holder", "project"],
                condition=Q(free_from__isnull=False, holder__isnull=False), name="slot_held",
            ),
        ]

    def __str__(self):
        return f"slot {self.number} of comparison {self.comparison_id}"


class Reservation(Attended):
    """One time that a slot was given to a person. `key` goes into the page and makes the submit idempotent.

    It outlives the lease, so that what was judged too late is still known: who, which pair, in which order.
    The random order shown: of a pair `swapped`, which shows the comparison's `second` response as A; of a ranking
    `order`, the numbers of its candidates from A on, as "2031".
    """

    key = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    project = models.ForeignKey("annotate.Project", on_delete=models.CASCADE, related_name="reservations")
    slot = models.ForeignKey(Slot, on_delete=models.CASCADE, related_name="reservations")
    annotator = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="reservations")
    swapped = models.BooleanField()
    order = models.CharField(max_length=9, blank=True)
    reserved_at = models.DateTimeField()
    # Null while the pair is only reserved ahead, behind the one being read.
    shown_at = models.DateTimeField(null=True)
    # The slot's `rank` and `free_from` when it was drawn: how far this person has come in the queue. Null for what was
    # drawn at random or is a gold question: that does not move them.
    queued_rank = models.FloatField(null=True)
    queued_at = models.DateTimeField(null=True)
    # Of all that this person could have got at that moment, the probability with which they got this; null: unknown.
    draw_probability = models.FloatField(null=True)

    class Meta:
        ordering = ["reserved_at"]
        constraints = [
            models.CheckConstraint(
                condition=Q(shown_at__isnull=True) | Q(shown_at__gte=F("reserved_at")),
                name="reservation_shown_after_it_was_made",
            ),
            models.CheckConstraint(
                condition=Q(draw_probability__isnull=True) | Q(draw_probability__gt=0, draw_probability__lte=1),
                name="reservation_draw_probability_0_to_1",
            ),
        ]
        indexes = [
            models.Index(
                fields=["annotator", "project", "reserved_at"],
                condition=Q(queued_at__isnull=False), name="reservation_progress",
            ),
            models.Index(fields=["slot", "annotator"], name="reservation_of_slot"),
        ]

    def __str__(self):
        return f"{self.annotator} on {self.slot}"

    @property
    def comparison(self):
        return self.slot.comparison

    @property
    def left(self):
        """The response shown as A."""
        return self.shown[0]

    @property
    def right(self):
        """The response shown as B."""
        return self.shown[1]

    @property
    def shown(self) -> list:
        """The responses in the order shown: A, B, …"""
        responses = self.comparison.responses
        if self.order:
            return [responses[int(number)] for number in self.order]
        return responses[::-1] if self.swapped else list(responses)
