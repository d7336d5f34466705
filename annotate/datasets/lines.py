"""The lines of a snapshot, as they come out of the database: in an order that depends on their content alone."""

import itertools
import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator

from django.db.models import Exists, OuterRef, Prefetch, Q
from django.utils.translation import gettext as _

from annotate.datasets.judgments import judgment_lines
from annotate.datasets.votes import Columns, adjudicated, all_votes, majority
from annotate.errors import UserError
from annotate.models import Comparison, Dataset, Demonstration, GoldQuestion, Judgment, PersonTally, Project, Prompt
from annotate.models.comparison import text_digest
from annotate.models.judgment import JUDGE_PREFIX, by_people
from training.records import REFERENCE_FIELDS

# Comparisons read at once with their judgments.
CHUNK = 2000
PEOPLE = "people"
VOTERS = {PEOPLE: by_people(), "judges": ~by_people(), "everybody": Q()}
VOTES = {"majority": majority, "all": all_votes, "adjudicated": adjudicated}

Kind = Dataset.Kind
Line = dict
Facts = Counter[str]


def checked_options(kind: str, *, votes: str, ties: bool, edited: bool, voters: str) -> dict:
    """What matters for this kind of the options of `create_snapshot`, in one order: equal wishes are equal.

    Raises UserError for an unknown kind or rule.
    """
    if kind not in Kind.values:
        raise UserError(_("A dataset is one of %(values)s.") % {"values": ", ".join(Kind.values)}, field="kind")
    if votes not in VOTES:
        raise UserError(_("Votes count as one of %(votes)s.") % {"votes": ", ".join(VOTES)}, field="votes")
    if voters not in VOTERS and not voters.startswith(JUDGE_PREFIX):
        raise UserError(
            _("The voters are one of %(voters)s, or judge:NAME.") % {"voters": ", ".join(VOTERS)}, field="voters"
        )
    if kind == Kind.PREFERENCES:
        return {"votes": votes, "ties": bool(ties), "voters": voters}
    if kind == Kind.JUDGMENTS:
        return {"voters": voters}
    return {"edited": bool(edited)} if kind == Kind.DEMONSTRATIONS else {}


def told_of(options: dict) -> dict:
    """What a dataset's `facts` say of its options; nothing where people voted: it has the facts it always had."""
    told = {"votes": options["votes"]} if "votes" in options else {}
    told |= {"ties_kept": True} if options.get("ties") else {}
    return told | ({"voters": options["voters"]} if options.get("voters", PEOPLE) != PEOPLE else {})


def lines_of(project: Project, kind: str, options: dict, facts: Facts) -> Iterator[Line]:
    """The rows, some thousands in memory at a time; `facts` counts what was read and left out while they are read."""
    if kind == Kind.PREFERENCES:
        return _preferences(project, facts=facts, **options)
    if kind == Kind.JUDGMENTS:
        return _judgments(project, **options)
    if kind == Kind.DEMONSTRATIONS:
        return _demonstrations(project, facts=facts, **options)
    return _comparisons(project) if kind == Kind.COMPARISONS else _prompts(project)


def at_most(project: Project, kind: str, most: int) -> bool:
    """Whether no more than `most` rows have to be read for a snapshot; counts no further than that."""
    read = {
        Kind.PREFERENCES: Judgment.objects.filter(comparison__project=project),
        Kind.JUDGMENTS: Judgment.objects.filter(comparison__project=project),
        Kind.DEMONSTRATIONS: Demonstration.objects.filter(prompt__project=project),
        Kind.COMPARISONS: Comparison.objects.filter(project=project),
        Kind.PROMPTS: Prompt.objects.filter(project=project, in_pool=True),
    }[kind]
    return read.order_by()[: most + 1].count() <= most


def judges_of(project: Project) -> list[str]:
    """The user names of the models whose verdicts stand in the project."""
    judged = PersonTally.objects.filter(project=project, user__username__startswith=JUDGE_PREFIX, judged__gt=0)
    return list(judged.order_by("user__username").values_list("user__username", flat=True))


def _preferences(project: Project, *, votes: str, ties: bool, voters: str, facts: Facts) -> Iterator[Line]:
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
    whose = VOTERS[voters] if voters in VOTERS else Q(annotator__username=voters)
    # As NOT EXISTS: of a join whose other side is null PostgreSQL expects a single row, and compares all with all.
    gold = GoldQuestion.objects.filter(comparison=OuterRef("comparison"))
    return Judgment.objects.filter(whose, ~Exists(gold), comparison__project=project)


def _demonstrations(project: Project, *, edited: bool, facts: Facts) -> Iterator[Line]:
    return _demonstrations_and_edits(project, facts) if edited else _accepted(project)


def _accepted(project: Project) -> Iterator[Line]:
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
    for line in _accepted(project):
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
