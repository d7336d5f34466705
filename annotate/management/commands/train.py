"""`manage.py train RECIPE --project P [--wait] key=value …`: the same run as from the page, from the terminal."""

import signal
import threading
import time
from pathlib import Path

from django.core.management.base import BaseCommand, CommandError
from django.db import transaction
from django.utils import timezone

from annotate.background.presence import worker_name
from annotate.errors import UserError
from annotate.models import ChatEndpoint, Dataset, ModelVersion, Project, Run
from annotate.runs import claim
from annotate.runs.directory import run_directory
from annotate.runs.follow import supervise
from annotate.runs.launch import create_run
from annotate.runs.recipes import RECIPES
from annotate.runs.registry import add_external, checked_source
from annotate.runs.selectors import run_view

LOOK_EVERY = 0.5
# So long an idle worker may take to notice the message; then there is none, and the run is made here.
WORKER_SECONDS = 5.0


class Command(BaseCommand):
    help = "Queue a training run of a project; with --wait stay until it has ended."

    def create_parser(self, *args, **kwargs):
        """Lets options stand before, between and behind the key=value words."""
        parser = super().create_parser(*args, **kwargs)
        parser.parse_args = parser.parse_intermixed_args
        return parser

    def add_arguments(self, parser):
        parser.add_argument("recipe", help=", ".join(RECIPES))
        parser.add_argument("pairs", nargs="*", metavar="key=value")
        parser.add_argument("--project", required=True, metavar="SLUG")
        parser.add_argument("--dataset", type=int, metavar="ID", help="default: the project's data, frozen now")
        parser.add_argument("--model", metavar="NAME", help="the model to start from: its name, or a directory or "
                            "hub id, which then is added to the project (default: the promoted policy)")  # fmt: skip
        scored = parser.add_mutually_exclusive_group()
        scored.add_argument("--reward-model", metavar="NAME", help="in the same way (default: the promoted one)")
        scored.add_argument(
            "--without-reward-model", action="store_true", help="take none: rewards=… names all there is to earn"
        )
        parser.add_argument("--endpoint", metavar="NAME", help="who is asked in place of a model (judge)")
        parser.add_argument("--title", default="")
        parser.add_argument(
            "--wait", action="store_true",
            help="stay until the run has ended, and make it here where no worker takes it; exit status 1 if it failed",
        )  # fmt: skip

    def handle(self, *, recipe, project, wait, **options):
        try:
            run = _create(recipe, project, options)
        except UserError as error:
            raise CommandError(str(error)) from None
        self.stdout.write(f"Run {run.pk} is queued. Its directory: {run_directory(run)}")
        if wait:
            self._wait(run)

    def _wait(self, run: Run) -> None:
        stopping = threading.Event()
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: stopping.set())
        give_up_at = time.monotonic() + WORKER_SECONDS
        said = ""
        while not run.is_finished and not stopping.is_set():
            if time.monotonic() > give_up_at and not _a_worker_is_busy():
                self._make_here(run, stopping)
            else:
                stopping.wait(LOOK_EVERY)
            run.refresh_from_db()
            said = self._say(run, said)
        if run.state == Run.State.SUCCEEDED:
            made = ModelVersion.objects.filter(run=run).first()
            self.stdout.write(f"The run succeeded. Model: {made}" if made else "The run succeeded.")
        elif run.is_finished:
            raise CommandError(f"The run {run.state}. {run.error}".strip())
        else:
            raise CommandError("Stopped waiting; the run is in the queue and goes on with the next worker.")

    def _say(self, run: Run, said: str) -> str:
        """Print where the run is, at each new state, phase and tenth of the way. Returns what was said."""
        view = run_view(run)
        words = f"{view.words}, {view.percent // 10 * 10:.0f} %"
        if words != said:
            self.stdout.write(words)
        return words

    def _make_here(self, run: Run, stopping: threading.Event) -> None:
        if (mine := claim.claim(run.pk, worker_name())) is not None:
            self.stdout.write("No worker takes it, so it is made here.")
            supervise(mine, stopping)


@transaction.atomic
def _create(recipe: str, slug: str, options: dict) -> Run:
    project = Project.objects.filter(slug=slug).first()
    if project is None:
        raise UserError(f"There is no project {slug}.")
    dataset = None
    if options["dataset"] is not None:
        dataset = Dataset.objects.filter(pk=options["dataset"], project=project).first()
        if dataset is None:
            raise UserError(f"The project {slug} has no dataset {options['dataset']}.")
    return create_run(
        project, recipe, user=None, params=_params(options["pairs"]), dataset=dataset,
        base_model=_model(project, ModelVersion.Kind.POLICY, options["model"]),
        reward_model=_model(project, ModelVersion.Kind.REWARD, options["reward_model"]),
        without_reward_model=options["without_reward_model"], endpoint=_endpoint(project, options["endpoint"]),
        title=options["title"],
    )


def _params(words: list[str]) -> dict:
    params = {}
    for word in words:
        key, equals, value = word.partition("=")
        if not equals or not key:
            raise UserError(f"{word} is not a setting: write key=value.")
        params[key] = value
    return params


def _model(project: Project, kind: str, said: str | None) -> ModelVersion | None:
    """The project's model of this name; a directory or a hub id is added to it first, once."""
    if said is None:
        return None
    model = project.models.filter(name=said).first()
    if model is None and "/" not in said:
        raise UserError(f"The project {project.slug} has no model {said}. A directory or a hub id may stand here too.")
    return model or _added(project, kind, said)


def _added(project: Project, kind: str, said: str) -> ModelVersion:
    path = Path(said)
    source = checked_source(str(path.resolve()) if path.is_dir() else said)
    name = path.parent.name if path.name == "model" else path.name  # the model of a run directory is DIR/model
    return project.models.filter(source=source).first() or add_external(project, kind, name, source)


def _endpoint(project: Project, name: str | None) -> ChatEndpoint | None:
    if name is None:
        return None
    endpoint = project.chat_endpoints.filter(name=name).first()
    if endpoint is None:
        raise UserError(f"The project {project.slug} has no endpoint {name}.")
    return endpoint


def _a_worker_is_busy() -> bool:
    """Whether another run is being made right now: then there is a worker, and this run waits for it."""
    return Run.objects.filter(state=Run.State.RUNNING, lease_until__gt=timezone.now()).exists()
