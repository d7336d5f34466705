"""The queue: which pair a person judges next, and for how long it is theirs.

A slot is taken by one conditional UPDATE whose row count is checked. What there is to take is found by draw.py, which
of it a person gets is decided by policies.py. None of it grows with the number of comparisons or with what the person
has judged: totals are kept (counters.py), and who has looked through everything looks at what became free since.

Where others are quicker the person looks again, as often as it takes: "nothing left" is said where nothing was found.
"""

import itertools
import random
import uuid
from collections.abc import Collection
from contextlib import suppress
from datetime import datetime, timedelta
from itertools import zip_longest

from django.db import IntegrityError, connection, transaction
from django.db.models import OuterRef, QuerySet, Subquery, UUIDField
from django.utils import timezone
from django.utils.translation import gettext_lazy

from annotate.errors import UserError
from annotate.labeling.draw import CANDIDATES, Found, Search
from annotate.labeling.locks import lock_annotator, lock_idle_project
from annotate.labeling.policies import Drawn, Lot, by_policy_probability, draw
from annotate.labeling.standing import QUALIFYING, standing_of
from annotate.models import Comparison, GoldQuestion, Judgment, PersonTally, Project, Reservation, Slot
from annotate.prepared import Given, Prepared, PreparedUpdate, given_id, given_time, insert

_NOT_YOURS = gettext_lazy("This pair was not reserved for you. Please go on with the next one.")
# The pair being read and the one that is ready behind it.
MOST_HELD = 2
# Each time that a person looks in vain somebody else has got a pair: so often only where something is wrong.
LOOKS = 10_000
# How long "no more than this for this person" is believed of what was free then, before everything is looked through.
BELIEVED = timedelta(minutes=10)

_CANDIDATES = [f"candidate{number}" for number in range(CANDIDATES)]
_OF_COMPARISON = ("prompt", "first", "second")
_OF_SLOT = ("comparison", *(f"comparison__{name}" for name in _OF_COMPARISON))

