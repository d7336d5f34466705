"""The model registry: models that runs have made, models from elsewhere, and which of them a project has promoted."""

import re
from pathlib import Path

from django.conf import settings
from django.db import IntegrityError, transaction
from django.utils.translation import gettext as _

from annotate.access import require
from annotate.errors import UserError
from annotate.models import Membership, ModelVersion, Project, Run
from annotate.runs.directory import run_directory
from annotate.runs.recipes import RECIPES

HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+")


def register_model(run: Run, metrics: dict) -> ModelVersion:
    """Enter RUNS_DIR/<id>/model, which stays where it is. Call it in the transaction that ends the run as succeeded.

    The first model of its kind in a project is promoted at once. Raises UserError where there is no whole model.
    """
    directory = run_directory(run) / "model"
    if not is_model_directory(directory):
        raise UserError(_("The run ended without a whole model in %(directory)s.") % {"directory": directory})
    kind = RECIPES[run.recipe].makes
    model, _created = ModelVersion.objects.get_or_create(
        run=run,
        defaults={
            "project": run.project,
            "kind": kind,
            "name": f"{run.recipe}-{run.pk}",
            "source": str(directory.relative_to(settings.VAR_DIR)),
            "parent": run.base_model,
            "metrics": metrics,
        },
    )
    _promote_first(model)
    return model


def add_external(project: Project, kind: str, name: str, source: str, *, user=None) -> ModelVersion:
    """Enter a model from elsewhere: a hub id `owner/name`, or a directory on this machine. Raises UserError."""
    if user is not None:
        require(user, project, Membership.Role.ADMIN)
    name, source = name.strip(), source.strip()
    if kind not in ModelVersion.Kind.values:
        raise UserError(
            _("A model is one of %(values)s, not %(kind)s.")
            % {"values": ", ".join(ModelVersion.Kind.values), "kind": kind},
            field="kind",
        )
    if not name:
        raise UserError(_("The model needs a name."), field="name")
    source = checked_source(source)
    try:
        with transaction.atomic():
            model = ModelVersion.objects.create(project=project, kind=kind, name=name, source=source)
            _promote_first(model)
    except IntegrityError:
        raise UserError(
            _("There is already a model %(name)s in this project.") % {"name": name}, field="name"
        ) from None
    return model


def promote(model: ModelVersion, user=None) -> None:
    """Make it the project's policy or reward model: the default of the next run and the next round."""
    if user is not None:
        require(user, model.project, Membership.Role.ADMIN)
    Project.objects.filter(pk=model.project_id).update(**{_promoted_field(model): model})


def lineage(model: ModelVersion) -> list[ModelVersion]:
    """The model and what it was made from, back to the first."""
    chain = [model]
    while (parent := chain[-1].parent) is not None:
        chain.append(parent)
    return chain


def is_model_directory(directory: Path) -> bool:
    """Whether it is a Hugging Face directory with weights in safetensors."""
    return (directory / "config.json").is_file() and any(directory.glob("*.safetensors"))


def checked_source(source: str) -> str:
    """As stored: a hub id, or a directory, relative to VAR_DIR where it lies below it. Raises UserError."""
    if HUB_ID.fullmatch(source) and not (settings.VAR_DIR / source).is_dir():
        return source
    directory = (settings.VAR_DIR / source).resolve()
    if not is_model_directory(directory):
        raise UserError(
            _(
                "%(source)s is neither a hub id such as Qwen/Qwen2.5-0.5B-Instruct nor a directory with a config.json "
                "and weights in safetensors."
            )
            % {"source": source},
            field="source",
        )
    below = directory.is_relative_to(settings.VAR_DIR)
    return str(directory.relative_to(settings.VAR_DIR) if below else directory)


def _promote_first(model: ModelVersion) -> None:
    field = _promoted_field(model)
    Project.objects.filter(pk=model.project_id, **{f"{field}__isnull": True}).update(**{field: model})


def _promoted_field(model: ModelVersion) -> str:
    return "reward_model" if model.kind == ModelVersion.Kind.REWARD else "policy"
