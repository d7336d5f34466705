"""Prompts, responses, comparisons and their slots, added in bulk: for imports, rounds and single pairs alike.

Each function adds what is not there yet and returns the rows in the order given, equal content as one row. They lock
the project's intake, so call them in one transaction with whatever else must land together.
"""

import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import Generic, TypeVar

from django.db import connection, transaction
from django.utils import timezone
from django.utils.translation import gettext as _

from annotate import access, bulk
from annotate.errors import UserError
from annotate.labeling.counters import forget_looked_through
from annotate.labeling.leaks import find_leaks
from annotate.labeling.locks import lock_project
from annotate.labeling.policies import RANKS, Known, place_on_circle
from annotate.models import Candidate, Comparison, GoldQuestion, ModelVersion, Project, Prompt, Response, Round, Slot
from annotate.models.comparison import text_digest
from annotate.models.judgment import MOST_RESPONSES
from training.records import MOST_WANTED

# Values per SELECT … IN: well below what a statement may carry on any database.
BATCH = 5000
# With fewer there are as few pairs, and a pair is the clearer question.
FEWEST_RANKED = 4

Row = TypeVar("Row")


@dataclass(frozen=True)
class Added(Generic[Row]):
    """`rows` in the order given; `created` counts those that are new."""

    rows: list[Row]
    created: int


@dataclass(frozen=True)
class NewResponse:
    """`generator` names who wrote the text; it is for researchers and never reaches an annotator."""

    prompt: Prompt
    text: str
    generator: str = ""
    model: ModelVersion | None = None


@dataclass(frozen=True)
class NewPair:
    """Two responses to one prompt, in any order; `group` keeps pairs together beyond their prompt (a debate, say).

    `wanted` is the number of judgments where it is not the same for all; `uncertainty` is a reward model's, 0 to 1.
    """

    one: Response
    other: Response
    group: str = ""
    wanted: int | None = None
    uncertainty: float | None = None


@dataclass(frozen=True)
class NewRanking:
    """Four to nine responses to one prompt that are ranked at once, in any order; `wanted` as of a pair."""

    responses: tuple[Response, ...]
    group: str = ""
    wanted: int | None = None


@transaction.atomic
def add_prompts(
    project: Project,
    conversations: Sequence[list[dict]],
    *,
    in_pool: bool = False,
    references: Sequence[dict] | None = None,
) -> Added[Prompt]:
    """`conversations` are lists of messages that end with a turn to answer; `in_pool` offers them to policies.

    `references`, one a conversation, are what answers are checked by. Of what is said about a prompt more than once
    the last counts, field by field, so that an answer can be put right; what is not said again stays.
    """
    lock_project(project)
    digests = [text_digest(messages) for messages in conversations]
    said: dict[str, dict] = {}
    for digest, reference in zip(digests, references or [{}] * len(digests), strict=True):
        said[digest] = said.get(digest, {}) | reference
    wanted = dict(zip(digests, conversations, strict=True))
    found = {
        prompt.digest: prompt
        for batch in batches(wanted)
        for prompt in Prompt.objects.filter(project=project, digest__in=batch)
    }
    created = bulk.insert(
        Prompt(project=project, messages=messages, digest=digest, in_pool=in_pool, reference=said[digest])
        for digest, messages in wanted.items() if digest not in found
    )  # fmt: skip
    changed = []
    for prompt in found.values():
        if (reference := prompt.reference | said[prompt.digest]) != prompt.reference:
            prompt.reference = reference
            changed.append(prompt)
    Prompt.objects.bulk_update(changed, ["reference"], batch_size=500)
    if in_pool:
        for batch in batches([prompt.pk for prompt in found.values() if not prompt.in_pool]):
            Prompt.objects.filter(pk__in=batch).update(in_pool=True)
    found |= {prompt.digest: prompt for prompt in created}
    return Added([found[digest] for digest in digests], len(created))


@transaction.atomic
def add_responses(project: Project, responses: Sequence[NewResponse]) -> Added[Response]:
    """The same text by the same generator is one response of its prompt."""
    lock_project(project)
    keys = [(new.prompt.pk, text_digest(new.text), new.generator) for new in responses]
    wanted = dict(zip(keys, responses, strict=True))
    found = {
        (response.prompt_id, response.digest, response.generator): response
        for batch in batches(dict.fromkeys(prompt for prompt, _, _ in keys))
        for response in Response.objects.filter(prompt__in=batch)
    }
    created = bulk.insert(
        look_for_leaks(
            Response(prompt=new.prompt, text=new.text, digest=key[1], generator=new.generator, model=new.model)
        )
        for key, new in wanted.items() if key not in found
    )  # fmt: skip
    found |= {(response.prompt_id, response.digest, response.generator): response for response in created}
    return Added([found[key] for key in keys], len(created))