_last_judged = Judgment.objects.filter(annotator=OuterRef("annotator")).order_by("-created_at").values("created_at")
_reservation = Prepared(
    lambda: Reservation.objects.filter(key=Given("key", UUIDField()), annotator=given_id("user"))
    .select_related("project", "slot", *(f"slot__{name}" for name in _OF_SLOT))
    .annotate(last_judged_at=Subquery(_last_judged[:1]))
)
# The time read before is the condition: whoever took the slot meanwhile has changed it.
_take = PreparedUpdate(
    lambda: Slot.objects.filter(pk=given_id("slot"), free_from=given_time("was_free_from")),
    free_from=given_time("lease_end"), holder=given_id("user"),
)  # fmt: skip
_extend = PreparedUpdate(
    lambda: Slot.objects.filter(pk=given_id("slot"), holder=given_id("user"), free_from__isnull=False),
    free_from=given_time("lease_end"),
)


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
    A pair that they judged or skipped is never returned, and none to a person who is held up (standing.py).
    Raises PermissionDenied if `user` may not label here.
    """
    now = now or timezone.now()
    rng = rng or random.SystemRandom()
    membership = lock_annotator(user, project)
    standing = standing_of(project, membership)
    if standing.is_held_up:
        return None
    on_screen = _keys(exclude)
    draw_for = _Draw(project, user, now, rng, on_screen, membership, qualifying=standing.state == QUALIFYING)
    for _ in range(LOOKS):
        found = draw_for.look()
        for reservation in _held(found.held, user):
            if _keep(reservation, user, now, shown=not on_screen):
                return reservation
        if len(found.on_screen) >= MOST_HELD or project.archived:
            return None
        drawn = draw_for.decide(found)
        if drawn is None:
            return None
        if reservation := draw_for.take(found, drawn, shown=not on_screen):
            return reservation
    raise RuntimeError(f"{LOOKS} times what {user} could get in {project} was gone")


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
    """The reservation with this key, with its texts, and when its annotator judged last (`last_judged_at`).

    Raises UserError where `user` has none.
    """
    try:
        found = _reservation.first(key=uuid.UUID(str(key)), user=user.pk)
    except ValueError:
        found = None
    if found is None:
        raise UserError(str(_NOT_YOURS), field="key")
    found.comparison.project = found.project  # the same row, read once
    return found


def give_back(reservation: Reservation, user, now: datetime) -> None:
    """The slot that `user` holds of this comparison, if any, joins the end of the queue."""
    Slot.objects.filter(comparison=reservation.slot.comparison_id, holder=user, free_from__isnull=False).update(
        holder=None, free_from=now
    )


class _Draw:
    """One person's way to their next item: look, decide, take."""

    def __init__(self, project: Project, user, now, rng, on_screen, membership, *, qualifying: bool):
        self.project, self.user, self.now, self.rng, self.on_screen = project, user, now, rng, on_screen
        self.qualifying = qualifying
        self.shares = {"gold_share": project.gold_share, "random_share": project.random_share}
        self.looked_through_at = getattr(membership, "looked_through_at", None)
        self.has_list = getattr(membership, "has_list", False)

    def look(self) -> Found:
        """What is there for this person. Before the answer is "nothing", everything has been looked through.

        Where little is left for them among what they have judged, it is listed once and looked up from then on.
        """
        purpose = GoldQuestion.Purpose.GOLD if self.project.gold_share else None
        if self.qualifying:
            purpose = GoldQuestion.Purpose.QUALIFICATION
        self.search = Search(
            self.project.pk, self.user.pk, self.now, Lot.throw(self.rng, **self.shares), self.on_screen, purpose,
            uniform=self.project.random_share > 0,
        )  # fmt: skip
        if self.qualifying:
            return self.search.gold_only()
        believed = self.looked_through_at and self.now - self.looked_through_at < BELIEVED
        if believed and self.has_list and (found := self.search.left_over(self.looked_through_at)):
            return found
        too_many_to_list = bool(believed) and not self.has_list
        found = self.search.in_queue(all_around=too_many_to_list)
        if found.held or (found.open.pick and not found.is_sparse):
            return found
        # What is being added now may be older than this moment once it can be seen: then nothing is remembered.
        nothing_comes = lock_idle_project(self.project)
        everything = self.search.all()
        if nothing_comes:
            self._remember(everything)
        if everything:
            return everything
        return self.search.in_queue(all_around=True) if found.open.pick else self.search.in_all()

    def _remember(self, found: Found | None) -> None:
        """What is left for this person, nothing perhaps; or that it is too much for a list."""
        slots = None if found is None else [item.slot for item in found.everything]
        PersonTally.objects.update_or_create(
            project=self.project, user=self.user, defaults={"looked_through_at": self.now, "left_over": slots}
        )

    def decide(self, found: Found) -> Drawn | None:
        if self.qualifying:
            questions = found.open.gold
            return Drawn(1 / len(questions), gold=self.rng.choice(questions)) if questions else None
        return draw(self.search.lot, found.open, self.rng, **self.shares)

    def take(self, found: Found, drawn: Drawn, *, shown: bool) -> Reservation | None:
        """Reserves what was drawn; None if somebody else took it meanwhile, and then they have it for sure."""
        lease_end = _lease_end(self.project, self.now)
        if drawn.gold is not None:
            return self._reserve(_slot_for_gold(drawn.gold, self.project, self.user, lease_end), drawn, shown)
        candidates = found.candidates if drawn.by_policy else [drawn.item.slot]
        slot = _free_slot(candidates, self.now)
        if slot is None:
            _wait_for(candidates[0])
            return None
        if drawn.by_policy and slot.spread != drawn.item.spread:
            # Somebody was just taking the first of the queue.
            uniform = self.search.uniform_probability_of(slot, found) if self.project.random_share else 0.0
            drawn = Drawn(by_policy_probability(uniform, found.open, **self.shares), by_policy=True)
        queued = {"queued_rank": slot.rank, "queued_at": slot.free_from} if drawn.by_policy else {}
        if not _take.run(slot=slot.pk, was_free_from=slot.free_from, lease_end=lease_end, user=self.user.pk):
            return None
        slot.free_from, slot.holder = lease_end, self.user
        return self._reserve(slot, drawn, shown, **queued)

    def _reserve(self, slot: Slot, drawn: Drawn, shown: bool, **queued) -> Reservation:
        return insert(Reservation(
            project=self.project, slot=slot, annotator=self.user, **_drawn_order(slot.comparison, self.rng),
            reserved_at=self.now, shown_at=self.now if shown else None, draw_probability=drawn.probability, **queued,
        ))  # fmt: skip


