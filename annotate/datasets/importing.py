"""Files into rows: all of an import lands, or none of it."""

import itertools
import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from django.contrib.auth.hashers import make_password
from django.db import transaction
from django.utils import timezone
from django.utils.translation import gettext as _

from annotate import access, bulk
from annotate.datasets import moving
from annotate.datasets.importers import hh, native, ukp
from annotate.datasets.importers.items import Skipped, Vote, VotedPair
from annotate.datasets.importers.judgments import JudgedComparison
from annotate.datasets.record_words import told
from annotate.errors import UserError
from annotate.labeling.comparisons import (
    NewPair,
    NewResponse,
    add_comparisons,
    add_prompts,
    add_rankings,
    add_responses,
    batches,
    pairs_of,
    ranking_of,
)
from annotate.labeling.locks import lock_accounts, lock_project
from annotate.models import Comparison, Demonstration, Judgment, Project, Prompt, Response, User
from annotate.models.comparison import text_digest
from annotate.models.judgment import JUDGE_PREFIX, Rating
from training import records

FORMATS = {"native": native, "hh": hh, "ukp": ukp}
# Items held in memory and written together.
CHUNK = 2000


@dataclass
class ImportReport:
    """What an import did: counts of new rows (a prompt that joins the pool is new), and of what was left out.

    `references_changed` counts prompts that were there and whose `answer`, `tests` or `schema` is another one now.
    `contradictions` are duplicates with another winner than the vote that stands: the first vote of a person counts.
    `skipped_because` counts the reasons.
    """

    rows: int = 0
    prompts: int = 0
    references_changed: int = 0
    responses: int = 0
    comparisons: int = 0
    judgments: int = 0
    demonstrations: int = 0
    annotators: int = 0
    duplicates: int = 0
    contradictions: int = 0
    skipped: int = 0
    skipped_because: Counter[str] = field(default_factory=Counter)


def import_file(
    project: Project,
    path: str | os.PathLike,
    kind: str,
    *,
    format: str = "native",
    rankings: bool = False,
    judge: str | None = None,
    user=None,
    filename: str | None = None,
) -> ImportReport:
    """Adds what the file holds to `project`; what is there already is counted as a duplicate.

    Comparisons go to the queue with the project's number of slots, as all their pairs; with `rankings` those of four to
    nine different responses go there as one ranking. Preferences and votes become judgments by inactive
    annotators (`import:<name of the file>`, `ukp:<worker>`; with `judge`, for what a model judged, `judge:<judge>`) and
    use up no slot, and so do judgments (moving.py says whose they are). `user` None is the machine's own
    administrator; `filename` is the name that errors use. Raises UserError (file, line, field, what was expected), and
    then nothing has changed; PermissionDenied for anybody but the project's admins.
    """
    if user is not None:
        access.require(user, project, access.Role.ADMIN)
    filename = filename or Path(path).name
    reader = FORMATS.get(format)
    if reader is None:
        raise UserError(
            _("There is no format “%(format)s”: choose one of %(formats)s.")
            % {"format": format, "formats": ", ".join(FORMATS)},
            field="format",
        )
    if kind not in reader.KINDS:
        raise UserError(
            _("The format %(format)s holds %(kinds)s, not “%(kind)s”.")
            % {"format": format, "kinds": " or ".join(reader.KINDS), "kind": kind},
            field="kind",
        )
    voter = f"import:{_source_name(filename)}" if judge is None else _judge_name(judge)
    try:
        report = import_items(project, reader.read(path, kind, voter), rankings=rankings)
    except records.RecordError as error:
        raise UserError(told(error, filename), field="file") from error
    if not report.rows:
        raise UserError(_("%(filename)s holds no rows.") % {"filename": filename}, field="file")
    return report


@transaction.atomic
def import_items(project: Project, items: Iterable, *, rankings: bool = False) -> ImportReport:
    """As `import_file`, for records and voted pairs that come from no file; each chunk of items is of one class."""
    lock_project(project)
    return _write(project, iter(items), rankings)


