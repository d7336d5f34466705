"""The cases of labeling_load.py's part d: long histories, queues that are nearly done, nothing left, every policy.

Rows are written straight into the tables (rows.py). Each case is one person in one project, who takes and judges pair
after pair: first through the services in this process, where queries are counted, then through the page over HTTP.
"""

import contextlib
import itertools
import statistics
import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta

CROWD, WANTED, RESPONSES = 20, 5, 9
TEXT = "Sunlight is made of **all colors**, and air scatters the short waves more than the long ones. " * 6
# How many pairs a case takes at a million slots, by either way; how often "nothing" is asked for.
MEASURED, POLLS = 60, 20
# Of the slots of a queue that is nearly done one in a hundred is free; of those, so many are for its person.
DONE_EVERY, LEFT = 20, 0.05


@dataclass(frozen=True)
class Case:
    """What `person` meets in the project `slug`."""

    title: str
    slug: str
    person: str


def fill(slug: str, comparisons: int, wanted: int, taken: Callable[[int], Sequence[str]], people: dict, **settings):
    """A project; `taken` says by name who used up the first slots of the n-th comparison, the others are free."""
    from django.db.models import Max
    from django.utils import timezone

    from annotate.labeling.policies import place_on_circle
    from annotate.models import Comparison, Judgment, Membership, Prompt, Reservation, Response, Slot
    from annotate.models.comparison import text_digest
    from annotate.projects import start_project
    from benchmarks.rows import filling, insert

    project = start_project(name=slug, slug=slug, judgments_wanted=wanted)
    for name, value in settings.items():
        setattr(project, name, value)
    project.save()
    Membership.objects.bulk_create(Membership(project=project, user_id=pk, role="annotator") for pk in people.values())
    begin = timezone.now() - timedelta(days=30)
    first = {model: (model.objects.aggregate(last=Max("pk"))["last"] or 0) + 1
             for model in (Prompt, Response, Comparison, Slot)}  # fmt: skip
    pairs = list(itertools.combinations(range(RESPONSES), 2))
    prompts = range(-(-comparisons // len(pairs)))

    def responses_of(n: int) -> tuple[int, int]:
        prompt, pair = divmod(n, len(pairs))
        return tuple(first[Response] + prompt * RESPONSES + number for number in pairs[pair])

    def slots():
        """(number of the comparison, the slot's own number, its key, who used it up)."""
        for n in range(comparisons):
            by = taken(n)
            for k in range(wanted):
                yield n, k, first[Slot] + n * wanted + k, people[by[k]] if k < len(by) else None

    def moment(n: int):
        return begin + timedelta(seconds=n)

    def queued(slot: int):
        return begin - timedelta(hours=1) + timedelta(microseconds=slot)

    with filling(project):
        insert(Prompt, ["id", "project_id", "messages", "digest", "created_at"], (
            (first[Prompt] + n, project.pk, [{"role": "user", "content": f"Why is the sky blue? Case {n}."}],
             text_digest(n), begin) for n in prompts))  # fmt: skip
        insert(Response, ["id", "prompt_id", "text", "digest", "leaks_checked_at", "created_at"], (
            (first[Response] + n * RESPONSES + k, first[Prompt] + n, f"{TEXT}({k})", text_digest(k), begin, begin)
            for n in prompts for k in range(RESPONSES)))  # fmt: skip
        insert(Comparison, ["id", "project_id", "prompt_id", "kind", "first_id", "second_id", "judgments_wanted",
                            "uncertainty", "created_at"], (
            (first[Comparison] + n, project.pk, first[Prompt] + n // len(pairs), "pair", *responses_of(n), wanted,
             n * 7919 % 1000 / 1000, begin) for n in range(comparisons)))  # fmt: skip
        insert(Slot, ["id", "project_id", "comparison_id", "number", "free_from", "spread", "holder_id"], (
            (slot, project.pk, first[Comparison] + n, k, None if by else queued(slot),
             place_on_circle(first[Comparison] + n), by) for n, k, slot, by in slots()))  # fmt: skip
        insert(Reservation, ["key", "project_id", "slot_id", "annotator_id", "swapped", "reserved_at", "shown_at",
                             "queued_rank", "queued_at"], (
            (uuid.UUID(int=slot), project.pk, slot, by, False, moment(n), moment(n), 0.0, queued(slot))
            for n, _, slot, by in slots() if by))  # fmt: skip
        insert(Judgment, ["comparison_id", "annotator_id", "slot_id", "reservation_id", "left_id", "right_id",
                          "rating", "winner_id", "shown_at", "seconds", "created_at"], (
            (first[Comparison] + n, by, slot, uuid.UUID(int=slot), *responses_of(n), 1, responses_of(n)[0], moment(n),
             9.0, moment(n)) for n, _, slot, by in slots() if by))  # fmt: skip
    return project


def people_of(password: str) -> dict[str, int]:
    """Primary keys by name."""
    from annotate.models import User

    account = User(username="template")
    account.set_password(password)
    names = [f"p{number}" for number in range(CROWD)] + ["half", "most", "all", "new"]
    users = User.objects.bulk_create(User(username=name, password=account.password) for name in names)
    return {user.username: user.pk for user in users}


def crowd(n: int, k: int) -> str:
    return f"p{(n * 7 + k) % CROWD}"


def under_way(n: int) -> list[str]:
    """Seven tenths are done; “half” has every second comparison, “most” all but one in 250, “all” all."""
    by = ["all", crowd(n, 1) if n % 250 == 125 else "most", "half" if n * 7919 % 104729 % 2 else crowd(n, 2)]
    return [*by, crowd(n, 3)] if n % 2 else by


def nearly_done(n: int) -> list[str]:
    """One slot in a hundred is free. “most” has judged 95 % of the comparisons where it is, “all” all of them."""
    is_free = n % DONE_EVERY == 0
    for_most = is_free and n // DONE_EVERY % round(1 / LEFT) == 7
    by = ["all", crowd(n, 1) if for_most else "most", crowd(n, 2), crowd(n, 3)]
    return by if is_free else [*by, crowd(n, 4)]


def load(slots: int, password: str) -> None:
    """The projects of all cases."""
    people = people_of(password)
    fill("under-way", slots // WANTED, WANTED, under_way, people)
    fill("nearly-done", slots // WANTED, WANTED, nearly_done, people)
    for size in policy_sizes(slots):
        project = fill(
            f"policies-{size}", size, 3, lambda n: [crowd(n, k) for k in range(n % 3)], people,
            gold_share=0.05, random_share=0.1,
        )  # fmt: skip
        _add_gold(project)
        _add_rounds(project)


def policy_sizes(slots: int) -> list[int]:
    return [1_000, 3 * slots // 10]


def _add_gold(project) -> None:
    from annotate.models import GoldQuestion, Slot

    chosen = project.comparisons.order_by("pk")[:: max(1, project.comparisons.count() // 100)]
    GoldQuestion.objects.bulk_create(GoldQuestion(comparison=row, expected_id=row.first_id) for row in chosen)
    Slot.objects.filter(comparison__in=[row.pk for row in chosen]).update(apart=True)


def _add_rounds(project) -> None:
    """Three rounds of the loop, a quarter of the comparisons each."""
    from django.db.models import F

    from annotate.models import ModelVersion, Round, Run

    for number in (1, 2, 3):
        run = Run.objects.create(project=project, recipe="generate")
        policy = ModelVersion.objects.create(project=project, kind="policy", name=f"policy {number}")
        made = Round.objects.create(project=project, number=number, policy=policy, run=run)
        project.comparisons.annotate(part=F("pk") % 4).filter(part=number).update(round=made)


def measure(page_of: Callable, slots: int) -> None:
    """Prints the tables; `page_of(person, slug)` is a browser that has logged in."""
    from annotate.models import Project
    from annotate.models.project import QueuePolicy

    print("\n| case | open | own | first, ms | next, ms | 95 % | queries | submit and next, ms | 95 % |")
    print("| --- |" + " ---: |" * 8, flush=True)
    for case in [
        Case("half of the comparisons judged", "under-way", "half"),
        Case("one of twenty people, overlap 5", "under-way", "p3"),
        Case("newcomer", "under-way", "new"),
        Case("all but a few hundred judged", "under-way", "most"),
        Case("99 % done, newcomer", "nearly-done", "new"),
        Case("99 % done, 95 % of the rest judged", "nearly-done", "most"),
    ]:
        _print(case, page_of, slots)
    for size in policy_sizes(slots):
        project = Project.objects.get(slug=f"policies-{size}")
        for policy in QueuePolicy.values:
            begin = time.perf_counter()
            _set_policy(project, policy)
            seconds = time.perf_counter() - begin
            _print(Case(f"{policy}, put in order in {seconds:.1f} s", project.slug, "p4"), page_of, slots)
    print("\n| nothing for this person | open | own | first look, ms | again, ms | queries | page again, ms |")
    print("| --- |" + " ---: |" * 6, flush=True)
    for case in [
        Case("all judged by this person", "under-way", "all"), Case("99 % done, the rest judged", "nearly-done", "all"),
    ]:  # fmt: skip
        _print_nothing(case, page_of)


def _set_policy(project, policy: str) -> None:
    from annotate.labeling import order

    project.queue_policy = policy
    project.save(update_fields=["queue_policy"])
    order.reorder(project)


def _print(case: Case, page_of, slots: int) -> None:
    from annotate.labeling.queue import reserve_next
    from annotate.labeling.submit import submit_judgment

    project, user, about = _about(case)
    taken, queries = [], 0
    times = min(MEASURED, slots * MEASURED // 1_000_000 + 6)
    for number in range(times):
        begin = time.perf_counter()
        with _counting(0 < number < 4) as asked:
            reservation = reserve_next(project, user)
        taken.append(1000 * (time.perf_counter() - begin))
        queries = max(queries, _number(asked))
        assert reservation is not None, f"{case.title}: nothing left"
        submit_judgment(user, reservation.key, 1 + number % 4)
    page, sent = page_of(case.person, case.slug), []
    assert page.open()
    for number in range(times):
        begin = time.perf_counter()
        assert page.judge(number % 4 + 1), f"{case.title}: nothing left"
        sent.append(1000 * (time.perf_counter() - begin))
    inside, over_http = _figures(taken[4:]), _figures(sent[4:])
    print(f"| {case.title} | {about} | {taken[0]:.1f} | {inside} | {queries} | {over_http} |", flush=True)


def _print_nothing(case: Case, page_of) -> None:
    from annotate.labeling.queue import reserve_next

    project, user, about = _about(case)
    taken, queries = [], 0
    for number in range(POLLS):
        begin = time.perf_counter()
        with _counting(0 < number < 4) as asked:
            assert reserve_next(project, user) is None
        taken.append(1000 * (time.perf_counter() - begin))
        queries = max(queries, _number(asked))
    page, opened = page_of(case.person, case.slug), []
    for _ in range(POLLS):
        begin = time.perf_counter()
        assert not page.open()
        opened.append(1000 * (time.perf_counter() - begin))
    again, page_again = statistics.median(taken[4:]), statistics.median(opened[4:])
    print(f"| {case.title} | {about} | {taken[0]:.1f} | {again:.1f} | {queries} | {page_again:.1f} |", flush=True)


def _about(case: Case):
    """The project, the person, and as text how many slots are open and how many judgments are the person's own."""
    from annotate.models import PersonTally, Project, Slot, User

    project, user = Project.objects.get(slug=case.slug), User.objects.get(username=case.person)
    free = Slot.objects.filter(project=project, free_from__isnull=False, apart=False).count()
    tally = PersonTally.objects.filter(project=project, user=user).first()
    return project, user, f"{free:,} | {tally.judged if tally else 0:,}"


def _counting(wanted: bool):
    """Queries as a list, where they are wanted: to note them takes time."""
    from django.db import connection
    from django.test.utils import CaptureQueriesContext

    return CaptureQueriesContext(connection) if wanted else contextlib.nullcontext()


def _number(asked) -> int:
    """Of the queries noted, those that are no part of a transaction's own: BEGIN, SAVEPOINT and their ends."""
    own = ("BEGIN", "COMMIT", "SAVEPOINT", "RELEASE")
    return sum(not query["sql"].startswith(own) for query in asked or [])


def _figures(times: list[float]) -> str:
    return f"{statistics.median(times):.1f} | {sorted(times)[int(0.95 * len(times))]:.1f}"