@transaction.atomic
def add_comparisons(
    project: Project, pairs: Sequence[NewPair], *, wanted: int | None = None, round: Round | None = None
) -> Added[Comparison]:
    """Pairs of different responses to one prompt, with `wanted` slots each: the pair's own number, or the one given
    here, or the project's. A pair that is there already keeps its slots and what people judged.

    Raises ValueError for responses of two prompts.
    """
    lock_project(project)
    wanted = project.judgments_wanted if wanted is None else wanted
    ordered = [tuple(sorted((pair.one, pair.other), key=lambda response: response.pk)) for pair in pairs]
    if any(first.prompt_id != second.prompt_id for first, second in ordered):
        raise ValueError("a comparison is of two responses to the same prompt")
    keys = [(first.pk, second.pk) for first, second in ordered]
    new = {key: (first, second, pair) for key, (first, second), pair in zip(keys, ordered, pairs, strict=True)}
    found = {
        (comparison.first_id, comparison.second_id): comparison
        for batch in batches(dict.fromkeys(first for first, _ in keys))
        for comparison in Comparison.objects.filter(first__in=batch)
    }
    created = bulk.insert(
        Comparison(
            project=project, prompt_id=first.prompt_id, first=first, second=second, group=pair.group,
            judgments_wanted=wanted if pair.wanted is None else pair.wanted, uncertainty=pair.uncertainty, round=round,
        )
        for key, (first, second, pair) in new.items() if key not in found
    )  # fmt: skip
    served = [row for row in created if not is_held_back(project, (row.first, row.second))]
    _add_slots(project, _numbers(served))
    found |= {(comparison.first_id, comparison.second_id): comparison for comparison in created}
    return Added([found[key] for key in keys], len(created))


@transaction.atomic
def add_rankings(
    project: Project, rankings: Sequence[NewRanking], *, wanted: int | None = None, round: Round | None = None
) -> Added[Comparison]:
    """As `add_comparisons`, for rankings. Raises ValueError for too few or too many responses, or of two prompts."""
    lock_project(project)
    wanted = project.judgments_wanted if wanted is None else wanted
    new = {}
    digests = []
    for ranking in rankings:
        ordered = sorted(set(ranking.responses), key=lambda response: response.pk)
        if not FEWEST_RANKED <= len(ordered) <= MOST_RESPONSES:
            raise ValueError(f"a ranking is of {FEWEST_RANKED} to {MOST_RESPONSES} responses, not of {len(ordered)}")
        if len({response.prompt_id for response in ordered}) > 1:
            raise ValueError("a ranking is of responses to the same prompt")
        digests.append(text_digest([response.pk for response in ordered]))
        new[digests[-1]] = (ordered, ranking)
    found = {
        comparison.ranking_digest: comparison
        for batch in batches(new)
        for comparison in Comparison.objects.filter(ranking_digest__in=batch)
    }
    created = bulk.insert(
        Comparison(
            project=project, prompt_id=responses[0].prompt_id, kind=Comparison.Kind.RANKING, ranking_digest=digest,
            group=ranking.group, judgments_wanted=wanted if ranking.wanted is None else ranking.wanted, round=round,
        )
        for digest, (responses, ranking) in new.items() if digest not in found
    )  # fmt: skip
    bulk.insert(
        Candidate(comparison=comparison, number=number, response=response)
        for comparison in created
        for number, response in enumerate(new[comparison.ranking_digest][0])
    )
    served = [row for row in created if not is_held_back(project, new[row.ranking_digest][0])]
    _add_slots(project, _numbers(served))
    found |= {comparison.ranking_digest: comparison for comparison in created}
    return Added([found[digest] for digest in digests], len(created))


def ranking_of(responses: Iterable[Response], group: str = "", *, wanted: int | None = None) -> NewRanking | None:
    """All responses of different texts as one ranking; None where they are too few or too many for one."""
    distinct = different(responses)
    if FEWEST_RANKED <= len(distinct) <= MOST_RESPONSES:
        return NewRanking(tuple(distinct), group, wanted)
    return None