def _judge_name(judge: str) -> str:
    """The judge's user name, told apart from people's."""
    if not re.fullmatch(r"[\w.@+/-]{1,100}", judge):
        raise UserError(_("A judge's name is letters, digits and . @ + / - _ only, 100 at most."), field="judge")
    return f"{JUDGE_PREFIX}{judge}"


def _source_name(filename: str) -> str:
    """The file's name without its endings, short enough for a user name."""
    return Path(filename).name.split(".")[0][:100] or "file"


def _write(project: Project, items: Iterator, rankings: bool) -> ImportReport:
    report = ImportReport()
    writers = {
        records.Prompt: _add_prompts,
        records.Demonstration: _add_demonstrations,
        records.Comparison: partial(_add_comparisons, rankings=rankings),
        VotedPair: _add_voted_pairs,
        JudgedComparison: partial(moving.add_judgments, accounts=_annotators),
    }
    while chunk := list(itertools.islice(items, CHUNK)):
        report.rows += len(chunk)
        usable = [item for item in chunk if not isinstance(item, Skipped)]
        report.skipped += len(chunk) - len(usable)
        report.skipped_because.update(item.reason for item in chunk if isinstance(item, Skipped))
        if usable:
            writers[type(usable[0])](project, usable, report)
    return report


def _add_prompts(project: Project, prompts: list[records.Prompt], report: ImportReport) -> None:
    conversations = [prompt.messages for prompt in prompts]
    digests = [text_digest(messages) for messages in conversations]
    known = dict(project.prompts.filter(digest__in=digests).values_list("digest", "reference"))
    waiting = set(project.prompts.filter(digest__in=digests, in_pool=True).values_list("digest", flat=True))
    added = add_prompts(project, conversations, in_pool=True, references=[prompt.reference for prompt in prompts])
    new = len(set(digests) - waiting)
    report.prompts += new
    now = {row.digest: row.reference for row in added.rows}
    report.references_changed += sum(before not in ({}, now[digest]) for digest, before in known.items())
    report.duplicates += len(digests) - new


def _add_demonstrations(project: Project, given: list[records.Demonstration], report: ImportReport) -> None:
    added = add_prompts(project, [demonstration.messages for demonstration in given])
    report.prompts += added.created
    wanted = {
        (prompt.pk, text_digest(demonstration.completion)): demonstration.completion
        for prompt, demonstration in zip(added.rows, given, strict=True)
    }
    present = set(
        Demonstration.objects.filter(prompt__in=[prompt.pk for prompt in added.rows], writing=None).values_list(
            "prompt", "digest"
        )
    )
    created = bulk.insert(
        Demonstration(prompt_id=prompt, completion=completion, digest=digest)
        for (prompt, digest), completion in wanted.items() if (prompt, digest) not in present
    )  # fmt: skip
    report.demonstrations += len(created)
    report.duplicates += len(given) - len(created)


def _add_comparisons(
    project: Project, given: list[records.Comparison], report: ImportReport, *, rankings: bool
) -> None:
    prompts = add_prompts(project, [comparison.messages for comparison in given])
    new = [
        NewResponse(prompt, candidate.text, candidate.model or "")
        for prompt, comparison in zip(prompts.rows, given, strict=True)
        for candidate in comparison.responses
    ]
    responses = add_responses(project, new)
    report.prompts += prompts.created
    report.responses += responses.created
    remaining, pairs, ranked = iter(responses.rows), [], []
    for comparison in given:
        of_record = list(itertools.islice(remaining, len(comparison.responses)))
        if rankings and (ranking := ranking_of(of_record, wanted=comparison.wanted)):
            ranked.append(ranking)
            continue
        of_record = list(pairs_of(of_record, wanted=comparison.wanted, uncertainty=comparison.uncertainty))
        if not of_record:
            report.skipped += 1
            report.skipped_because["all responses are the same text"] += 1
        pairs += of_record
    created = add_comparisons(project, pairs).created + add_rankings(project, ranked).created
    report.comparisons += created
    report.duplicates += len(pairs) + len(ranked) - created


