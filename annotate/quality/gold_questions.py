"""Gold questions from the admin's side: making them of what people agreed on or of a file, and how they hold up."""

from collections.abc import Sequence
from dataclasses import dataclass

from django.core.files.uploadedfile import UploadedFile
from django.db import transaction
from django.db.models import Case, Count, F, Max, Min, Q, QuerySet, When
from django.utils.translation import gettext as _

from annotate import access
from annotate.datasets.record_words import told
from annotate.datasets.uploads import as_path
from annotate.errors import UserError
from annotate.labeling.comparisons import (
    NewPair,
    NewResponse,
    add_comparisons,
    add_prompts,
    add_responses,
    is_held_back,
    withdraw,
)
from annotate.labeling.locks import lock_project
from annotate.models import Comparison, GoldQuestion, Project, Response
from annotate.models.judgment import Rating, by_people
from annotate.quality.gold import FEWEST_ANSWERS
from training import records

# How many people must have said the same, nobody anything else, before a pair is offered as a gold question.
FEWEST_AGREEING = 3
LONGEST_EXPLANATION = 2000
PURPOSES = GoldQuestion.Purpose

_PEOPLE = by_people("judgments__")
_CLEAR = Q(judgments__rating__in=[Rating.A_BETTER, Rating.B_BETTER])


@dataclass(frozen=True)
class NewQuestion:
    """`expected` is one of the comparison's two responses, None for “equal”."""

    comparison: Comparison
    expected: Response | None
    explanation: str = ""


def candidates(project: Project, *, fewest: int = FEWEST_AGREEING) -> QuerySet[Comparison]:
    """Pairs that at least `fewest` people judged alike and nobody otherwise, the clearest first.

    Each with `votes`, `agreed` (the id of the response all chose) and `clear`, how many called it clearly better.
    """
    judged = Comparison.objects.filter(project=project, kind=Comparison.Kind.PAIR, gold__isnull=True)
    return (
        judged.annotate(
            votes=Count("judgments", filter=_PEOPLE),
            decided=Count("judgments__winner", filter=_PEOPLE),
            agreed=Min("judgments__winner", filter=_PEOPLE),
            other=Max("judgments__winner", filter=_PEOPLE),
            clear=Count("judgments", filter=_CLEAR & _PEOPLE),
        )
        .filter(votes__gte=fewest, decided=F("votes"), agreed=F("other"))
        .select_related("prompt", "first", "second")
        .order_by("-clear", "-votes", "id")
    )


def make_of_candidates(
    project: Project, comparison_ids: Sequence[int], purpose: str, *, user, explanations: dict[int, str] | None = None
) -> list[GoldQuestion]:
    """Gold questions of pairs that people agreed on, with what they agreed on. Raises UserError, then none is made."""
    access.require(user, project, access.Role.ADMIN)
    chosen = list(candidates(project).filter(pk__in=set(comparison_ids)))
    if len(chosen) < len(set(comparison_ids)):
        raise UserError(_("One of these pairs is not agreed on any more, or is a gold question already."))
    explained = explanations or {}
    new = [
        NewQuestion(pair, pair.first if pair.agreed == pair.first_id else pair.second, explained.get(pair.pk, ""))
        for pair in chosen
    ]
    return make_questions(project, new, purpose, user=user)


@transaction.atomic
def make_questions(project: Project, new: Sequence[NewQuestion], purpose: str, *, user) -> list[GoldQuestion]:
    """Takes these comparisons out of the ordinary queue and the training data. Raises UserError, then none is made."""
    access.require(user, project, access.Role.ADMIN)
    lock_project(project)
    if not new:
        raise UserError(_("Choose at least one pair."))
    if purpose not in PURPOSES.values:
        raise UserError(_("A gold question is hidden among the others or part of the test."), field="purpose")
    for question in new:
        _check(question, project)
        _refuse_held_back(question.comparison)
    ids = [question.comparison.pk for question in new]
    if GoldQuestion.objects.filter(comparison__in=ids).exists() or len(set(ids)) < len(ids):
        raise UserError(_("One of these pairs is a gold question already."))
    withdraw([question.comparison for question in new])
    return GoldQuestion.objects.bulk_create(
        GoldQuestion(
            comparison=question.comparison, expected=question.expected, explanation=question.explanation.strip(),
            purpose=purpose, created_by=user,
        )
        for question in new
    )  # fmt: skip


