"""The run directory RUNS_DIR/<id>: frozen data and the config, written by the site before the trainer starts."""

import hashlib
import json
import os
import shutil
from pathlib import Path

from django.conf import settings
from django.utils.translation import gettext as _

from annotate.errors import UserError
from annotate.models import Dataset, ModelVersion, Run
from annotate.runs.recipes import site_recipe
from annotate.runs.reward_sources import FIELDS, for_trainer, model_named

# A generation run has no dataset: its prompts are drawn from the pool and written when the round starts.
ROUND_PROMPTS = Path("data") / "prompts.jsonl"


def run_directory(run: Run) -> Path:
    return settings.RUNS_DIR / str(run.pk)


def prepare(run: Run) -> Path:
    """Write data/ and config.json, before every attempt alike. Raises UserError where a model or data is missing."""
    directory = run_directory(run)
    (directory / "data").mkdir(parents=True, exist_ok=True)
    paths = {site_recipe(run.recipe).data_setting: str(_freeze_data(run, directory))}
    for setting, model in (("model", run.base_model), ("reward_model", run.reward_model)):
        if model is not None:
            paths[setting] = model_path(model)
    if run.endpoint is not None:
        # Its variable even where it has none, lest the trainer sends the key of another server there.
        asked = run.endpoint
        paths |= {"address": asked.base_url, "model": asked.model_name, "key_variable": asked.key_variable}
    for name in FIELDS:
        if given := run.params.get(name):
            paths[name] = for_trainer(given, lambda kind, name: model_path(model_named(run.project, kind, name)))
    write_json(directory / "config.json", {"recipe": run.recipe, **run.params, **paths})
    return directory


def model_path(model: ModelVersion) -> str:
    """What the trainer loads: an existing directory, or a hub id as it is. Raises UserError for a missing directory."""
    own = settings.VAR_DIR / model.source
    if own.is_dir():
        return str(own)
    if is_own(model.source) or Path(model.source).is_absolute():
        raise UserError(
            _("The files of the model %(name)s are missing: there is no directory %(own)s.")
            % {"name": model.name, "own": own}
        )
    return model.source


def is_own(source: str) -> bool:
    """Whether the source lies below VAR_DIR, and is not a hub id of the same form `owner/name`."""
    return source.startswith((f"{settings.RUNS_DIR.name}/", f"{settings.MODELS_DIR.name}/"))


def dataset_file(dataset: Dataset) -> Path:
    return settings.DATASETS_DIR / f"{dataset.sha256}.jsonl"


def write_json(path: Path, value) -> None:
    """Aside, then renamed: a full disk leaves the old file or none, never half of one."""
    aside = path.with_name(f".{path.name}.part")
    try:
        with open(aside, "w", encoding="utf-8") as file:
            json.dump(value, file, indent=2, ensure_ascii=False)
            file.flush()
            os.fsync(file.fileno())
        os.replace(aside, path)
    finally:
        aside.unlink(missing_ok=True)


def _freeze_data(run: Run, directory: Path) -> Path:
    """The run's rows as a file of its own in data/, checked against the snapshot's digest."""
    if run.dataset is None:
        prompts = directory / ROUND_PROMPTS
        if not prompts.is_file():
            raise UserError(
                _("The prompts of this run are missing: there is no file %(prompts)s.") % {"prompts": prompts}
            )
        return prompts
    source, target = dataset_file(run.dataset), directory / "data" / f"{run.dataset.kind}.jsonl"
    if not target.exists():
        if not source.is_file():
            raise UserError(
                _("The rows of the dataset %(dataset)s are missing: there is no file %(source)s.")
                % {"dataset": run.dataset, "source": source}
            )
        try:
            os.link(source, target)
        except OSError:  # another file system
            aside = target.with_name(f".{target.name}.part")
            shutil.copyfile(source, aside)
            os.replace(aside, target)
    with open(target, "rb") as file:
        if hashlib.file_digest(file, "sha256").hexdigest() != run.dataset.sha256:
            raise UserError(
                _("The rows of the dataset %(dataset)s are damaged: %(target)s has another SHA-256.")
                % {"dataset": run.dataset, "target": target}
            )
    return target
