"""Judgments and skips: stored once, whenever and however often they are sent."""

import uuid
from datetime import datetime

from django.db import connection, transaction
from django.db.models import OuterRef, QuerySet, Subquery
from django.utils import timezone
from django.utils.translation import gettext as _

from annotate.errors import UserError
from annotate.labeling import order
from annotate.labeling.attention import at_submit, shown_since
from annotate.labeling.locks import lock_annotator
from annotate.labeling.queue import give_back, reservation_of
from annotate.labeling.verdict import LONGEST_NOTE, Verdict, read_text, read_verdict
from annotate.models import Assessment, Comparison, GuidelineVersion, Judgment, Skip, Slot
from annotate.prepared import Prepared, PreparedUpdate, given_id, given_time, insert
from annotate.quality import gold

_by_person = {"comparison": OuterRef("pk"), "annotator": given_id("user")}


def _so_far() -> QuerySet[Comparison]:
    """Of one comparison: the person's judgment, their skip, the slot they hold, and the guidelines at `moment`."""
    held = Slot.objects.filter(comparison=OuterRef("pk"), holder=given_id("user"), free_from__isnull=False)
    guidelines = GuidelineVersion.objects.filter(project=OuterRef("project"), created_at__lte=given_time("moment"))
    rows = [
        Judgment.objects.filter(**_by_person), Skip.objects.filter(**_by_person), held.order_by("id"),
        guidelines.order_by("-number"),
    ]  # fmt: skip
    return Comparison.objects.filter(pk=given_id("comparison")).values_list(
        *(Subquery(found.values("pk")[:1]) for found in rows)
    )


_known = Prepared(_so_far)
_use_up = PreparedUpdate(
    lambda: Slot.objects.filter(pk=given_id("slot"), holder=given_id("user"), free_from__isnull=False), free_from=None
)


@transaction.atomic
def submit_judgment(
    user,
    key: str | uuid.UUID,
    rating: int | None = None,
    *,
    renderer: int | None = None,
    active_seconds: float | str | None = None,
    open_seconds: float | str | None = None,
    now: datetime | None = None,
    **said,
) -> Judgment:
    """Stores the verdict of `user` on the comparison that was reserved for them under `key`.

    `said` is what `read_verdict` takes besides the rating: ranks, criteria, scores, flags, confidence, note, edit.
    `active_seconds` and `open_seconds` are the page's: how long it was worked with, and on the screen.
    The same key twice gives the same row, and so does a second reservation of the same pair; where that says something
    else (another tab), what was said first stands, and the row's `said_otherwise` tells. After the lease the
    judgment uses up the slot if it is still free, else another free slot of the comparison, and without one it is kept
    as an extra (`slot` is None). A pair skipped before counts as judged now.
    Raises UserError for an unknown key or value, PermissionDenied for a person who may not label here any more.
    """
    now = now or timezone.now()
    reservation = reservation_of(key, user)
    shown = reservation.shown
    verdict = read_verdict(reservation.project, shown, rating=rating, **said)
    lock_annotator(user, reservation.project)

    comparison = reservation.comparison
    shown_at = shown_since(reservation, open_seconds, now, reservation.last_judged_at)
    earlier, skip, held, guideline = _known.first(comparison=comparison.pk, user=user.pk, moment=shown_at)
    if earlier:
        judgment = Judgment.objects.get(pk=earlier)
        judgment.said_otherwise = Verdict.of(judgment) != verdict
        return judgment
    # The slot before what changes a total: whoever holds a row of the totals waits for no slot.
    slot = _use_up_slot(comparison, held, user, now)
    if skip:
        Skip.objects.filter(pk=skip).delete()
    seconds = max(0.0, (now - shown_at).total_seconds())
    judgment = insert(
        Judgment(
            comparison=comparison,
            annotator=user,
            slot_id=slot,
            reservation=reservation,
            guideline_id=guideline,
            renderer=renderer,
            shown_at=shown_at,
            seconds=seconds,
            active_seconds=at_submit(reservation, active_seconds, now, shown_at),
            created_at=now,
            **verdict.columns(shown),
        )
    )
    if assessments := verdict.assessments(judgment, shown):
        Assessment.objects.bulk_create(assessments)
    order.judged(reservation.project, comparison)
    gold.check(judgment, now=now)
    return judgment


@transaction.atomic
def skip_comparison(user, key: str | uuid.UUID, reason: str, note: str = "", *, now: datetime | None = None) -> Skip:
    """`user` does not judge this pair: its slot is free for others, and it is not offered to `user` again.

    Sent twice it is stored once. Raises UserError for an unknown key or reason, or if the pair is judged already.
    """
    now = now or timezone.now()
    if reason not in Skip.Reason.values:
        raise UserError(_("Please choose a reason for skipping."), field="reason")
    note = read_text(note, LONGEST_NOTE, "note", _("A note"))
    reservation = reservation_of(key, user)
    lock_annotator(user, reservation.project)

    comparison = reservation.comparison
    if Judgment.objects.filter(comparison=comparison, annotator=user).exists():
        raise UserError(_("You have judged this pair already, so it cannot be skipped."), field="key")
    give_back(reservation, user, now)
    skip, _created = Skip.objects.get_or_create(
        comparison=comparison, annotator=user, defaults={"reason": reason, "note": note, "created_at": now}
    )
    gold.check(skip, now=now)
    return skip


def _use_up_slot(comparison: Comparison, held: int | None, user, now: datetime) -> int | None:
    """The slot that this judgment fills: `held`, which `user` holds, else a free one of the comparison, else none."""
    if held and _use_up.run(slot=held, user=user.pk):
        return held
    unused = Slot.objects.filter(comparison=comparison, free_from__isnull=False)
    free = unused.filter(free_from__lte=now, apart=False).order_by("number")
    if connection.features.has_select_for_update_skip_locked:
        free = free.select_for_update(skip_locked=True, no_key=True)
    for slot in free:
        if unused.filter(pk=slot.pk, free_from=slot.free_from).update(free_from=None, holder=user):
            return slot.pk
    return None
