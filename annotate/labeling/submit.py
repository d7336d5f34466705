"""Judgments and skips: stored once, whenever and however often they are sent."""

import uuid
from datetime import datetime

from django.db import connection, transaction
from django.utils import timezone

from annotate.errors import UserError
from annotate.labeling.locks import lock_annotator
from annotate.labeling.queue import give_back, reservation_of
from annotate.models import GuidelineVersion, Judgment, Reservation, Skip, Slot
from annotate.models.judgment import Criterion, Rating

LONGEST_NOTE = 5000


@transaction.atomic
def submit_judgment(
    user,
    key: str | uuid.UUID,
    rating: int,
    *,
    helpful: int | None = None,
    truthful: int | None = None,
    harmless: int | None = None,
    note: str = "",
    now: datetime | None = None,
) -> Judgment:
    """Stores the verdict of `user` on the pair that was reserved for them under `key`.

    The same key twice gives the same row, and so does a second reservation of the same pair. After the lease the
    judgment uses up the slot if it is still free, else another free slot of the comparison, and without one it is kept
    as an extra (`slot` is None). A pair skipped before counts as judged now.
    Raises UserError for an unknown key or value, PermissionDenied for a person who may not label here any more.
    """
    now = now or timezone.now()
    rating = _rating(rating)
    criteria = {"helpful": helpful, "truthful": truthful, "harmless": harmless}
    criteria = {name: _criterion(name, value) for name, value in criteria.items()}
    note = _note(note)
    reservation = reservation_of(key, user)
    lock_annotator(user, reservation.project)

    comparison = reservation.comparison
    if earlier := Judgment.objects.filter(comparison=comparison, annotator=user).first():
        return earlier
    Skip.objects.filter(comparison=comparison, annotator=user).delete()
    shown_at = reservation.shown_at or reservation.reserved_at
    left, right = reservation.left, reservation.right
    return Judgment.objects.create(
        comparison=comparison,
        annotator=user,
        slot=_use_up_slot(reservation, user, now),
        reservation=reservation,
        left=left,
        right=right,
        rating=rating,
        winner=left if rating in {Rating.A_BETTER, Rating.A_SLIGHTLY_BETTER} else right,
        note=note,
        guideline=_guideline_at(reservation.project, shown_at),
        shown_at=shown_at,
        seconds=max(0.0, (now - shown_at).total_seconds()),
        created_at=now,
        **criteria,
    )


@transaction.atomic
def skip_comparison(user, key: str | uuid.UUID, reason: str, note: str = "", *, now: datetime | None = None) -> Skip:
    """`user` does not judge this pair: its slot is free for others, and it is not offered to `user` again.

    Sent twice it is stored once. Raises UserError for an unknown key or reason, or if the pair is judged already.
    """
    now = now or timezone.now()
    if reason not in Skip.Reason.values:
        raise UserError("Please choose a reason for skipping.", field="reason")
    note = _note(note)
    reservation = reservation_of(key, user)
    lock_annotator(user, reservation.project)

    comparison = reservation.comparison
    if Judgment.objects.filter(comparison=comparison, annotator=user).exists():
        raise UserError("You have judged this pair already, so it cannot be skipped.", field="key")
    give_back(reservation, user, now)
    skip, _ = Skip.objects.get_or_create(
        comparison=comparison, annotator=user, defaults={"reason": reason, "note": note, "created_at": now}
    )
    return skip


def _use_up_slot(reservation: Reservation, user, now: datetime) -> Slot | None:
    """The slot that this judgment fills: the one `user` holds, else a free one of the comparison, else none."""
    unused = Slot.objects.filter(comparison=reservation.slot.comparison_id, free_from__isnull=False)
    held = unused.filter(holder=user).first()
    if held and unused.filter(pk=held.pk, holder=user).update(free_from=None):
        return held
    free = unused.filter(free_from__lte=now).order_by("number")
    if connection.features.has_select_for_update_skip_locked:
        free = free.select_for_update(skip_locked=True, no_key=True)
    for slot in free:
        if unused.filter(pk=slot.pk, free_from=slot.free_from).update(free_from=None, holder=user):
            return slot
    return None


def _guideline_at(project, moment: datetime) -> GuidelineVersion | None:
    """The version that stood beside the pair when it was shown."""
    return GuidelineVersion.objects.filter(project=project, created_at__lte=moment).order_by("-number").first()


def _rating(value) -> int:
    try:
        rating = int(value)
    except (TypeError, ValueError):
        rating = Rating.EQUAL
    if rating not in {*Rating.values} - {Rating.EQUAL}:
        raise UserError("Please choose one of the four ratings.", field="rating")
    return rating


def _criterion(name: str, value) -> int | None:
    if value is None or value == "":
        return None
    try:
        verdict = int(value)
    except (TypeError, ValueError):
        verdict = None
    if verdict not in Criterion.values:
        raise UserError(f"“{name.capitalize()}” takes 1 (A), 0 (equal), -1 (B), or nothing.", field=name)
    return verdict


def _note(note: str) -> str:
    note = note.strip()
    if len(note) > LONGEST_NOTE:
        raise UserError(f"A note has at most {LONGEST_NOTE} characters; this one has {len(note)}.", field="note")
    return note
