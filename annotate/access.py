"""Who may do what. Services ask before they write, so no page or endpoint can forget to."""

from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet

from annotate.models import Membership, Project
from annotate.prepared import Prepared, given_id

Role = Membership.Role

# No role of its own, but a right: researchers and admins have it, and annotators whose membership says so.
REVIEWER = "reviewer"

# An admin may look at everything, the labeling page too; a researcher does not label, an annotator sees no results.
_MAY_ACT_AS = {
    Role.ADMIN: {Role.ADMIN, Role.RESEARCHER, Role.ANNOTATOR, REVIEWER},
    Role.RESEARCHER: {Role.RESEARCHER, REVIEWER},
    Role.ANNOTATOR: {Role.ANNOTATOR},
}

_membership = Prepared(lambda: Membership.objects.filter(project=given_id("project"), user=given_id("user")))


def roles(user, project: Project) -> set[str]:
    """What `user` may act as in `project`, in one query. `is_staff` may act as anything anywhere."""
    if not user.is_authenticated or not user.is_active:
        return set()
    return roles_of(user, None if user.is_staff else membership_of(user, project))


def membership_of(user, project: Project) -> Membership | None:
    return _membership.first(project=project.pk, user=user.pk)


def roles_of(user, membership: Membership | None) -> set[str]:
    """The same from a membership that is loaded, without a query."""
    if not user.is_active:
        return set()
    if user.is_staff:
        return _MAY_ACT_AS[Role.ADMIN]
    if membership is None:
        return set()
    return _MAY_ACT_AS[Role(membership.role)] | ({REVIEWER} if membership.reviews else set())


def can(user, project: Project, role: str) -> bool:
    """Whether `user` may act as `role` in `project`."""
    return role in roles(user, project)


def require(user, project: Project, role: str) -> None:
    """Raises PermissionDenied unless `user` may act as `role` in `project`."""
    if not can(user, project, role):
        raise refusal(project, role)


def allows(user, held: str | None, role: str) -> bool:
    """Whether an account whose role in the project is `held` may act as `role` there."""
    if not user.is_active:
        return False
    return user.is_staff or (held is not None and role in _MAY_ACT_AS[Role(held)])


def refusal(project: Project, role: str) -> PermissionDenied:
    if role == REVIEWER:
        return PermissionDenied(f"This needs the right to review demonstrations in {project.name}.")
    return PermissionDenied(f"This needs the role “{Role(role).label.lower()}” in {project.name}.")


def require_staff(user) -> None:
    """Raises PermissionDenied unless `user` administrates the whole site."""
    if not (user.is_authenticated and user.is_active and user.is_staff):
        raise PermissionDenied("This needs an administrator of the site.")


def projects_for(user) -> QuerySet[Project]:
    """The projects that `user` has a role in; for staff, all of them."""
    if not user.is_authenticated or not user.is_active:
        return Project.objects.none()
    if user.is_staff:
        return Project.objects.all()
    return Project.objects.filter(memberships__user=user)
