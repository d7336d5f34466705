"""Deciding split votes: a blind verdict first, then the votes, then the final verdict with its reason."""

import random
from datetime import datetime

from django.db import transaction
from django.utils import timezone
from django.utils.translation import gettext as _

from annotate import access
from annotate.errors import UserError
from annotate.labeling.locks import lock_comparison
from annotate.models import Adjudication, Comparison
from annotate.models.judgment import Rating

LONGEST_REASON = 5000
LEFT, RIGHT = {Rating.A_BETTER, Rating.A_SLIGHTLY_BETTER}, {Rating.B_BETTER, Rating.B_SLIGHTLY_BETTER}


def shown_swapped(comparison: Comparison, user) -> bool:
    """Whether A is the second response for this person: random, and the same each time they look."""
    return random.Random(f"{comparison.pk} {user.pk}").random() < 0.5


@transaction.atomic
def begin(comparison: Comparison, user, rating, *, now: datetime | None = None) -> Adjudication:
    """Stores the blind verdict; from then on its author may see the votes. What somebody else only began starts anew.

    Raises UserError where it is decided, or for one who voted on this pair; PermissionDenied for all but researchers.
    """
    access.require(user, comparison.project, access.Role.RESEARCHER)
    if comparison.is_ranking:
        raise UserError(_("Only pairs are adjudicated."))
    if comparison.judgments.filter(annotator=user).exists():
        raise UserError(_("You voted on this pair yourself. Somebody else decides."))
    lock_comparison(comparison)
    present = Adjudication.objects.filter(comparison=comparison).first()
    if present and present.rating is not None:
        raise UserError(_("This pair is decided already."))
    if present and present.author_id == user.pk:
        return present
    blind = {
        "author": user,
        "swapped": shown_swapped(comparison, user),
        "blind_rating": _rating(rating),
        "begun_at": now or timezone.now(),
    }
    return Adjudication.objects.update_or_create(comparison=comparison, defaults=blind)[0]


@transaction.atomic
def decide(comparison: Comparison, user, rating, reason: str, *, now: datetime | None = None) -> Adjudication:
    """The final verdict. Raises UserError without a blind verdict before it, a reason, or where it is decided."""
    access.require(user, comparison.project, access.Role.RESEARCHER)
    lock_comparison(comparison)
    begun = (
        Adjudication.objects.filter(comparison=comparison, author=user)
        .select_related("comparison__first", "comparison__second")
        .first()
    )
    if begun is None:
        raise UserError(_("Judge the pair before you see the votes; then decide."))
    if begun.rating is not None:
        raise UserError(_("This pair is decided already."))
    rating, reason = _rating(rating), reason.strip()
    if not reason:
        raise UserError(_("Please give the reason: those who voted otherwise may ask."), field="reason")
    if len(reason) > LONGEST_REASON:
        raise UserError(_("A reason has at most %(most)s characters.") % {"most": LONGEST_REASON}, field="reason")
    winner = begun.left if rating in LEFT else begun.right if rating in RIGHT else None
    begun.rating, begun.winner, begun.reason, begun.decided_at = rating, winner, reason, now or timezone.now()
    begun.save(update_fields=["rating", "winner", "reason", "decided_at"])
    return begun


def _rating(value) -> int:
    try:
        rating = int(value)
    except (TypeError, ValueError):
        rating = None
    if rating not in Rating.values:
        raise UserError(_("Please choose one of the ratings."), field="rating")
    return rating
