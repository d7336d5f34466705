"""The model registry: policies and reward models with their lineage, and which ones are promoted."""

from django import forms
from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect
from django.urls import reverse
from django.utils.translation import gettext_lazy as _
from django.views.decorators.http import require_POST

from annotate.errors import UserError
from annotate.models import ModelVersion, Project
from annotate.runs import registry, selectors
from annotate.web.common import ADMIN, RESEARCHER, page, project_view
from annotate.web.forms import add_user_error
from annotate.web.loop import headline


class ModelForm(forms.Form):
    name = forms.CharField(max_length=120, label=_("Name"))
    kind = forms.ChoiceField(choices=ModelVersion.Kind.choices, label=_("Kind"))
    source = forms.CharField(
        max_length=500,
        label=_("Source"),
        help_text=_("A hub id such as Qwen/Qwen2.5-0.5B-Instruct, or a directory on the server."),
    )


@project_view(RESEARCHER)
def index(request: HttpRequest, project: Project) -> HttpResponse:
    """Both kinds; an admin may add a model from elsewhere."""
    may_add = ADMIN in request.roles
    form = ModelForm(request.POST or None) if may_add else None
    if form and form.is_valid():
        try:
            model = registry.add_external(project, user=request.user, **form.cleaned_data)
        except UserError as error:
            add_user_error(form, error)
        else:
            messages.success(request, _("%(name)s is in the registry.") % {"name": model.name})
            return redirect("models", project.slug)
    return page(request, "models/index.html", project, groups=_groups(project), form=form, may_start=may_add)


@require_POST
@project_view(ADMIN)
def promote(request: HttpRequest, project: Project, pk: int) -> HttpResponse:
    model = get_object_or_404(project.models, pk=pk)
    registry.promote(model, request.user)
    messages.success(
        request, _("%(name)s is promoted: the next training and the next round start from it.") % {"name": model.name}
    )
    return redirect("models", project.slug)


def _groups(project: Project) -> list[dict]:
    models = list(selectors.models_of(project))
    by_pk = {model.pk: model for model in models}
    for model in models:
        model.promoted = model.pk in {project.policy_id, project.reward_model_id}
        model.ancestors = _ancestors(model, by_pk)
        model.headline = headline(model.metrics)
        model.dataset = model.run.dataset if model.run else None
    kinds = [
        (
            ModelVersion.Kind.POLICY, _("Policies"), _("What answers prompts, newest first"), _("No policy yet"),
            _("Add a model from elsewhere below, or fine-tune one."), _("Fine-tune"),
            reverse("runs", args=[project.slug]),
        ),
        (
            ModelVersion.Kind.REWARD, _("Reward models"), _("What scores responses as people would, newest first"),
            _("No reward model yet"), _("Train one as soon as there are judgments."), _("Train a reward model"),
            reverse("run_new", args=[project.slug, "reward"]),
        ),
    ]  # fmt: skip
    return [
        {
            "kind": kind, "title": title, "caption": caption, "empty": empty, "hint": hint,
            "action": action, "url": url, "models": [model for model in models if model.kind == kind],
        }
        for kind, title, caption, empty, hint, action, url in kinds
    ]  # fmt: skip


def _ancestors(model: ModelVersion, by_pk: dict[int, ModelVersion]) -> list[ModelVersion]:
    """What it was made from, the first one first."""
    chain = []
    while (model := by_pk.get(model.parent_id)) is not None:
        chain.append(model)
    return chain[::-1]
