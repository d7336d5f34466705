"""Rounds: a policy answers prompts, and the pairs of its answers go to the annotators."""

from django import forms
from django.contrib import messages
from django.db.models import Count, Q
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import reverse
from django.utils.translation import gettext_lazy as _

from annotate.errors import UserError
from annotate.models import ModelVersion, Project
from annotate.runs import selectors
from annotate.runs.rounds import start_round
from annotate.web.common import ADMIN, RESEARCHER, page, project_view
from annotate.web.forms import add_user_error
from annotate.web.numbers import figure
from annotate.web.run_form import ModelChoice


@project_view(RESEARCHER)
def index(request: HttpRequest, project: Project) -> HttpResponse:
    used_up = Q(comparisons__slots__free_from__isnull=True, comparisons__slots__isnull=False)
    rounds = selectors.rounds_of(project).annotate(
        pairs=Count("comparisons", distinct=True),
        wanted=Count("comparisons__slots", distinct=True),
        done=Count("comparisons__slots", distinct=True, filter=used_up),
    )
    hint = (
        _("The first one needs prompts and a policy.")
        if ADMIN in request.roles
        else _("An admin starts the first one.")
    )
    return page(request, "rounds/index.html", project, rounds=rounds, hint=hint, may_start=ADMIN in request.roles)


class RoundForm(forms.Form):
    prompts = forms.IntegerField(min_value=1, label=_("Prompts"))
    responses_per_prompt = forms.IntegerField(
        initial=2, min_value=2, max_value=9, label=_("Responses per prompt"),
        help_text=_("Every two different responses make a pair: 2 make one, 3 make three, 4 make six."),
    )  # fmt: skip
    rankings = forms.BooleanField(
        required=False,
        label=_("Rank all answers to a prompt at once"),
        help_text=_("For 4 to 9 responses per prompt: one ranking instead of all their pairs."),
    )
    temperature = forms.FloatField(
        initial=1.0,
        min_value=0,
        label=_("Temperature"),
        help_text=_("Higher makes the responses differ more; 1 is the policy as it is."),
    )

    def __init__(self, project: Project, data=None):
        super().__init__(data)
        available = project.prompts.filter(in_pool=True).count()
        self.fields["prompts"].initial = min(100, available)
        self.fields["prompts"].help_text = _("Drawn from the %(count)s uploaded prompts.") % {
            "count": figure(available)
        }
        policy = ModelChoice(
            project.models.filter(kind=ModelVersion.Kind.POLICY),
            label=_("Policy"),
            initial=project.policy_id,
            promoted_pk=project.policy_id,
            empty_label=None,
        )
        self.fields = {"policy": policy, **self.fields}


@project_view(ADMIN)
def new(request: HttpRequest, project: Project) -> HttpResponse:
    form = RoundForm(project, request.POST or None)
    if form.is_valid():
        chosen = form.cleaned_data
        try:
            opened = start_round(
                project,
                chosen["policy"],
                user=request.user,
                prompts=chosen["prompts"],
                responses_per_prompt=chosen["responses_per_prompt"],
                rankings=chosen["rankings"],
                params={"temperature": chosen["temperature"]},
            )
        except UserError as error:
            add_user_error(form, error)
        else:
            messages.success(
                request,
                _("Round %(number)s is queued. Its pairs open when all answers are written.")
                % {"number": opened.number},
            )
            return redirect("run", project.slug, opened.run_id)
    return page(request, "rounds/new.html", project, form=form, missing=_missing(project))


def _missing(project: Project) -> list[dict]:
    def need(text: str, action: str, name: str) -> dict:
        return {"text": text, "action": action, "url": reverse(name, args=[project.slug])}

    needs = []
    if not project.models.filter(kind=ModelVersion.Kind.POLICY).exists():
        needs.append(need(_("There is no policy to answer prompts."), _("Add a model"), "models"))
    if not project.prompts.filter(in_pool=True).exists():
        needs.append(need(_("There are no prompts to answer."), _("Upload prompts"), "data"))
    return needs
