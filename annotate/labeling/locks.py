"""Row locks that give each person, and each project's intake of data, one writer at a time.

On SQLite a transaction that writes holds the database's one write lock from its BEGIN (see settings), so there is
nothing left to lock. Where rows can be locked, these locks are taken first, so no two writers wait for each other.
"""

from django.db import connection
from django.db.models import Exists, OuterRef, QuerySet, Subquery

from annotate import access
from annotate.models import Comparison, Membership, PersonTally, Project, User
from annotate.prepared import Prepared, given_id

# Settings of a project by which slots are made.
_DECIDING = ("judgments_wanted", "queue_policy", "hold_leaks")


def lock_annotator(user, project: Project) -> Membership | None:
    """Until the transaction ends, nobody else reserves, submits or skips as `user`.

    In the same query the permission: raises PermissionDenied unless `user` may label in `project`. The membership says
    `looked_through_at` and `has_list` as well (see PersonTally); staff may label without one, and get None.
    """
    membership = _membership.first(user=user.pk, project=project.pk)
    person = membership.user if membership else _account.first(user=user.pk)
    if person is None or not access.allows(person, membership and membership.role, access.Role.ANNOTATOR):
        raise access.refusal(project, access.Role.ANNOTATOR)
    return membership


def lock_project(project: Project) -> None:
    """Until the transaction ends, nobody else adds prompts, responses, comparisons or versions to `project`.

    What decides about their slots is read anew: an admin may have changed it since `project` was loaded.
    """
    project.refresh_from_db(fields=_DECIDING, from_queryset=Project.objects.select_for_update(no_key=True))


def lock_idle_project(project: Project) -> bool:
    """As `lock_project` where nobody has it. False where somebody has, and nothing is waited for."""
    idle = Project.objects.select_for_update(no_key=True, skip_locked=True).filter(pk=project.pk)
    return idle.values_list("pk").first() is not None


def lock_accounts() -> None:
    """Until the transaction ends, nobody else makes the accounts of imported data, whose names all projects share."""
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_xact_lock(hashtext('prefloop accounts'))")


def lock_comparison(comparison: Comparison) -> None:
    """Until the transaction ends, nobody else adjudicates `comparison`."""
    if connection.features.has_select_for_update:
        Comparison.objects.select_for_update(no_key=True).filter(pk=comparison.pk).values_list("pk").first()


def _member() -> QuerySet[Membership]:
    tally = PersonTally.objects.filter(user=OuterRef("user"), project=OuterRef("project"))
    members = Membership.objects.filter(user=given_id("user"), project=given_id("project")).select_related("user")
    looked, has_list = Subquery(tally.values("looked_through_at")), Exists(tally.filter(left_over__isnull=False))
    return _locked(members.annotate(looked_through_at=looked, has_list=has_list), "user")


def _locked(people: QuerySet, row: str) -> QuerySet:
    if connection.features.has_select_for_update:
        return people.select_for_update(no_key=True, of=(row,))
    return people


_membership = Prepared(_member)
_account = Prepared(lambda: _locked(User.objects.filter(pk=given_id("user")), "self"))
