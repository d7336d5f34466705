"""Row locks that give each person, and each project's intake of data, one writer at a time.

On SQLite a transaction that writes holds the database's one write lock from its BEGIN (see settings), so there is
nothing left to lock. Where rows can be locked, these locks are taken first, so no two writers wait for each other.
"""

from django.db import connection
from django.db.models import OuterRef, Subquery

from annotate import access
from annotate.models import Membership, Project, User


def lock_annotator(user, project: Project) -> None:
    """Until the transaction ends, nobody else reserves, submits or skips as `user`.

    In the same query the permission: raises PermissionDenied unless `user` may label in `project`.
    """
    role = Membership.objects.filter(user=OuterRef("pk"), project=project).values("role")
    person = User.objects.filter(pk=user.pk).values_list(Subquery(role))
    if connection.features.has_select_for_update:
        person = person.select_for_update(no_key=True, of=("self",))
    found = person.first()
    if found is None or not access.allows(user, found[0], access.Role.ANNOTATOR):
        raise access.refusal(project, access.Role.ANNOTATOR)


def lock_project(project: Project) -> None:
    """Until the transaction ends, nobody else adds prompts, responses, comparisons or versions to `project`."""
    if connection.features.has_select_for_update:
        Project.objects.select_for_update(no_key=True).filter(pk=project.pk).values_list("pk").first()
