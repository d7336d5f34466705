"""The endpoints of a project: who answers in its chats. Only admins write them."""

import re

from django.db import IntegrityError, transaction
from django.utils.translation import gettext as _

from annotate import access
from annotate.chat.client import check_address
from annotate.errors import UserError
from annotate.models import ChatEndpoint, ModelVersion, Project

# The endpoint's address gets the key, so a setting may only name variables that are meant for this.
KEY_PREFIX = "CHAT_KEY_"
_KEY_VARIABLE = re.compile(rf"{KEY_PREFIX}[A-Z0-9_]+")


@transaction.atomic
def add_endpoint(
    project: Project,
    user,
    *,
    name: str,
    base_url: str,
    model_name: str,
    key_variable: str = "",
    temperature: float = 1.0,
    max_tokens: int = 512,
) -> ChatEndpoint:
    """Any OpenAI-compatible address, `base_url` up to and with its /v1. Raises UserError that names the field."""
    access.require(user, project, access.Role.ADMIN)
    name, model_name, key_variable = name.strip(), model_name.strip(), key_variable.strip()
    for field, value in (("name", name), ("model_name", model_name)):
        if not value:
            raise UserError(_("Please fill this in."), field=field)
    if key_variable and not _KEY_VARIABLE.fullmatch(key_variable):
        raise UserError(
            _("The name of the variable begins with %(prefix)s, in capital letters.") % {"prefix": KEY_PREFIX},
            field="key_variable",
        )
    try:
        base_url = check_address(base_url)
    except ValueError as error:
        raise UserError(str(error), field="base_url") from None
    _check_drawing(temperature, max_tokens)
    return _create(
        project, name=name, base_url=base_url, model_name=model_name, key_variable=key_variable,
        temperature=temperature, max_tokens=max_tokens,
    )  # fmt: skip


@transaction.atomic
def serve_model(model: ModelVersion, user=None, *, temperature: float = 1.0, max_tokens: int = 512) -> ChatEndpoint:
    """Asks the workers to serve this policy to its project's chat, until `stop_serving`."""
    if user is not None:
        access.require(user, model.project, access.Role.ADMIN)
    if model.kind != ModelVersion.Kind.POLICY:
        raise UserError(_("Only a policy can chat; a reward model scores."))
    _check_drawing(temperature, max_tokens)
    endpoint = ChatEndpoint.objects.filter(model=model).first()
    if endpoint is None:
        endpoint = _create(
            model.project, name=model.name, model_name=model.name, model=model, temperature=temperature,
            max_tokens=max_tokens,
        )  # fmt: skip
    ChatEndpoint.objects.filter(pk=endpoint.pk).update(served=True, enabled=True, problem="")
    endpoint.refresh_from_db()
    return endpoint


def stop_serving(endpoint: ChatEndpoint, user) -> None:
    """The worker that serves it ends the model's process within seconds."""
    access.require(user, endpoint.project, access.Role.ADMIN)
    ChatEndpoint.objects.filter(pk=endpoint.pk).update(served=False)


def set_enabled(endpoint: ChatEndpoint, user, enabled: bool) -> None:
    """Whether new turns go to it."""
    access.require(user, endpoint.project, access.Role.ADMIN)
    ChatEndpoint.objects.filter(pk=endpoint.pk).update(enabled=enabled)


def remove_endpoint(endpoint: ChatEndpoint, user) -> None:
    """Its replies stay, with the name of who wrote them. Raises UserError while a worker serves it."""
    access.require(user, endpoint.project, access.Role.ADMIN)
    if endpoint.served:
        raise UserError(_("Please stop serving this model first."))
    if endpoint.runs.exists():
        raise UserError(_("Runs have asked this model, and their pages name it: please disable it instead."))
    endpoint.delete()


def _create(project: Project, *, name: str, **fields) -> ChatEndpoint:
    try:
        with transaction.atomic():
            return ChatEndpoint.objects.create(project=project, name=name, **fields)
    except IntegrityError:
        raise UserError(_("There is already an endpoint of this name."), field="name") from None


def _check_drawing(temperature: float, max_tokens: int) -> None:
    if not 0 <= temperature <= 2:
        raise UserError(_("A temperature is a number from 0 to 2."), field="temperature")
    if not 1 <= max_tokens <= 8192:
        raise UserError(_("A reply has from 1 to 8192 tokens."), field="max_tokens")
