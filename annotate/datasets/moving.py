"""Judgments that move from one project or server to another: what a snapshot of them said, as rows again.

Who judged is known by a pseudonym only. One of this project's own people stands for theirs, so that a project's export
adds nothing to it; everybody else becomes a user `annotator:<pseudonym>` that nobody can log in as.
"""

from collections.abc import Iterable

from annotate.datasets.importers.judgments import JudgedComparison
from annotate.datasets.judgments import IMPORTED_PREFIX, pseudonym
from annotate.labeling.comparisons import (
    NewPair,
    NewRanking,
    NewResponse,
    add_comparisons,
    add_prompts,
    add_rankings,
    add_responses,
    batches,
)
from annotate.models import Assessment, Judgment, JudgmentVersion, Project, Response, User
from annotate.models.judgment import JUDGE_PREFIX


def add_judgments(project: Project, given: list[JudgedComparison], report, accounts) -> None:
    """Adds what is not there yet and counts it in `report`, an ImportReport; a comparison that is new wants nobody.

    `accounts(usernames)` makes those that are missing. A person's first judgment on a comparison stands.
    """
    prompts = add_prompts(project, [judged.compared.messages for judged in given])
    responses = add_responses(project, [
        NewResponse(prompt, response.text, response.model or "")
        for prompt, judged in zip(prompts.rows, given, strict=True)
        for response in judged.compared.responses
    ])  # fmt: skip
    remaining = iter(responses.rows)
    shown = [tuple(next(remaining) for _response in judged.compared.responses) for judged in given]
    pairs = [place for place, judged in enumerate(given) if not judged.is_ranking]
    rankings = [place for place, judged in enumerate(given) if judged.is_ranking]
    of_pairs = add_comparisons(project, [NewPair(*shown[place], given[place].group) for place in pairs], wanted=0)
    of_rankings = add_rankings(
        project, [NewRanking(shown[place], given[place].group) for place in rankings], wanted=0
    )
    comparison_of = dict(zip(pairs + rankings, of_pairs.rows + of_rankings.rows, strict=True))
    report.prompts += prompts.created
    report.responses += responses.created
    report.comparisons += of_pairs.created + of_rankings.created

    own = _own_people(project)
    names = {
        judged.annotator: judged.annotator
        if judged.annotator.startswith(JUDGE_PREFIX)
        else f"{IMPORTED_PREFIX}{judged.annotator}"
        for judged in given if judged.annotator not in own
    }  # fmt: skip
    people, created = accounts(set(names.values()))
    report.annotators += created
    annotators = own | {name: people[username] for name, username in names.items()}

    standing = standing_votes({comparison.pk for comparison in comparison_of.values()})
    new: list[tuple[Judgment, JudgedComparison, tuple[Response, ...]]] = []
    for place, judged in enumerate(given):
        comparison, annotator = comparison_of[place], annotators[judged.annotator]
        judgment = Judgment(
            comparison=comparison, annotator=annotator, renderer=judged.renderer, shown_at=judged.shown_at,
            seconds=judged.seconds, active_seconds=judged.active_seconds, version=len(judged.earlier) + 1,
            created_at=judged.created_at, changed_at=judged.changed_at, origin=judged.origin,
            **judged.verdict.columns(shown[place]),
        )  # fmt: skip
        key = (comparison.pk, annotator.pk)
        if key in standing:
            report.duplicates += 1
            report.contradictions += standing[key] != judgment.winner_id
        else:
            standing[key] = judgment.winner_id
            new.append((judgment, judged, shown[place]))
    report.judgments += len(new)
    Judgment.objects.bulk_create([judgment for judgment, _judged, _shown in new])
    Assessment.objects.bulk_create(
        [row for judgment, judged, shown in new for row in judged.verdict.assessments(judgment, shown)]
    )
    JudgmentVersion.objects.bulk_create(
        JudgmentVersion(
            judgment=judgment, number=earlier.number, said=earlier.said.as_json(), renderer=earlier.renderer,
            given_at=earlier.given_at,
        )
        for judgment, judged, _shown in new for earlier in judged.earlier
    )  # fmt: skip


def _own_people(project: Project) -> dict[str, User]:
    """Those who have judged in this project, by the pseudonym that its exports give them."""
    judged = Judgment.objects.filter(comparison__project=project).order_by().values("annotator")
    return {pseudonym(project, user.username): user for user in User.objects.filter(pk__in=judged)}


def standing_votes(comparisons: Iterable[int]) -> dict[tuple[int, int], int | None]:
    """(comparison, annotator) -> winner of every judgment that is there."""
    found: dict[tuple[int, int], int | None] = {}
    for batch in batches(comparisons):
        rows = Judgment.objects.filter(comparison__in=batch).values_list("comparison", "annotator", "winner")
        found |= {(comparison, annotator): winner for comparison, annotator, winner in rows}
    return found
