"""Who answers in a project's chats: addresses, and models of the registry that a worker serves."""

from django import forms
from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.http import require_POST

from annotate.chat import endpoints
from annotate.errors import UserError
from annotate.models import ModelVersion, Project
from annotate.web.common import ADMIN, page, project_view
from annotate.web.forms import add_user_error


class EndpointForm(forms.Form):
    name = forms.CharField(
        max_length=120, label=gettext_lazy("Name"), help_text=gettext_lazy("For admins; annotators never see it.")
    )
    base_url = forms.CharField(
        max_length=500,
        label=gettext_lazy("Address"),
        help_text=gettext_lazy("Of an OpenAI-compatible server, up to and with /v1: https://models.example/v1"),
    )
    model_name = forms.CharField(max_length=200, label=gettext_lazy("Model, as the server calls it"))
    key_variable = forms.CharField(
        required=False,
        max_length=100,
        label=gettext_lazy("Variable with the key"),
        help_text=gettext_lazy(
            "The environment variable that holds the server’s key where the worker runs; it begins with CHAT_KEY_. "
            "The key itself is never stored here."
        ),
    )
    temperature = forms.FloatField(initial=1.0, min_value=0, max_value=2, label=gettext_lazy("Temperature"))
    max_tokens = forms.IntegerField(
        initial=512, min_value=1, max_value=8192, label=gettext_lazy("Longest reply, in tokens")
    )


@project_view(ADMIN)
def index(request: HttpRequest, project: Project) -> HttpResponse:
    form = EndpointForm(request.POST or None)
    if form.is_valid():
        try:
            endpoint = endpoints.add_endpoint(project, request.user, **form.cleaned_data)
        except UserError as error:
            add_user_error(form, error)
        else:
            messages.success(request, _("%(name)s answers from now on.") % {"name": endpoint.name})
            return redirect("chat_models", project.slug)
    return page(
        request, "chat/models.html", project, 422 if form.errors else 200, form=form,
        endpoints=project.chat_endpoints.select_related("model"),
        policies=project.models.filter(kind=ModelVersion.Kind.POLICY).exclude(chat_endpoint__served=True),
    )  # fmt: skip


@require_POST
@project_view(ADMIN)
def act(request: HttpRequest, project: Project, pk: int, action: str) -> HttpResponse:
    """One of enable, disable, stop and remove."""
    endpoint = get_object_or_404(project.chat_endpoints, pk=pk)
    actions = {
        "enable": lambda: endpoints.set_enabled(endpoint, request.user, True),
        "disable": lambda: endpoints.set_enabled(endpoint, request.user, False),
        "stop": lambda: endpoints.stop_serving(endpoint, request.user),
        "remove": lambda: endpoints.remove_endpoint(endpoint, request.user),
    }
    try:
        actions.get(action, lambda: None)()
    except UserError as error:
        messages.error(request, error.message)
    return redirect("chat_models", project.slug)


@require_POST
@project_view(ADMIN)
def serve(request: HttpRequest, project: Project, pk: int) -> HttpResponse:
    """A worker starts this model of the registry for the chat."""
    try:
        endpoint = endpoints.serve_model(get_object_or_404(project.models, pk=pk), request.user)
    except UserError as error:
        messages.error(request, error.message)
    else:
        messages.success(request, _("A worker starts %(name)s within seconds.") % {"name": endpoint.name})
    return redirect("chat_models", project.slug)