@transaction.atomic
def set_judgments_wanted(comparison: Comparison, wanted: int, *, user=None) -> None:
    """From now on `wanted` different people judge this comparison, 0 to 50, whatever the project's number is.

    More: slots that were withdrawn come back, those that were used up meanwhile first, then judgments that had no slot
    get one, then new ones are added. Fewer: free slots are withdrawn first, then those that somebody holds, whose
    judgment is kept but fills no slot that counts. What is judged stays judged. A comparison that is held back only
    keeps the number for later. `user` None is the machine's own administrator.
    """
    project = comparison.project
    if user is not None:
        access.require(user, project, access.Role.ADMIN)
    if not isinstance(wanted, int) or not 0 <= wanted <= MOST_WANTED:
        raise UserError(_("A comparison wants 0 to %d judgments.") % MOST_WANTED, field="wanted")
    lock_project(project)
    if wanted and GoldQuestion.objects.filter(comparison=comparison).exists():
        raise UserError(_("A gold question is judged once by everybody: it wants no number."), field="wanted")
    comparison.judgments_wanted = wanted
    comparison.save(update_fields=["judgments_wanted"])
    if is_held_back(project, comparison.responses):
        return
    slots = Slot.objects.filter(comparison=comparison)
    if connection.features.has_select_for_update:
        slots = slots.select_for_update(no_key=True)
    slots = list(slots.order_by("number"))
    now = timezone.now()
    counted = [slot for slot in slots if not slot.apart]
    # Used up, held, free: what comes last is withdrawn first.
    counted.sort(key=lambda slot: (slot.free_from is not None, slot.free_from is not None and slot.free_from <= now))
    unused = [slot.pk for slot in counted[wanted:] if slot.free_from is not None]
    Slot.objects.filter(pk__in=unused).update(apart=True)
    missing = max(0, wanted - len(counted))
    withdrawn = sorted((slot for slot in slots if slot.apart), key=lambda slot: slot.free_from is not None)[:missing]
    # A lease that is still running stays with its holder.
    Slot.objects.filter(pk__in=[slot.pk for slot in withdrawn]).update(apart=False)
    missing -= len(withdrawn)
    first = slots[-1].number + 1 if slots else 0
    rank = slots[0].rank if slots else None
    extras = comparison.judgments.filter(slot=None, reservation__isnull=False).order_by("pk")[:missing]
    for number, extra in enumerate(extras, first):
        extra.slot = Slot.objects.create(
            project=project, comparison=comparison, number=number, holder=extra.annotator, free_from=None
        )
        extra.save(update_fields=["slot"])
    filled = len(extras)
    _add_slots(project, [(comparison, first + place) for place in range(filled, missing)], rank)


def pairs_of(
    responses: Iterable[Response], group: str = "", *, wanted: int | None = None, uncertainty: float | None = None
) -> Iterator[NewPair]:
    """Every pair of responses whose texts differ."""
    for one, other in itertools.combinations(different(responses), 2):
        yield NewPair(one, other, group, wanted, uncertainty)


def different(responses: Iterable[Response]) -> list[Response]:
    """Those whose texts differ; of several with the same text, the first stands for all."""
    distinct: dict[str, Response] = {}
    for response in responses:
        distinct.setdefault(response.digest, response)
    return list(distinct.values())


def withdraw(comparisons: Sequence[Comparison]) -> None:
    """Hands these comparisons out to nobody any more; what was judged stays, and who has one open may still submit."""
    ids = [comparison.pk for comparison in comparisons]
    Comparison.objects.filter(pk__in=ids).update(judgments_wanted=0)
    Slot.objects.filter(comparison__in=ids, free_from__isnull=False).update(apart=True)


def batches(values: Iterable, size: int = BATCH) -> Iterator[list]:
    """`values` in lists of at most `size`."""
    values = iter(values)
    while batch := list(itertools.islice(values, size)):
        yield batch


def _add_slots(project: Project, numbers: Sequence[tuple[Comparison, int]], rank: float | None = None) -> None:
    """Slots at the end of the queue, a microsecond apart, so that they keep their order and each is met once.

    Without `rank`, nobody has judged their comparisons yet.
    """
    begin = timezone.now() - timedelta(microseconds=len(numbers))
    rank_of = RANKS[project.queue_policy]
    bulk.insert(
        Slot(
            project=project, comparison=comparison, number=number, free_from=begin + timedelta(microseconds=place),
            spread=place_on_circle(comparison.pk),
            rank=rank_of(_before_judgments(comparison)) if rank is None else rank,
        )
        for place, (comparison, number) in enumerate(numbers)
    )  # fmt: skip
    # Not before they can be seen: whoever looks until then would believe again that nothing is left.
    transaction.on_commit(partial(forget_looked_through, project))


def is_held_back(project: Project, responses: Iterable[Response]) -> bool:
    """Whether a comparison of these gets no slots: one was left out for telling who wrote it, or is to be looked at."""
    held = {Response.LeakState.LEFT_OUT} | ({Response.LeakState.FOUND} if project.hold_leaks else set())
    return any(response.leak_state in held for response in responses)


def look_for_leaks(response: Response) -> Response:
    """With what its text tells about who wrote it; what an admin decided about it stands. Nothing is saved."""
    names = {response.generator, response.model.name} if response.model else {response.generator}
    response.leaks = find_leaks(response.text, sorted(names))
    response.leaks_checked_at = timezone.now()
    if response.leak_state in {Response.LeakState.NONE, Response.LeakState.FOUND}:
        response.leak_state = Response.LeakState.FOUND if response.leaks else Response.LeakState.NONE
    return response


def _numbers(comparisons: Sequence[Comparison]) -> list[tuple[Comparison, int]]:
    return [(comparison, number) for comparison in comparisons for number in range(comparison.judgments_wanted)]


def _before_judgments(comparison: Comparison) -> Known:
    return Known(round=comparison.round.number if comparison.round else 0, uncertainty=comparison.uncertainty)