def _add_voted_pairs(project: Project, given: list[VotedPair], report: ImportReport) -> None:
    prompts = add_prompts(project, [pair.messages for pair in given])
    compared = _compared(prompts.rows)
    new = []
    for prompt, pair in zip(prompts.rows, given, strict=True):
        generators = compared.get((prompt.pk, text_digest(pair.left), text_digest(pair.right)), ("", ""))
        new += [NewResponse(prompt, pair.left, generators[0]), NewResponse(prompt, pair.right, generators[1])]
    responses = add_responses(project, new)
    lefts, rights = responses.rows[::2], responses.rows[1::2]
    comparisons = add_comparisons(
        project,
        [NewPair(left, right, pair.group) for left, right, pair in zip(lefts, rights, given, strict=True)],
        wanted=0,
    )
    report.prompts += prompts.created
    report.responses += responses.created
    report.comparisons += comparisons.created
    people, created = _annotators({vote.annotator for pair in given for vote in pair.votes})
    report.annotators += created
    judgments = (
        _judgment(comparison, people[vote.annotator], left, right, vote)
        for pair, comparison, left, right in zip(given, comparisons.rows, lefts, rights, strict=True)
        for vote in pair.votes
    )
    _add_judgments(comparisons.rows, judgments, report)


def _compared(prompts: Iterable[Prompt]) -> dict[tuple[int, str, str], tuple[str, str]]:
    """{(prompt, digest, other digest): who wrote them}, both ways round, of the responses that are compared already.

    A vote names texts and nobody who wrote them, so it is about the first comparison of these texts, or about two
    responses of a ranking. Gold questions test people, so no vote is about them.
    """
    found: dict[tuple[int, str, str], tuple[str, str]] = {}
    for batch in batches({prompt.pk for prompt in prompts}):
        comparisons = Comparison.objects.filter(prompt__in=batch, gold__isnull=True).order_by("kind", "pk")
        for comparison in comparisons.select_related("first", "second").prefetch_related("candidates"):
            for left, right in itertools.permutations(comparison.responses, 2):
                key = (comparison.prompt_id, left.digest, right.digest)
                found.setdefault(key, (left.generator, right.generator))
    return found


def _annotators(usernames: set[str]) -> tuple[dict[str, User], int]:
    """The annotators of imported votes by name, and how many are new. Nobody can log in as one of them."""
    present = User.objects.in_bulk(usernames, field_name="username")
    if usernames - present.keys():
        lock_accounts()
        present = User.objects.in_bulk(usernames, field_name="username")
    new = [
        User(username=username, is_active=False, password=make_password(None))
        for username in sorted(usernames - present.keys())
    ]
    User.objects.bulk_create(new)
    return present | {user.username: user for user in new}, len(new)


def _judgment(comparison: Comparison, annotator: User, left: Response, right: Response, vote: Vote) -> Judgment:
    winners = {Rating.EQUAL: None, Rating.A_BETTER: left.pk, Rating.A_SLIGHTLY_BETTER: left.pk}
    return Judgment(
        comparison_id=comparison.pk,
        annotator_id=annotator.pk,
        left_id=left.pk,
        right_id=right.pk,
        rating=vote.rating,
        winner_id=winners.get(vote.rating, right.pk),
        note=vote.note,
        edited=vote.edited,
        seconds=vote.seconds,
        created_at=vote.created_at or timezone.now(),
        **vote.criteria,
    )


def _add_judgments(comparisons: Iterable[Comparison], judgments: Iterable[Judgment], report: ImportReport) -> None:
    """Each person's first vote on a comparison; later ones are duplicates, or contradict it."""
    standing = moving.standing_votes({comparison.pk for comparison in comparisons})
    new = []
    for judgment in judgments:
        key = (judgment.comparison_id, judgment.annotator_id)
        if key not in standing:
            standing[key] = judgment.winner_id
            new.append(judgment)
        else:
            report.duplicates += 1
            report.contradictions += standing[key] != judgment.winner_id
    bulk.insert(new)
    report.judgments += len(new)
