"""Snapshots: a project's data frozen as a file of JSON lines that is named by its digest and never changes."""

import hashlib
import itertools
import json
import os
import uuid
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from django.conf import settings
from django.db import transaction
from django.db.models import Exists, Max, OuterRef, Prefetch, Q
from django.utils.translation import gettext as _

from annotate import access
from annotate.datasets.judgments import judgment_lines
from annotate.datasets.votes import Columns, adjudicated, all_votes, majority
from annotate.errors import UserError
from annotate.labeling.locks import lock_project
from annotate.models import Comparison, Dataset, Demonstration, GoldQuestion, Judgment, PersonTally, Project, Prompt
from annotate.models.comparison import text_digest
from annotate.models.judgment import JUDGE_PREFIX, by_people
from training.records import REFERENCE_FIELDS, iter_rows

# Comparisons read at once with their judgments.
CHUNK = 2000
PEOPLE = "people"
_VOTERS = {PEOPLE: by_people(), "judges": ~by_people(), "everybody": Q()}
VOTES = {"majority": majority, "all": all_votes, "adjudicated": adjudicated}

Line = dict
Facts = Counter[str]


def create_snapshot(
    project: Project,
    kind: str,
    *,
    votes: str = "majority",
    ties: bool = False,
    edited: bool = False,
    voters: str = PEOPLE,
    user=None,
    note: str = "",
) -> Dataset:
    """Freezes the project's rows of this kind; the order depends on the content alone, so equal data, equal SHA-256.

    `votes` is for preferences: "majority" gives a line per pair with its winner, "all" a line per judgment,
    "adjudicated" a line per pair in which an adjudicator's verdict overrides the votes (see votes.py). Ties are counted
    in `facts` and make no line, unless `ties` keeps them as rows of strength "tie". `voters` says whose judgments
    count, in preferences and judgments: those of "people", of one judge ("judge:NAME"), of all "judges", or of
    "everybody". `edited` adds answers that people improved while judging to the demonstrations. Without a `note`, a
    snapshot that would be the same as one that is there is not made twice. Gold questions test people and are in no
    snapshot. `user` None is the machine's own administrator.
    Raises UserError for an unknown kind or rule, PermissionDenied for anybody but researchers and admins.
    """
    if user is not None:
        access.require(user, project, access.Role.RESEARCHER)
    if kind not in Dataset.Kind.values:
        raise UserError(_("A dataset is one of %(values)s.") % {"values": ", ".join(Dataset.Kind.values)}, field="kind")
    if votes not in VOTES:
        raise UserError(_("Votes count as one of %(votes)s.") % {"votes": ", ".join(VOTES)}, field="votes")
    if voters not in _VOTERS and not voters.startswith(JUDGE_PREFIX):
        raise UserError(
            _("The voters are one of %(voters)s, or judge:NAME.") % {"voters": ", ".join(_VOTERS)}, field="voters"
        )
    if len(note) > 200:
        raise UserError(_("A note has at most 200 characters."), field="note")
    facts: Facts = Counter()
    told: dict = {}
    if kind == Dataset.Kind.PREFERENCES:
        lines = _preferences(project, votes, ties, voters, facts)
        told = {"votes": votes} | ({"ties_kept": True} if ties else {}) | _told_of(voters)
    elif kind == Dataset.Kind.JUDGMENTS:
        lines = _judgments(project, voters)
        told = _told_of(voters)
    elif kind == Dataset.Kind.DEMONSTRATIONS and edited:
        lines = _demonstrations_and_edits(project, facts)
    else:
        lines = _LINES[kind](project)
    count, sha256 = _write(lines)
    told |= facts
    with transaction.atomic():
        lock_project(project)
        if not note and (same := project.datasets.filter(kind=kind, sha256=sha256, facts=told).first()):
            return same
        last = project.datasets.filter(kind=kind).aggregate(last=Max("number"))["last"] or 0
        return Dataset.objects.create(
            project=project, kind=kind, number=last + 1, rows=count, sha256=sha256, facts=told, note=note,
            created_by=user,
        )  # fmt: skip


def dataset_path(dataset: Dataset) -> Path:
    """Where the lines lie. Raises UserError if they are gone."""
    path = settings.DATASETS_DIR / f"{dataset.sha256}.jsonl"
    if not path.is_file():
        raise UserError(
            _("The rows of %(dataset)s are missing: there is no file %(path)s.") % {"dataset": dataset, "path": path}
        )
    return path


def rows(dataset: Dataset) -> Iterator[Line]:
    """The lines of a snapshot, one at a time."""
    return (row for _line, row in iter_rows(dataset_path(dataset)))


def _write(lines: Iterable[Line]) -> tuple[int, str]:
    """(number of lines, SHA-256). Written aside and renamed: a full disk leaves no file that looks whole."""
    settings.DATASETS_DIR.mkdir(parents=True, exist_ok=True)
    aside = settings.DATASETS_DIR / f".{uuid.uuid4().hex}.part"
    digest, count = hashlib.sha256(), 0
    try:
        with open(aside, "xb") as file:
            for line in lines:
                encoded = json.dumps(line, ensure_ascii=False).encode() + b"\n"
                file.write(encoded)
                digest.update(encoded)
                count += 1
            file.flush()
            os.fsync(file.fileno())
            os.fchmod(file.fileno(), 0o444)
        aside.replace(settings.DATASETS_DIR / f"{digest.hexdigest()}.jsonl")
    finally:
        aside.unlink(missing_ok=True)
    return count, digest.hexdigest()


