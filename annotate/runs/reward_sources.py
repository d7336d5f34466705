"""Sources of reward as a person may name them: rules, and models of the project's registry by their name.

A row is as the trainer takes it (docs/formats.md), except that it names no file, model or address of the worker's
machine: {"source": "model", "registry": NAME} is a reward model of the project, {"source": "judge", "registry": NAME} a
policy that rates answers. Their paths are filled in when the run starts.
"""

import json
from collections.abc import Callable
from itertools import islice

from django.utils.translation import gettext as _

from annotate.datasets.snapshots import rows
from annotate.errors import UserError
from annotate.models import Dataset, ModelVersion, Project, Run
from training.records import CRITERIA
from training.rewards.spec import Source, reaches_out, sources_of

FIELDS = ("rewards", "judges")
# What a source of the registry is, and which setting of the trainer's takes its path.
REGISTRY = {"model": (ModelVersion.Kind.REWARD, "path"), "judge": (ModelVersion.Kind.POLICY, "model")}
# What a source checks answers by, which has to be in the prompts' rows.
_CHECKED_BY = {"math": "answer", "code": "tests"}
# Rows looked at while a person waits for the form's answer, and characters shown of a prompt.
_MOST_ROWS, _SHOWN = 1000, 80


def own_sources(field: str, value) -> list[dict]:
    """The list, from JSON text or as it is. Raises UserError for what reaches into the worker's machine."""
    try:
        given = json.loads(value) if isinstance(value, str) else value
    except (ValueError, RecursionError):
        given = None
    given = [given] if isinstance(given, dict) else given
    if not isinstance(given, list) or not all(isinstance(row, dict) for row in given):
        raise UserError(_("%(setting)s must be a list of sources, as JSON.") % {"setting": field}, field=field)
    for row in given:
        if not (_is_of_the_registry(row) or ("registry" not in row and not reaches_out(row))):
            raise UserError(
                _(
                    "%(setting)s: a source %(source)s may not name files, models or addresses here. Choose a reward "
                    "model of the project, or start the run on the worker's machine."
                )
                % {"setting": field, "source": row.get("source")},
                field=field,
            )
    return given


def for_trainer(given: list[dict], path_of: Callable[[str, str], str] = lambda kind, name: name) -> list[dict]:
    """The rows with a path, by `path_of(kind of model, name)`, in place of each name of the registry."""
    filled = []
    for row in given:
        if "registry" in row:
            kind, setting = REGISTRY[row["source"]]
            rest = {key: value for key, value in row.items() if key != "registry"}
            row = rest | {setting: path_of(kind, row["registry"])}
        filled.append(row)
    return filled


def model_named(project: Project, kind: str, name: str) -> ModelVersion:
    """Raises UserError where the project has none of this kind and name."""
    model = project.models.filter(kind=kind, name=name).first()
    if model is None:
        words = _("reward model") if kind == ModelVersion.Kind.REWARD else _("policy")
        raise UserError(_("The project has no %(kind)s %(name)s.") % {"kind": words, "name": name}, field="rewards")
    return model


def check_sources(project: Project, params: dict, dataset: Dataset) -> None:
    """Raises UserError where a source names no model of the project, or checks by what the prompts' rows lack."""
    for field in FIELDS:
        for row in params.get(field) or []:
            if "registry" in row:
                model_named(project, REGISTRY[row["source"]][0], row["registry"])
            needed = _CHECKED_BY.get(row["source"])
            if needed and not _has_reference(dataset, needed):
                raise UserError(
                    _("The source %(source)s checks answers by the prompts’ “%(field)s”, and these rows have none.")
                    % {"source": row["source"], "field": needed},
                    field="dataset",
                )
        if params.get("on_reward_error") != "mask":
            for name, source in sources_of(field, for_trainer(params.get(field) or [])).items():
                _check_rows(name, source, dataset)


def _check_rows(name: str, source: Source, dataset: Dataset) -> None:
    """Raises UserError for a row that the trainer would refuse. Of a long file the run looks at the rest."""
    if dataset.kind != Dataset.Kind.PROMPTS or not dataset.is_ready or type(source).wrong_in is Source.wrong_in:
        return
    for row in islice(rows(dataset), _MOST_ROWS):
        if wrong := source.wrong_in(row):
            raise UserError(
                _("The source %(source)s cannot check answers to “%(prompt)s”: look at the “%(field)s” of this prompt.")
                % {"source": name, "prompt": row["prompt"][-1]["content"][:_SHOWN], "field": wrong[0]},
                field="dataset",
            )


def _has_reference(dataset: Dataset, field: str) -> bool:
    """Whether its prompts have this field; of a snapshot that is still being made, whether the pool's have."""
    if dataset.kind != Dataset.Kind.PROMPTS:
        return False
    if dataset.is_ready:
        return field in next(rows(dataset), {})  # all lines of a snapshot have the same fields
    return dataset.project.prompts.filter(in_pool=True, reference__has_key=field).exists()


def reward_names(run: Run) -> tuple[list[str], list[str]]:
    """The names of the run's sources of reward, as its curves have them, and of its judges."""
    model = [{"source": "model", "path": "-"}] if run.reward_model_id else []
    rewards = sources_of("rewards", model + for_trainer(run.params.get("rewards") or []))
    return list(rewards), list(sources_of("judges", for_trainer(run.params.get("judges") or [])))


def _is_of_the_registry(row: dict) -> bool:
    """Whether it names a model of the registry, and nothing else that reaches out."""
    if row.get("source") not in tuple(REGISTRY) or not isinstance(row.get("registry"), str):
        return False
    reaching = {"path", "model", "address", "key_variable"}
    return reaching.isdisjoint(row) and row.get("rubric", CRITERIA[0]) in CRITERIA
