"""What is open for a person, counted one by one: what the queue must find without counting."""

from django.db.models import Q
from django.utils import timezone

from annotate.labeling.progress import for_person
from annotate.models import Slot


def open_for(project, user, *, now=None) -> int:
    """Comparisons that `user` holds or could get now."""
    now = now or timezone.now()
    open_now = Slot.objects.filter(Q(free_from__lte=now) | Q(holder=user), project=project, apart=False)
    return for_person(open_now.filter(free_from__isnull=False), user).values("comparison").distinct().count()
