"""The demo project: the small world of world/demo.py as prompts, demonstrations, judged pairs and pairs to judge."""

from django.conf import settings
from django.db import transaction
from django.utils.text import slugify

from annotate.datasets.importers.items import Vote, VotedPair
from annotate.datasets.importing import import_items
from annotate.demo.accounts import ADMIN, ANNOTATOR, RESEARCHER
from annotate.models import Membership, Project, User
from annotate.projects import create_project, update_project
from annotate.runs.registry import add_external, is_model_directory
from training.records import CandidateResponse, Comparison, Demonstration, Prompt
from world import demo

STARTER = settings.MODELS_DIR / "starter" / "model"
STARTER_NAME = "starter"
ROLES = {ADMIN: Membership.Role.ADMIN, ANNOTATOR: Membership.Role.ANNOTATOR, RESEARCHER: Membership.Role.RESEARCHER}


@transaction.atomic
def ensure_project(accounts: dict[str, User]) -> Project:
    """The demo project with its content and people, all at once; one that exists keeps whatever became of it."""
    project = Project.objects.filter(slug=slugify(demo.NAME)).first()
    if project is None:
        project = create_project(accounts[ADMIN], name=demo.NAME, description=demo.DESCRIPTION)
        update_project(project, accounts[ADMIN], writing=True, own_prompts=True)
        _load(project)
    for name, role in ROLES.items():
        Membership.objects.get_or_create(project=project, user=accounts[name], defaults={"role": role})
    if is_model_directory(STARTER) and not project.models.filter(name=STARTER_NAME).exists():
        add_external(project, "policy", STARTER_NAME, str(STARTER))
    return project


def _load(project: Project) -> None:
    import_items(project, [Prompt(messages) for messages in demo.prompts()])
    import_items(project, [Demonstration(messages, completion) for messages, completion in demo.demonstrations()])
    import_items(project, [_voted(number, judged) for number, judged in enumerate(demo.judged_comparisons(), start=1)])
    import_items(
        project,
        [
            Comparison(messages, [CandidateResponse(one), CandidateResponse(other)])
            for messages, one, other in demo.open_comparisons()
        ],
    )


def _voted(number: int, judged: demo.Judged) -> VotedPair:
    votes = [
        Vote(
            f"demo:{judgment.annotator}",
            judgment.rating,
            criteria={name: getattr(judgment, name) for name in ("helpful", "truthful", "harmless")},
            seconds=judgment.seconds,
        )
        for judgment in judged.judgments
    ]
    return VotedPair(number, judged.messages, judged.a, judged.b, votes)
