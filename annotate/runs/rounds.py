"""The return path of the loop: a policy answers prompts, and pairs of its different answers go to the annotators."""

import json
import random

from django.db import transaction
from django.db.models import Max
from django.utils import timezone
from django.utils.translation import gettext as _

from annotate.access import require
from annotate.errors import UserError
from annotate.labeling.comparisons import (
    FEWEST_RANKED,
    NewResponse,
    add_comparisons,
    add_prompts,
    add_rankings,
    add_responses,
    pairs_of,
    ranking_of,
)
from annotate.labeling.locks import lock_project
from annotate.models import Membership, ModelVersion, Project, Prompt, Response, Round, Run
from annotate.runs.claim import dispatch
from annotate.runs.directory import ROUND_PROMPTS, model_path, run_directory
from annotate.runs.recipes import checked_params
from training import records
from training.records import RecordError, iter_rows, parse_record

MAX_PROMPTS = 100_000


def start_round(
    project: Project,
    policy: ModelVersion | None,
    *,
    user,
    prompts: int = 100,
    responses_per_prompt: int = 2,
    rankings: bool = False,
    params: dict | None = None,
) -> Round:
    """Queue a generation run over `prompts` prompts drawn from the pool and frozen now. Raises UserError.

    `rankings` has the answers to a prompt ranked at once instead of compared in all their pairs. `policy` None takes
    the promoted one; `params` are settings of the recipe `generate`, such as temperature.
    """
    if user is not None:
        require(user, project, Membership.Role.ADMIN)
    policy = _checked_policy(project, policy or project.policy)
    if not 1 <= prompts <= MAX_PROMPTS:
        raise UserError(
            _("A round takes from 1 to %(max_prompts)s prompts.") % {"max_prompts": MAX_PROMPTS}, field="prompts"
        )
    if not 2 <= responses_per_prompt <= 9:
        raise UserError(_("A round takes from 2 to 9 responses per prompt."), field="responses_per_prompt")
    if rankings and responses_per_prompt < FEWEST_RANKED:
        raise UserError(
            _("A ranking is of at least %(count)d responses.") % {"count": FEWEST_RANKED}, field="responses_per_prompt"
        )
    params = checked_params("generate", {**(params or {}), "samples": responses_per_prompt})
    with transaction.atomic():
        lock_project(project)
        number = (project.rounds.aggregate(last=Max("number"))["last"] or 0) + 1
        drawn = _draw_prompts(project, prompts, number)
        run = Run.objects.create(
            project=project, recipe="generate", title=f"Round {number}", params=params, base_model=policy,
            created_by=user,
        )
        _freeze(run, drawn)
        opened = Round.objects.create(
            project=project, number=number, policy=policy, run=run, responses_per_prompt=responses_per_prompt,
            rankings=rankings, created_by=user,
        )
        dispatch(run.pk)
    return opened


@transaction.atomic
def open_round(opened: Round) -> int:
    """Put the different answers into the queue, the first time it is called. Returns how many comparisons were added.

    A round of rankings has one of each prompt with at least four different answers, and pairs of the others.
    Raises UserError where the run left no readable answers; then nothing is added.
    """
    if not Round.objects.filter(pk=opened.pk, opened_at__isnull=True).update(opened_at=timezone.now()):
        return 0
    answers = _read_answers(opened)
    prompts = add_prompts(opened.project, [messages for messages, _ in answers]).rows
    new = [
        NewResponse(prompt, text, generator=opened.policy.name, model=opened.policy)
        for prompt, (_messages, texts) in zip(prompts, answers, strict=True)
        for text in texts
    ]
    of_prompt: dict[int, list[Response]] = {prompt.pk: [] for prompt in prompts}
    for response in add_responses(opened.project, new).rows:
        of_prompt[response.prompt_id].append(response)
    ranked = [ranking for found in of_prompt.values() if opened.rankings and (ranking := ranking_of(found))]
    whole = {ranking.responses[0].prompt_id for ranking in ranked}
    pairs = {prompt: list(pairs_of(found)) for prompt, found in of_prompt.items() if prompt not in whole}
    added = add_rankings(opened.project, ranked, round=opened).created
    added += add_comparisons(
        opened.project, [pair for found in pairs.values() for pair in found], round=opened
    ).created
    opened.prompts_without_pair = sum(not found for found in pairs.values())
    opened.save(update_fields=["prompts_without_pair"])
    opened.refresh_from_db()
    return added


def _checked_policy(project: Project, policy: ModelVersion | None) -> ModelVersion:
    if policy is None:
        raise UserError(_("A round needs a policy: add or train one first."), field="policy")
    if policy.project_id != project.pk:
        raise UserError(_("The model %(name)s belongs to another project.") % {"name": policy.name}, field="policy")
    if policy.kind != ModelVersion.Kind.POLICY:
        raise UserError(
            _("The model %(name)s scores responses; only a policy can write them.") % {"name": policy.name},
            field="policy",
        )
    model_path(policy)
    return policy


def _draw_prompts(project: Project, wanted: int, number: int) -> list[Prompt]:
    """Prompts of the pool without replacement, reproducible from the project and the round's number."""
    pool = list(project.prompts.filter(in_pool=True).order_by("id").values_list("pk", flat=True))
    if not pool:
        raise UserError(_("There are no prompts yet: import some."), field="prompts")
    drawn = random.Random(f"{project.pk}/{number}").sample(pool, min(wanted, len(pool)))
    found = Prompt.objects.in_bulk(drawn)
    return [found[pk] for pk in drawn]


def _freeze(run: Run, prompts: list[Prompt]) -> None:
    path = run_directory(run) / ROUND_PROMPTS
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "w", encoding="utf-8") as file:
        for prompt in prompts:
            line = records.to_line(records.Prompt(prompt.messages, prompt.reference))
            file.write(json.dumps(line, ensure_ascii=False) + "\n")


def _read_answers(opened: Round) -> list[tuple[list[dict], list[str]]]:
    """(messages of the prompt, texts of its answers that are not empty) for each line of responses.jsonl."""
    path = run_directory(opened.run) / "responses.jsonl"
    answers = []
    try:
        for line, row in iter_rows(path):
            prompt = parse_record(row, "prompts", path, line)
            answers.append((prompt.messages, _texts(row, path, line)))
    except RecordError as error:
        raise UserError(_("The answers of this round cannot be read. %(error)s") % {"error": error}) from error
    return answers


def _texts(row: dict, path, line: int) -> list[str]:
    """A prompt may have fewer answers than asked for, or none."""
    try:
        texts = [response["text"].strip() for response in row["responses"]]
    except (KeyError, TypeError, AttributeError):
        raise RecordError(path, line, "responses", 'a list of {"text": …}') from None
    return [text for text in texts if text]