def judges_of(project: Project) -> list[str]:
    """The user names of the models whose verdicts stand in the project."""
    judged = PersonTally.objects.filter(project=project, user__username__startswith=JUDGE_PREFIX, judged__gt=0)
    return list(judged.order_by("user__username").values_list("user__username", flat=True))


def _told_of(voters: str) -> dict:
    """Nothing where people voted: such a snapshot has the facts it always had."""
    return {} if voters == PEOPLE else {"voters": voters}


def _preferences(project: Project, votes: str, ties: bool, voters: str, facts: Facts) -> Iterator[Line]:
    judgments = _judgments_of(project, voters)
    # As plain lists (`given`), and what only rankings have only where there are any: to hang a queryset on every row
    # takes longer than to read them all.
    parts = [Prefetch("judgments", judgments, to_attr="given")]
    if project.comparisons.filter(kind=Comparison.Kind.RANKING).exists():
        parts += ["given__assessments", "candidates"]
    judged = (
        Comparison.objects.filter(pk__in=judgments.values("comparison"))
        .select_related("prompt", "first", "second", "adjudication")
        .prefetch_related(*parts)
        .order_by("prompt__digest", "id")
    )
    columns = Columns(
        criteria=judgments.exclude(helpful=None, truthful=None, harmless=None).exists(),
        edited=judgments.exclude(edited="").exists(),
        ties=ties,
    )

    def lines_of(comparison: Comparison) -> Iterator[Line]:
        return VOTES[votes](comparison, comparison.given, facts, columns)

    return _by_prompt(judged, lambda comparison: comparison.prompt, lines_of)


def _judgments_of(project: Project, voters: str):
    whose = _VOTERS[voters] if voters in _VOTERS else Q(annotator__username=voters)
    # As NOT EXISTS: of a join whose other side is null PostgreSQL expects a single row, and compares all with all.
    gold = GoldQuestion.objects.filter(comparison=OuterRef("comparison"))
    return Judgment.objects.filter(whose, ~Exists(gold), comparison__project=project)


def _demonstrations(project: Project) -> Iterator[Line]:
    found = (
        Demonstration.objects.filter(prompt__project=project, state=Demonstration.State.ACCEPTED)
        .select_related("prompt")
        .order_by("prompt__digest", "id")
    )
    return _by_prompt(
        found,
        lambda demonstration: demonstration.prompt,
        lambda demonstration: [_demonstration(demonstration.prompt, demonstration.completion)],
    )


def _demonstration(prompt: Prompt, completion: str) -> Line:
    return {"prompt": prompt.messages, "completion": [{"role": "assistant", "content": completion}]}


def _demonstrations_and_edits(project: Project, facts: Facts) -> Iterator[Line]:
    """The demonstrations, and after them what people made of the better answer while they judged, each text once."""
    written = set()
    for line in _demonstrations(project):
        written.add(text_digest(line))
        yield line
    edits = (
        _judgments_of(project, PEOPLE).exclude(edited="").select_related("comparison__prompt").order_by(
            "comparison__prompt__digest", "edited"
        )
    )  # fmt: skip
    facts["edited"] = 0
    for judgment in edits.iterator(CHUNK):
        line = _demonstration(judgment.comparison.prompt, judgment.edited)
        if (digest := text_digest(line)) not in written:
            written.add(digest)
            facts["edited"] += 1
            yield line


def _comparisons(project: Project) -> Iterator[Line]:
    found = (
        Comparison.objects.filter(project=project, gold__isnull=True)
        .select_related("prompt", "first", "second")
        .prefetch_related("candidates")
        .order_by("prompt__digest", "id")
    )

    def line(comparison: Comparison) -> Line:
        ordered = sorted(comparison.responses, key=lambda response: (response.digest, response.generator))
        responses = [{"text": response.text, "model": response.generator or None} for response in ordered]
        return {"prompt": comparison.prompt.messages, "responses": responses}

    return _by_prompt(found, lambda comparison: comparison.prompt, lambda comparison: [line(comparison)])


def _judgments(project: Project, voters: str) -> Iterator[Line]:
    lines = judgment_lines(_judgments_of(project, voters))
    for _digest, of_prompt in itertools.groupby(lines, key=lambda found: found[0]):
        yield from _sorted(line for _of, line in of_prompt)


def _prompts(project: Project) -> Iterator[Line]:
    """Every line has the same fields; what no prompt is checked by is on none."""
    found = Prompt.objects.filter(project=project, in_pool=True).order_by("digest")
    fields = [name for name in REFERENCE_FIELDS if found.filter(reference__has_key=name).exists()]
    for prompt in found.iterator(CHUNK):
        yield {"prompt": prompt.messages} | {name: prompt.reference.get(name) for name in fields}


def _by_prompt(found, prompt_of: Callable, lines_of: Callable) -> Iterator[Line]:
    """Lines in the order of their prompts' digests, and within a prompt of their own text: ids play no part."""
    for _pk, of_prompt in itertools.groupby(found.iterator(CHUNK), key=lambda row: prompt_of(row).pk):
        yield from _sorted(line for row in of_prompt for line in lines_of(row))


def _sorted(lines: Iterable[Line]) -> list[Line]:
    return sorted(lines, key=lambda line: json.dumps(line, ensure_ascii=False))


_LINES = {
    Dataset.Kind.DEMONSTRATIONS: _demonstrations,
    Dataset.Kind.COMPARISONS: _comparisons,
    Dataset.Kind.PROMPTS: _prompts,
}