def make_of_file(project: Project, uploaded: UploadedFile, purpose: str, *, user) -> list[GoldQuestion]:
    """A file of preferences: `chosen` is expected (either, where strength is "tie"); `explanation` may stand beside it.

    All of the file or nothing. Raises UserError that names file, line and field.
    """
    access.require(user, project, access.Role.ADMIN)
    try:
        with as_path(uploaded) as path:
            rows = [
                (records.parse_record(row, "preferences", uploaded.name, line), str(row.get("explanation") or ""), line)
                for line, row in records.iter_rows(path)
            ]
    except records.RecordError as error:
        raise UserError(told(error, uploaded.name), field="file") from error
    for preference, explanation, line in rows:
        if not records.is_storable(explanation):
            error = records.RecordError(uploaded.name, line, "explanation", records.STORABLE)
            raise UserError(told(error, uploaded.name), field="file")
        if preference.chosen == preference.rejected:
            where = {"file": uploaded.name, "line": line}
            raise UserError(_("%(file)s, line %(line)s: chosen and rejected are the same text.") % where, field="file")
    return _make_of_rows(project, [row[:2] for row in rows], purpose, user)


@transaction.atomic
def _make_of_rows(
    project: Project, rows: list[tuple[records.Preference, str]], purpose: str, user
) -> list[GoldQuestion]:
    prompts = add_prompts(project, [preference.messages for preference, _explanation in rows]).rows
    new = [
        NewResponse(prompt, text)
        for prompt, (preference, _explanation) in zip(prompts, rows, strict=True)
        for text in (preference.chosen, preference.rejected)
    ]
    responses = add_responses(project, new).rows
    pairs = [NewPair(one, other) for one, other in zip(responses[::2], responses[1::2], strict=True)]
    comparisons = add_comparisons(project, pairs, wanted=0).rows
    questions = [
        NewQuestion(comparison, None if preference.strength == "tie" else pair.one, explanation)
        for comparison, pair, (preference, explanation) in zip(comparisons, pairs, rows, strict=True)
    ]
    return make_questions(project, questions, purpose, user=user)


@transaction.atomic
def change_question(question: GoldQuestion, *, user, active: bool | None = None, explanation: str | None = None):
    """Takes a question into or out of service, or explains it anew. What is given as None stays."""
    project = question.comparison.project
    access.require(user, project, access.Role.ADMIN)
    if explanation is not None:
        question.explanation = explanation.strip()
        _check(NewQuestion(question.comparison, question.expected, question.explanation), project)
    if active is not None:
        if active:
            _refuse_held_back(question.comparison)
        question.active = active
    question.save(update_fields=["explanation", "active"])
    return question


def question_rows(project: Project) -> QuerySet[GoldQuestion]:
    """The project's questions with `answered`, `matched` and `suspect`: most of those who met it answer otherwise, so
    the question is more likely wrong, or unclear, than they are. Those come first.
    """
    own = Q(comparison__judgments__reservation__isnull=False, comparison__judgments__created_at__gte=F("created_at"))
    as_expected = Q(comparison__judgments__winner=F("expected")) | Q(
        expected__isnull=True, comparison__judgments__rating=Rating.EQUAL
    )
    most_fail = Q(answered__gte=FEWEST_ANSWERS, matched__lt=F("answered") - F("matched"))
    return (
        GoldQuestion.objects.filter(comparison__project=project)
        .annotate(
            answered=Count("comparison__judgments", filter=own),
            matched=Count("comparison__judgments", filter=own & as_expected),
        )
        .annotate(suspect=Case(When(most_fail, then=True), default=False))
        .select_related("comparison__prompt", "comparison__first", "comparison__second", "expected", "created_by")
        .order_by("-suspect", "-active", "purpose", "-id")
    )


def _check(question: NewQuestion, project: Project) -> None:
    pair = question.comparison
    if pair.project_id != project.pk or pair.is_ranking:
        raise UserError(_("A gold question is a pair of this project."))
    if question.expected and question.expected.pk not in {pair.first_id, pair.second_id}:
        raise UserError(_("What is expected is one of the pair's two responses."), field="expected")
    if len(question.explanation) > LONGEST_EXPLANATION:
        most = {"most": LONGEST_EXPLANATION}
        raise UserError(_("An explanation has at most %(most)s characters.") % most, field="explanation")


def _refuse_held_back(pair: Comparison) -> None:
    if is_held_back(pair.project, pair.responses):
        raise UserError(
            _("One of the two responses tells who wrote it: it was left out, or an admin is to look at it first.")
        )
