"""Home, the overview of a project, and its settings."""

from django import forms
from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.utils.translation import gettext_lazy as _

from annotate import access
from annotate.errors import UserError
from annotate.labeling.progress import queue_states
from annotate.labeling.standing import waiting_to_hear
from annotate.models import Membership, Project
from annotate.models.project import QueuePolicy
from annotate.projects import create_project, update_project
from annotate.web.common import ADMIN, ANNOTATOR, RESEARCHER, page, project_view, signed_in
from annotate.web.forms import add_user_error
from annotate.web.loop import loop_of
from annotate.web.trust_form import ShareField, TrustForm


@signed_in
def home(request: HttpRequest) -> HttpResponse:
    """The projects of this person with how far each has come, in four queries, whatever is in them."""
    projects = list(access.projects_for(request.user).order_by("archived", "name"))
    states = queue_states(projects, request.user)
    roles = dict(Membership.objects.filter(user=request.user).values_list("project", "role"))
    cards = []
    for project in projects:
        role = ADMIN if request.user.is_staff else roles[project.pk]
        state = states[project.pk]
        cards.append(
            {
                "project": project,
                "wanted": state.total_wanted,
                "done": state.total_done,
                "mine": state.judged,
                "judges": role in {ANNOTATOR, ADMIN} and not project.archived,
                "researches": role in {RESEARCHER, ADMIN},
            }
        )
    return page(request, "projects/home.html", cards=cards)


@project_view(RESEARCHER)
def overview(request: HttpRequest, project: Project) -> HttpResponse:
    runs = project.runs.select_related("created_by", "model_made")[:5]
    manages = ADMIN in request.roles
    return page(
        request, "projects/overview.html", project, loop=loop_of(project, manages=manages), runs=runs,
        waiting=waiting_to_hear(project).count() if manages else 0,
    )  # fmt: skip


class ProjectForm(forms.Form):
    title = _("The project")

    name = forms.CharField(max_length=120, label=_("Name"))
    description = forms.CharField(
        label=_("Description"),
        required=False,
        widget=forms.Textarea(attrs={"rows": 3}),
        help_text=_("What the annotators see on their start page."),
    )
    judgments_wanted = forms.IntegerField(
        initial=1, min_value=1, max_value=50, label=_("Judgments per comparison"),
        help_text=_("How many different people judge each comparison. It holds for comparisons added from now on."),
    )  # fmt: skip
    lease_minutes = forms.IntegerField(
        initial=30, min_value=1, max_value=1440, label=_("Minutes reserved"),
        help_text=_("A pair that somebody has open stays theirs for this long after they were last seen."),
    )  # fmt: skip


class JudgingForm(forms.Form):
    """What the labeling page asks besides the four-way rating."""

    title = _("What annotators are asked")

    allow_equal = forms.BooleanField(
        required=False,
        label=_("Ties"),
        help_text=_("“Equal” may be chosen, and responses of a ranking may share a rank."),
    )
    allow_both_bad = forms.BooleanField(
        required=False,
        label=_("Both are bad"),
        help_text=_("For pairs from which nothing should be learnt: they never become training pairs."),
    )
    ask_criteria = forms.BooleanField(
        required=False,
        label=_("Verdicts on helpful, truthful and harmless"),
        help_text=_("Each optional. They ask which of two is better, so they stand on pairs only, not on rankings."),
    )
    ask_confidence = forms.BooleanField(required=False, label=_("How sure the person is"), help_text=_("Optional."))
    ask_overall = forms.BooleanField(
        required=False, label=_("Overall quality of each response from 1 to 7"), help_text=_("Optional.")
    )
    ask_flags = forms.BooleanField(
        required=False,
        label=_("What is wrong with each response"),
        help_text=_("Ten boxes: fails the instruction, hallucination, harmful advice, …"),
    )
    ask_edited = forms.BooleanField(
        required=False,
        label=_("An improved answer"),
        help_text=_("People may improve the better answer; it is exported with the pair, and as a demonstration."),
    )
    require_note = forms.BooleanField(
        required=False, label=_("A written reason"), help_text=_("A judgment needs a note that says why.")
    )
    edit_last = forms.IntegerField(
        initial=50, min_value=0, max_value=100, label=_("Judgments that may be changed"),
        help_text=_("People may change so many of their last judgments while the project is open; 0 is none."),
    )  # fmt: skip


