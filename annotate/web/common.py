"""What every view shares: who is signed in, which project, and how a page with its menu is rendered."""

from functools import wraps
from urllib.parse import urlsplit

from django.contrib import messages
from django.contrib.auth.views import redirect_to_login
from django.core.exceptions import PermissionDenied
from django.db.models import SlugField
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils.http import url_has_allowed_host_and_scheme
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from annotate import access
from annotate.models import Membership, Project
from annotate.prepared import Given, Prepared, given_id
from annotate.web.menu import ADMIN, ANNOTATOR, RESEARCHER, menu

_project = Prepared(lambda: Project.objects.filter(slug=Given("slug", SlugField())))
_membership = Prepared(
    lambda: Membership.objects.filter(project__slug=Given("slug", SlugField()), user=given_id("user")).select_related(
        "project"
    )
)


_SENT_SIGNED_OUT = gettext_lazy("You have been signed out, and what you just sent was not saved. Please send it again.")


def signed_in(view):
    """Sends strangers to the login page; an HTMX request gets a bare 401, so that its page stays as it is."""

    @wraps(view)
    def guarded(request: HttpRequest, *args, **kwargs) -> HttpResponse:
        if request.user.is_authenticated:
            return view(request, *args, **kwargs)
        if request.htmx:
            return HttpResponse(_("Please sign in again."), status=401, content_type="text/plain")
        if request.method == "GET":
            return redirect_to_login(request.get_full_path())
        messages.warning(request, _SENT_SIGNED_OUT)
        return redirect_to_login(_sent_from(request))

    return guarded


def _sent_from(request: HttpRequest) -> str:
    """The page on this site whose form was sent; the first page where the browser does not say."""
    page = request.headers.get("Referer", "")
    if not url_has_allowed_host_and_scheme(page, {request.get_host()}, request.is_secure()):
        return "/"
    return urlsplit(page)._replace(scheme="", netloc="", fragment="").geturl()


def project_view(*roles: str):
    """The view gets the project of the address instead of its slug, and needs one of `roles` (none: any member)."""

    def decorate(view):
        @signed_in
        @wraps(view)
        def guarded(request: HttpRequest, slug: str, *args, **kwargs) -> HttpResponse:
            request.membership = _membership.first(slug=slug, user=request.user.pk)
            project = request.membership.project if request.membership else _project.first(slug=slug)
            if project is None:
                raise Http404
            request.roles = access.roles_of(request.user, request.membership)
            if not request.roles.intersection(roles or Membership.Role.values):
                raise PermissionDenied
            return view(request, project, *args, **kwargs)

        return guarded

    return decorate


def page(request: HttpRequest, template: str, project: Project | None = None, status: int = 200, **context):
    """The rendered page, with the project's menu where there is a project."""
    if project is not None:
        sections = menu(request, project)
        context |= {
            "project": project,
            "nav": sections,
            "section": next((section for section in sections if section["current"]), None),
            "manages": ADMIN in request.roles,
            "researches": RESEARCHER in request.roles,
            "judges": ANNOTATOR in request.roles,
        }
    return render(request, template, context, status=status)
