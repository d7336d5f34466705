"""Who works in a project: roles, new accounts, and how much each has judged."""

import secrets

from django import forms
from django.contrib import messages
from django.db.models import Max
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect
from django.utils.translation import gettext_lazy as _

from annotate.errors import UserError
from annotate.labeling.admission import lift_pause, pause, qualify
from annotate.labeling.standing import standing_of
from annotate.models import DayTally, Membership, PersonTally, Project, User
from annotate.projects import add_member, create_account, remove_member, set_reviewer
from annotate.quality.gold import gold_record, questions_ahead
from annotate.web.common import ADMIN, page, project_view
from annotate.web.forms import add_user_error


class PersonForm(forms.Form):
    username = forms.CharField(
        max_length=150, label=_("User name"), widget=forms.TextInput(attrs={"autocomplete": "off"})
    )
    role = forms.ChoiceField(choices=Membership.Role.choices, label=_("Role"))
    is_new = forms.BooleanField(
        required=False,
        label=_("Make a new account"),
        help_text=_("With a password that is shown once, for you to hand over."),
    )


@project_view(ADMIN)
def people(request: HttpRequest, project: Project) -> HttpResponse:
    """The members; POST adds one, changes a role, or removes one (`do`)."""
    form = PersonForm(request.POST if request.POST.get("do") == "add" else None)
    made = {}
    if request.method == "POST":
        try:
            if request.POST.get("do") != "add":
                _change(request, project)
                return redirect("people", project.slug)
            if form.is_valid():
                made = _add(request, project, form)
                if not made:
                    return redirect("people", project.slug)
                form = PersonForm()
        except UserError as error:
            if form.is_bound:
                add_user_error(form, error)
            else:
                messages.error(request, error.message)
    members = list(project.memberships.select_related("user").order_by("role", "user__username"))
    judged = dict(PersonTally.objects.filter(project=project).values_list("user", "judged"))
    last_day = dict(DayTally.objects.filter(project=project).order_by().values_list("user").annotate(last=Max("day")))
    for member in members:
        member.project, member.standing = project, standing_of(project, member)
        member.judged, member.last_day = judged.get(member.user_id, 0), last_day.get(member.user_id)
        if member.pause_reason == Membership.Pause.TEST:
            member.questions_ahead = questions_ahead(project, member.user_id)
        elif member.pause_reason == Membership.Pause.GOLD:
            member.gold = gold_record(project, member.user_id, member.counted_since)
    return page(
        request, "people/index.html", project, members=members, form=form, roles=Membership.Role.choices, **made
    )


def _add(request: HttpRequest, project: Project, form: PersonForm) -> dict:
    """Adds the person; a new account's name and password for the one page that shows them."""
    name, role = form.cleaned_data["username"], form.cleaned_data["role"]
    if not form.cleaned_data["is_new"]:
        add_member(project, name, role, user=request.user)
        messages.success(
            request, _("%(name)s is now %(role)s here.") % {"name": name, "role": Membership.Role(role).label}
        )
        return {}
    password = secrets.token_urlsafe(9)
    create_account(project, name, password, role, user=request.user)
    return {"new_username": name, "new_password": password}


def _change(request: HttpRequest, project: Project) -> None:
    name, role = request.POST.get("username", ""), request.POST.get("role", "")
    if do := _STANDING.get(request.POST.get("do", "")):
        do(request, project, get_object_or_404(User, username=name))
    elif request.POST.get("do") == "remove":
        remove_member(project, get_object_or_404(User, username=name), user=request.user)
        messages.success(request, _("%(name)s no longer belongs to this project.") % {"name": name})
    else:
        add_member(project, name, role, user=request.user)
        if project.writing:
            set_reviewer(project, name, "reviews" in request.POST, user=request.user)
        messages.success(
            request, _("%(name)s is now %(role)s here.") % {"name": name, "role": Membership.Role(role).label}
        )


def _pause(request: HttpRequest, project: Project, person: User) -> None:
    pause(project, person, user=request.user, note=request.POST.get("note", ""))
    messages.success(request, _("%(name)s is paused.") % {"name": person.username})


def _lift(request: HttpRequest, project: Project, person: User) -> None:
    lift_pause(project, person, user=request.user)
    messages.success(request, _("%(name)s may go on.") % {"name": person.username})


def _qualify(request: HttpRequest, project: Project, person: User) -> None:
    qualify(project, person, user=request.user)
    messages.success(request, _("%(name)s is in, without the test.") % {"name": person.username})


_STANDING = {"pause": _pause, "lift": _lift, "qualify": _qualify}