class WorkForm(forms.Form):
    """Which other kinds of work there are besides comparisons: demonstrations and chat."""

    title = _("Other kinds of work")

    writing = forms.BooleanField(
        required=False,
        label=_("Demonstrations"),
        help_text=_("People write ideal answers to the prompts of the pool; accepted ones are data for fine-tuning."),
    )
    demonstrations_wanted = forms.IntegerField(
        initial=1, min_value=1, max_value=20, label=_("Demonstrations per prompt"),
        help_text=_("How many different people answer each prompt."),
    )  # fmt: skip
    own_prompts = forms.BooleanField(
        required=False,
        label=_("Prompts of one’s own"),
        help_text=_("Writers may also make up a prompt and answer it."),
    )
    chat = forms.BooleanField(
        required=False,
        label=_("Live chat"),
        help_text=_("Annotators chat with two models at once and choose the better answer after each turn."),
    )


class OrderForm(forms.Form):
    """Which comparison comes next (annotate/labeling/policies.py)."""

    title = _("Order of the queue")

    queue_policy = forms.ChoiceField(
        choices=[
            (QueuePolicy.OLDEST, _("Oldest first")),
            (QueuePolicy.BREADTH, _("Fewest judgments first")),
            (QueuePolicy.UNCERTAINTY, _("Most uncertain first")),
            (QueuePolicy.ON_POLICY, _("Newest round first")),
        ],
        label=_("Which comparison comes next"),
        help_text=_("What waits is put in order anew when this changes."),
    )
    random_share = ShareField(
        required=True, min_value=0, label=_("Drawn at random instead, in percent"),
        help_text=_("Some random picks are what lets estimates be weighted to all comparisons; 0 gives that up."),
    )  # fmt: skip
    gold_share = ShareField(
        required=True, min_value=0, max_value=50, label=_("Gold questions among them, in percent"),
        help_text=_("Hidden questions whose answer is known; each person meets each of them once."),
    )  # fmt: skip


class SettingsForm(TrustForm, WorkForm, OrderForm, JudgingForm, ProjectForm):
    """All settings; `sections` puts them under the titles of the forms that it is made of."""

    archived = forms.BooleanField(
        required=False,
        label=_("Archived"),
        help_text=_("Nothing is handed out for judging any more; everything stays readable."),
    )

    def sections(self) -> list[tuple[str, list]]:
        parts = [(part.title, list(part.base_fields)) for part in reversed(type(self).__bases__)]
        listed = {name for _title, names in parts for name in names}
        parts.append((_("Closing"), [name for name in self.fields if name not in listed]))
        return [(title, [self[name] for name in names]) for title, names in parts]


def _settings(form: forms.Form) -> dict:
    values = dict(form.cleaned_data)
    values["lease_seconds"] = values.pop("lease_minutes") * 60
    return values


@signed_in
def new(request: HttpRequest) -> HttpResponse:
    if not request.user.is_staff:
        raise PermissionDenied
    form = ProjectForm(request.POST or None)
    if form.is_valid():
        try:
            project = create_project(request.user, **_settings(form))
        except UserError as error:
            add_user_error(form, error)
        else:
            messages.success(
                request, _("%(name)s is made. It starts with the standard guidelines.") % {"name": project.name}
            )
            return redirect("project", project.slug)
    lead = "It starts with guidelines for helpful, truthful and harmless responses, which you can edit."
    context = {"form": form, "heading": "New project", "lead": lead, "action": "Make the project"}
    return page(request, "projects/form.html", **context)


@project_view(ADMIN)
def settings(request: HttpRequest, project: Project) -> HttpResponse:
    initial = {name: getattr(project, name) for name in SettingsForm.base_fields if hasattr(project, name)}
    initial["lease_minutes"] = max(1, project.lease_seconds // 60)
    form = SettingsForm(request.POST or None, initial=initial)
    if form.is_valid():
        try:
            update_project(project, request.user, **_settings(form))
        except UserError as error:
            add_user_error(form, error)
        else:
            messages.success(request, _("The settings are saved."))
            return redirect("settings", project.slug)
    return page(request, "projects/form.html", project, form=form, heading=_("Settings"), action=_("Save"))
