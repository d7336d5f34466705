"""The queue: which pair a person judges next, and for how long it is theirs.

A slot is taken by one conditional UPDATE whose row count is checked. A person meets every slot at most once on the way:
`queued_at` of what they were given last says where to look on, so the cost of the next pair does not grow with the
number of comparisons nor with what the person has already judged.
"""

import random
import uuid
from collections.abc import Collection
from datetime import UTC, datetime, timedelta

from django.db import connection, transaction
from django.db.models import DateTimeField, Exists, OuterRef, Q, QuerySet, Subquery, Value
from django.db.models.functions import Coalesce
from django.utils import timezone

from annotate.errors import UserError
from annotate.labeling.locks import lock_annotator
from annotate.models import Comparison, Judgment, Project, Reservation, Skip, Slot

# The pair being read and the one that is ready behind it.
MOST_HELD = 2
# A slot found free is gone at the UPDATE only if somebody took it in between: then look again.
ATTEMPTS = 5

_BEFORE_ALL = datetime(1, 1, 2, tzinfo=UTC)
_WITH_TEXTS = (
    "comparison", "comparison__prompt", "comparison__first", "comparison__second",
)  # fmt: skip


@transaction.atomic
def reserve_next(
    project: Project,
    user,
    *,
    exclude: Collection[str | uuid.UUID] = (),
    now: datetime | None = None,
    rng: random.Random | None = None,
) -> Reservation | None:
    """The pair that `user` judges next, reserved for them; None if there is none for them now.

    What they hold already comes first, the same pair in the same order, its lease renewed; keys in `exclude` are on
    their screen, so the answer is another pair, reserved ahead: it counts as shown once it is returned without one.
    A pair that they judged or skipped is never returned. Raises PermissionDenied if `user` may not label here.
    """
    now = now or timezone.now()
    lock_annotator(user, project)
    excluded = {str(key) for key in exclude}
    held = _held(project, user)
    for reservation in held:
        if str(reservation.key) not in excluded and _keep(reservation, user, now, shown=not excluded):
            return reservation
    if len(held) >= MOST_HELD or project.archived:
        return None
    return _reserve_free(project, user, held, now, rng or random.SystemRandom(), shown=not excluded)


@transaction.atomic
def renew(key: str | uuid.UUID, user, *, now: datetime | None = None) -> bool:
    """The page of this reservation is still open: its lease starts anew. False if somebody else has the slot now."""
    now = now or timezone.now()
    reservation = reservation_of(key, user)
    lock_annotator(user, reservation.project)
    return _keep(reservation, user, now, shown=True)


@transaction.atomic
def release(key: str | uuid.UUID, user, *, now: datetime | None = None) -> None:
    """Gives the slot back; nothing happens where it is no longer held. A late submit still counts."""
    reservation = reservation_of(key, user)
    lock_annotator(user, reservation.project)
    give_back(reservation, user, now or timezone.now())


def reservation_of(key: str | uuid.UUID, user) -> Reservation:
    """The reservation with this key, with its texts. Raises UserError where `user` has none."""
    try:
        return (
            Reservation.objects.select_related("project", *(f"slot__{name}" for name in _WITH_TEXTS))
            .get(key=uuid.UUID(str(key)), annotator=user)
        )
    except (ValueError, Reservation.DoesNotExist):
        raise UserError("This pair was not reserved for you. Please go on with the next one.", field="key") from None


def give_back(reservation: Reservation, user, now: datetime) -> None:
    """The slot that `user` holds of this comparison, if any, joins the end of the queue."""
    Slot.objects.filter(comparison=reservation.slot.comparison_id, holder=user, free_from__isnull=False).update(
        holder=None, free_from=now
    )


def _held(project: Project, user) -> list[Reservation]:
    """What `user` holds, the oldest first; a lease that ran out counts as long as nobody else took the slot."""
    slots = Slot.objects.filter(holder=user, project=project, free_from__isnull=False)
    rows = (
        # From the few slots to their reservations: the person's reservations so far may be many.
        Reservation.objects.filter(slot__in=slots, annotator=user)
        .select_related("project", *(f"slot__{name}" for name in _WITH_TEXTS))
        .order_by("reserved_at")
    )
    # Drawn twice by the same person: the last drawing is the one that counts.
    return list({reservation.slot_id: reservation for reservation in rows}.values())


def _keep(reservation: Reservation, user, now: datetime, *, shown: bool) -> bool:
    """Renews the lease if `user` still holds the slot, and notes the time at which the pair is `shown`."""
    slot = reservation.slot
    was_held_until = slot.free_from
    lease = _lease_end(reservation.project, now)
    if not Slot.objects.filter(pk=slot.pk, holder=user, free_from__isnull=False).update(free_from=lease):
        return False
    slot.free_from = lease
    # After a lapse the person sits down to it anew, and the hours between are not time spent on judging.
    if shown and (reservation.shown_at is None or was_held_until <= now):
        reservation.shown_at = max(now, reservation.reserved_at)
        reservation.save(update_fields=["shown_at"])
    return True


def _reserve_free(project, user, held, now, rng, *, shown: bool) -> Reservation | None:
    for _ in range(ATTEMPTS):
        slot = _first_free(project, user, held, now)
        if slot is None:
            return None
        queued_at, slot.free_from, slot.holder = slot.free_from, _lease_end(project, now), user
        # The time read before is the condition: whoever took the slot meanwhile has changed it.
        taken = Slot.objects.filter(pk=slot.pk, free_from=queued_at).update(free_from=slot.free_from, holder=user)
        if taken:
            return Reservation.objects.create(
                project=project, slot=slot, annotator=user, **_drawn_order(slot.comparison, rng),
                reserved_at=now, shown_at=now if shown else None, queued_at=queued_at,
            )  # fmt: skip
    return None


def _first_free(project: Project, user, held: list[Reservation], now: datetime) -> Slot | None:
    """The free slot that waited longest behind those that `user` has met; before saying "none", all are looked at."""
    free = for_person(Slot.objects.filter(project=project, free_from__lte=now), user).exclude(
        comparison__in=[reservation.slot.comparison_id for reservation in held]
    )
    met = Reservation.objects.filter(annotator=user, project=project).order_by("-queued_at").values("queued_at")[:1]
    ordered = free.select_related(*_WITH_TEXTS).order_by("free_from", "id")
    if connection.features.has_select_for_update_skip_locked:
        ordered = ordered.select_for_update(skip_locked=True, of=("self",), no_key=True)
    start = Coalesce(Subquery(met), Value(_BEFORE_ALL), output_field=DateTimeField())
    return ordered.filter(free_from__gte=start).first() or ordered.first()


def for_person(slots: QuerySet[Slot], user) -> QuerySet[Slot]:
    """Those of `slots` whose comparison `user` has neither judged nor skipped."""
    same = Q(comparison=OuterRef("comparison"), annotator=user)
    return slots.filter(~Exists(Judgment.objects.filter(same)), ~Exists(Skip.objects.filter(same)))


def _drawn_order(comparison: Comparison, rng: random.Random) -> dict:
    """The order in which the responses are shown, every order as likely as every other."""
    if not comparison.is_ranking:
        return {"swapped": rng.random() < 0.5}
    count = len(comparison.responses)
    return {"swapped": False, "order": "".join(map(str, rng.sample(range(count), count)))}


def _lease_end(project: Project, now: datetime) -> datetime:
    return now + timedelta(seconds=project.lease_seconds)