def _keys(keys: Collection[str | uuid.UUID]) -> list[uuid.UUID]:
    """Those of `keys` that are keys."""
    found = []
    for key in keys:
        with suppress(ValueError):
            found.append(uuid.UUID(str(key)))
    return found


def _held(slots: list[int], user) -> list[Reservation]:
    """The reservations of `slots`, the oldest first; a lease that ran out counts as long as nobody took the slot."""
    if not slots:
        return []
    rows = (
        # From the few slots to their reservations: the person's reservations so far may be many.
        Reservation.objects.filter(slot__in=slots, annotator=user)
        .select_related("project", "slot", *(f"slot__{name}" for name in _OF_SLOT))
        .order_by("reserved_at")
    )
    # Drawn twice by the same person: the last drawing is the one that counts.
    return list({reservation.slot_id: reservation for reservation in rows}.values())


def _keep(reservation: Reservation, user, now: datetime, *, shown: bool) -> bool:
    """Renews the lease if `user` still holds the slot, and notes the time at which the pair is `shown`."""
    slot = reservation.slot
    was_held_until = slot.free_from
    lease = _lease_end(reservation.project, now)
    if not _extend.run(slot=slot.pk, user=user.pk, lease_end=lease):
        return False
    slot.free_from = lease
    # After a lapse the person sits down to it anew, and the hours between are not time spent on judging.
    if shown and (reservation.shown_at is None or was_held_until <= now):
        reservation.shown_at = max(now, reservation.reserved_at)
        reservation.save(update_fields=["shown_at"])
    return True


def _free_slot(candidates: list[int], now: datetime) -> Slot | None:
    """The first of `candidates` that is still free, with its texts; what others are just taking is passed over."""
    last = candidates[-1]
    given = dict(zip_longest(_CANDIDATES, candidates, fillvalue=last))
    return _first_free.first(**given, now=now)


def _wait_for(slot: int) -> None:
    """Until whoever is writing this slot has done so, and what they did can be seen."""
    with transaction.atomic():
        Slot.objects.select_for_update(no_key=True).filter(pk=slot).values_list("pk").first()
        transaction.set_rollback(True)  # of this block alone: the slot is nobody's again


def _free() -> QuerySet[Slot]:
    slots = Slot.objects.filter(
        pk__in=[given_id(name) for name in _CANDIDATES], free_from__lte=given_time("now"), apart=False
    )
    slots = slots.select_related(*_OF_SLOT).order_by("rank", "free_from", "id")
    if connection.features.has_select_for_update_skip_locked:
        slots = slots.select_for_update(skip_locked=True, of=("self",), no_key=True)
    return slots[:1]


_first_free = Prepared(_free)


def _slot_for_gold(comparison: int, project: Project, user, lease_end: datetime) -> Slot:
    """A slot of this gold question for `user` alone."""
    last = Slot.objects.filter(comparison=OuterRef("pk")).order_by("-number").values("number")[:1]
    question = Comparison.objects.select_related(*_OF_COMPARISON).annotate(last=Subquery(last)).get(pk=comparison)
    first = 0 if question.last is None else question.last + 1
    for number in itertools.count(first):
        try:
            with transaction.atomic():
                return Slot.objects.create(
                    project=project, comparison=question, number=number, apart=True, free_from=lease_end, holder=user
                )
        except IntegrityError:
            # Somebody else was given the same question at the same moment, and so the same number.
            if not Slot.objects.filter(comparison=question, number=number).exists():
                raise


def _drawn_order(comparison: Comparison, rng: random.Random) -> dict:
    """The order in which the responses are shown, every order as likely as every other."""
    if not comparison.is_ranking:
        return {"swapped": rng.random() < 0.5}
    count = len(comparison.responses)
    return {"swapped": False, "order": "".join(map(str, rng.sample(range(count), count)))}


def _lease_end(project: Project, now: datetime) -> datetime:
    return now + timedelta(seconds=project.lease_seconds)
