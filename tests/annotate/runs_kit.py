"""Projects, models, data and runs for the tests of annotate.runs, with the stand-in trainer in place of torch."""

import hashlib
import json
import sys
from pathlib import Path

from django.conf import settings

from annotate.models import Dataset, ModelVersion, Project, Run
from annotate.runs import claim

FAKE_TRAINER = Path(__file__).with_name("fake_trainer.py")


def use_fake_trainer(monkeypatch, django_settings, **plan) -> None:
    django_settings.TRAINING_LAUNCHER = f"{sys.executable} {FAKE_TRAINER}"
    monkeypatch.setenv("FAKE_TRAINER", json.dumps(plan))


def make_project(slug="loop") -> Project:
    return Project.objects.create(slug=slug, name=slug.title())


def make_model(project, kind="policy", name="starter") -> ModelVersion:
    directory = settings.MODELS_DIR / f"{project.slug}-{name}"
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "config.json").write_text("{}")
    (directory / "model.safetensors").write_bytes(b"weights")
    source = str(directory.relative_to(settings.VAR_DIR))
    return ModelVersion.objects.create(project=project, kind=kind, name=name, source=source)


def make_dataset(project, kind="demonstrations", rows=1, text=None) -> Dataset:
    """A snapshot of `rows` demonstrations, or of the lines in `text`, whatever they are."""
    if text is None:
        text = "".join(json.dumps({"prompt": f"Say {n}.", "completion": str(n)}) + "\n" for n in range(rows))
    else:
        rows = len(text.splitlines())
    lines = text.encode()
    sha256 = hashlib.sha256(lines).hexdigest()
    settings.DATASETS_DIR.mkdir(parents=True, exist_ok=True)
    (settings.DATASETS_DIR / f"{sha256}.jsonl").write_bytes(lines)
    return Dataset.objects.create(project=project, kind=kind, number=1, rows=rows, sha256=sha256)


def make_run(project=None, recipe="sft", **fields) -> Run:
    project = project or make_project()
    fields.setdefault("base_model", project.models.first() or make_model(project))
    fields.setdefault("dataset", project.datasets.first() or make_dataset(project))
    return Run.objects.create(project=project, recipe=recipe, **fields)


def claimed(run) -> Run:
    return claim.claim(run.pk, "worker")
