"""What every view shares: who is signed in, which project, what the menu holds, and how a page is rendered."""

from functools import wraps

from django.contrib.auth.views import redirect_to_login
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, render
from django.urls import reverse
from django.utils.translation import gettext_lazy as _

from annotate import access
from annotate.models import Membership, Project

ANNOTATOR, RESEARCHER, ADMIN = Membership.Role.ANNOTATOR, Membership.Role.RESEARCHER, Membership.Role.ADMIN

# Title, address, and the role that sees it, in the order in which the loop is walked.
MENU = [
    (_("Overview"), "project", RESEARCHER),
    (_("Compare"), "label", ANNOTATOR),
    (_("My judgments"), "label_history", ANNOTATOR),
    (_("My progress"), "my_progress", ANNOTATOR),
    (_("Write"), "write", ANNOTATOR),
    (_("My texts"), "demonstrations_mine", ANNOTATOR),
    (_("Review"), "demonstrations", access.REVIEWER),
    (_("Chat"), "chat", ANNOTATOR),
    (_("Guidelines"), "guidelines", None),
    (_("Data"), "data", ADMIN),
    (_("Datasets"), "datasets", RESEARCHER),
    (_("Runs"), "runs", RESEARCHER),
    (_("Models"), "models", RESEARCHER),
    (_("Rounds"), "rounds", RESEARCHER),
    (_("Quality"), "quality", RESEARCHER),
    (_("People"), "people", ADMIN),
    (_("Settings"), "settings", ADMIN),
]
# Entries that stand there only where the project has this setting on.
FEATURES = {"write": "writing", "demonstrations_mine": "writing", "demonstrations": "writing", "chat": "chat"}

# Pages without an item of their own, and the item that they belong to.
BELONGS = {"adjudication": "quality", "adjudicate": "quality", "gold": "quality", "throughput": "quality"}


def signed_in(view):
    """Sends strangers to the login page; an HTMX request gets a bare 401, so that its page stays as it is."""

    @wraps(view)
    def guarded(request: HttpRequest, *args, **kwargs) -> HttpResponse:
        if request.user.is_authenticated:
            return view(request, *args, **kwargs)
        if request.htmx:
            return HttpResponse(_("Please sign in again."), status=401, content_type="text/plain")
        return redirect_to_login(request.get_full_path())

    return guarded


def project_view(*roles: str):
    """The view gets the project of the address instead of its slug, and needs one of `roles` (none: any member)."""

    def decorate(view):
        @signed_in
        @wraps(view)
        def guarded(request: HttpRequest, slug: str, *args, **kwargs) -> HttpResponse:
            project = get_object_or_404(Project, slug=slug)
            request.membership = access.membership_of(request.user, project)
            request.roles = access.roles_of(request.user, request.membership)
            if not request.roles.intersection(roles or Membership.Role.values):
                raise PermissionDenied
            return view(request, project, *args, **kwargs)

        return guarded

    return decorate


def menu(request: HttpRequest, project: Project) -> list[dict]:
    """The project's menu as far as this person may go."""
    here = request.resolver_match.url_name if request.resolver_match else ""
    return [
        {"title": title, "url": reverse(name, args=[project.slug]), "current": BELONGS.get(here, here) == name}
        for title, name, role in MENU
        if (role is None or role in request.roles) and getattr(project, FEATURES.get(name, "pk"))
    ]


def page(request: HttpRequest, template: str, project: Project | None = None, status: int = 200, **context):
    """The rendered page, with the project's menu where there is a project."""
    if project is not None:
        context |= {
            "project": project,
            "nav": menu(request, project),
            "manages": ADMIN in request.roles,
            "researches": RESEARCHER in request.roles,
            "judges": ANNOTATOR in request.roles,
        }
    return render(request, template, context, status=status)
