"""Verdicts of a model on the project's comparisons: from the file that its run leaves to votes by `judge:<name>`."""

import re

from django.utils.translation import gettext as _

from annotate.datasets.importing import ImportReport, import_file
from annotate.errors import UserError
from annotate.models import Judgment, Run
from annotate.models.judgment import JUDGE_PREFIX
from annotate.runs.directory import run_directory

VERDICTS = "preferences.jsonl"


def judge_name(run: Run) -> str:
    """The model and what it judged by: its votes on what is helpful are not those on what is harmless."""
    model = run.endpoint.name if run.endpoint else run.base_model.name
    name = re.sub(r"[^\w.@+-]+", "-", model)[:80]
    return f"{name}/{run.params['rubric']}"


def votes_of(run: Run) -> int:
    """How many votes of this judge stand in the project."""
    name = f"{JUDGE_PREFIX}{judge_name(run)}"
    return Judgment.objects.filter(comparison__project=run.project_id, annotator__username=name).count()


def import_verdicts(run: Run, user=None) -> ImportReport:
    """The run's verdicts as votes by the inactive user judge:<model>/<rubric>, each once however often it is called.

    Raises UserError before the run has succeeded, PermissionDenied for anybody but the project's admins.
    """
    if run.recipe != "judge" or run.state != Run.State.SUCCEEDED:
        raise UserError(_("This run has left no verdicts."))
    path = run_directory(run) / VERDICTS
    if not path.is_file():
        raise UserError(_("The verdicts of this run are missing: there is no file %(path)s.") % {"path": path})
    return import_file(run.project, path, "preferences", judge=judge_name(run), user=user)
