"""How long every page and list of a large project takes, and how many queries: with 100,000 comparisons × 3 judgments.

Rows are written straight into the tables, votes of sixty people of whom a seventh guesses; totals are counted
after. The quality report is computed once, as the worker does. Then an annotator and an admin open each of
their addresses in one process, without a network; the median counts. Prints Markdown, the slowest first.

    python benchmarks/pages.py [--comparisons 100000] [--database sqlite postgresql] [--keep DIR]
"""

import argparse
import contextlib
import json
import math
import os
import random
import secrets
import statistics
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "annotate.settings")

SLUG, PEOPLE, WANTED, DAYS = "big", 60, 3, 60
# The last tenth of the comparisons is still open, some of them judged once or twice.
OPEN = 0.1
WORDS = ["sunlight", "is", "made", "of", "all", "colors", "and", "air", "scatters", "the", "short", "waves"]
# One in so many responses tells who wrote it; so many pairs are gold questions; so many texts wait for review; so many
# runs and models there are.
LEAKY, GOLD, WRITTEN, RUNS = 100, 300, 5_000, 300
# Comparisons on one page of their table.
PER_PAGE = 25
# What an annotator opens, and what an admin does.
OWN = [
    "/", "/account/", "/p/big/label/", "/p/big/label/progress/", "/p/big/label/history/",
    "/p/big/label/edit/{judgment}/", "/p/big/write/", "/p/big/write/mine/", "/p/big/chat/", "/p/big/guidelines/",
    "/api/projects/big/standing/", "/api/projects/big/progress/mine/", "/api/projects/big/demonstrations/mine/",
]  # fmt: skip
MANAGED = [
    "/", "/p/big/", "/p/big/people/", "/p/big/settings/", "/p/big/guidelines/edit/",
    "/p/big/demonstrations/", "/p/big/demonstrations/{demonstration}/", "/p/big/chat/models/",
    "/p/big/data/", "/p/big/data/leaks/", "/p/big/data/comparisons/", "/p/big/data/comparisons/?page={last_page}",
    "/p/big/data/comparisons/?show=open", "/p/big/data/comparisons/?show=different",
    "/p/big/data/comparisons/?q=Question+77", "/p/big/data/comparisons/?q=nowhere", "/p/big/datasets/",
    "/p/big/runs/", "/p/big/runs/new/reward/", "/p/big/runs/{run}/", "/p/big/models/", "/p/big/rounds/",
    "/p/big/rounds/new/", "/p/big/quality/", "/p/big/quality/split/", "/p/big/quality/split/{comparison}/",
    "/p/big/quality/gold/", "/p/big/quality/throughput/",
    "/api/projects/", "/api/projects/big/", "/api/projects/big/guidelines/", "/api/projects/big/members/?limit=100",
    "/api/projects/big/standings/", "/api/projects/big/comparisons/?limit=100",
    "/api/projects/big/comparisons/?limit=100&offset={last_row}",
    "/api/projects/big/comparisons/?shown=open&limit=100", "/api/projects/big/comparisons/{comparison}/",
    "/api/projects/big/leaks/?limit=100", "/api/projects/big/gold/?limit=100", "/api/projects/big/splits/?limit=100",
    "/api/projects/big/progress/", "/api/projects/big/demonstrations/?limit=100", "/api/projects/big/datasets/",
    "/api/projects/big/runs/?limit=100", "/api/projects/big/models/?limit=100", "/api/projects/big/rounds/",
]  # fmt: skip
PATHS = {"p3": OWN, "admin": MANAGED}
# Each address is opened once to warm up, then so often, unless that takes longer than so many seconds.
OPENED, PATIENCE = 5, 3.0


def fill(comparisons: int) -> None:
    """The project with its people, texts, slots, reservations and judgments; every hundredth judgment was changed."""
    from django.utils import timezone

    from annotate.labeling.policies import place_on_circle
    from annotate.labeling.verdict import Verdict
    from annotate.models import (
        Comparison,
        GuidelineVersion,
        Judgment,
        JudgmentVersion,
        Membership,
        Prompt,
        Reservation,
        Response,
        Slot,
        User,
    )
    from annotate.models.comparison import text_digest
    from annotate.projects import start_project
    from benchmarks.rows import filling, insert

    rng, now = random.Random(0), timezone.now()
    project = start_project(name="Big", slug=SLUG, judgments_wanted=WANTED)
    project.gold_share, project.rate_per_hour, project.writing, project.chat = 0.05, 20, True, True
    project.save()
    for role in Membership.Role.values:
        Membership.objects.create(project=project, user=User.objects.create(username=role), role=role)
    people = User.objects.bulk_create(User(username=f"p{number}") for number in range(PEOPLE))
    Membership.objects.bulk_create(Membership(project=project, user=user, role="annotator") for user in people)
    guideline = GuidelineVersion.objects.filter(project=project).first()

    start, numbers = now - timedelta(days=DAYS), range(1, comparisons + 1)
    lengths = {(n, side): rng.randint(10, 90) for n in numbers for side in (0, 1)}
    lorem = [rng.choice(WORDS) for _ in range(100)]
    slots, reservations, judgments, versions = [], [], [], []

    def leaks(number: int) -> tuple[list[str], str]:
        return (["sunlight"], "found") if number % LEAKY == 0 else ([], "")

    for n in numbers:
        ahead = rng.gauss(0, 1.2) + 0.4 * math.log2(lengths[n, 0] / lengths[n, 1])
        for k in range(WANTED):
            slot, who = len(slots) + 1, (n * 7 + k * 19 + n // PEOPLE) % PEOPLE
            done = n <= comparisons * (1 - OPEN) or k < n % 3
            free_from = None if done else start + timedelta(microseconds=slot)
            slots.append((slot, project.pk, n, k, free_from, place_on_circle(n), people[who].pk if done else None))
            if not done:
                continue
            swapped, key, pk = rng.random() < 0.5, uuid.UUID(int=rng.getrandbits(128)), len(judgments) + 1
            seconds = math.exp(rng.gauss(3.4, 0.6))
            reads = who % 7 and rng.random() < 0.85
            first = rng.random() < 1 / (1 + math.exp(-2 * ahead)) if reads else (rng.random() < 0.7) != swapped
            left, right = (2 * n, 2 * n - 1) if swapped else (2 * n - 1, 2 * n)
            rating = (1 if first != swapped else 4) if rng.random() < 0.7 else (2 if first != swapped else 3)
            at = start + timedelta(days=DAYS * n / comparisons)
            begun, changed = at - timedelta(seconds=seconds), pk % 100 == 0
            reservations.append((key, project.pk, slot, people[who].pk, swapped, begun, begun, 0.0, start))
            judgments.append(
                (pk, n, people[who].pk, slot, key, left, right, rating, left if rating < 3 else right,
                 guideline.pk, begun, seconds, 0.8 * seconds, 1 + changed, at, at if changed else None)
            )  # fmt: skip
            if changed:
                versions.append((pk, 1, Verdict(3, overall=(None, None), flags=(0, 0)).as_json(), at))
    with filling(project):
        insert(Prompt, ["id", "project_id", "messages", "digest", "created_at"], (
            (n, project.pk, [{"role": "user", "content": f"Question {n}"}], text_digest(n), start)
            for n in numbers))  # fmt: skip
        insert(Response, ["id", "prompt_id", "text", "digest", "generator", "leaks",
                          "leak_state", "leaks_checked_at", "created_at"], (
            (2 * n - 1 + side, n, f"{n} {side} {' '.join(lorem[: lengths[n, side]])}", text_digest([n, side]),
             f"model-{(n + side) % 4}", *leaks(2 * n + side), now, start)
            for n in numbers for side in (0, 1)))  # fmt: skip
        insert(Comparison, ["id", "project_id", "prompt_id", "kind", "first_id", "second_id", "judgments_wanted",
                            "created_at"], (
            (n, project.pk, n, "pair", 2 * n - 1, 2 * n, WANTED, start) for n in numbers))  # fmt: skip
        insert(Slot, ["id", "project_id", "comparison_id", "number", "free_from", "spread", "holder_id"], slots)
        insert(Reservation, ["key", "project_id", "slot_id", "annotator_id", "swapped", "reserved_at", "shown_at",
                             "queued_rank", "queued_at"], reservations)  # fmt: skip
        insert(Judgment, ["id", "comparison_id", "annotator_id", "slot_id", "reservation_id", "left_id", "right_id",
                          "rating", "winner_id", "guideline_id", "shown_at", "seconds", "active_seconds", "version",
                          "created_at", "changed_at"], judgments)  # fmt: skip
        insert(JudgmentVersion, ["judgment_id", "number", "said", "given_at"], versions)
    fill_around(project, people, comparisons)


def fill_around(project, people: list, comparisons: int) -> None:
    """Gold questions, written texts and runs with their models: what other pages list."""
    from django.utils import timezone

    from annotate.models import (
        Demonstration,
        GoldQuestion,
        ModelVersion,
        Prompt,
        Run,
        RunEvent,
        Slot,
        Writing,
    )
    from benchmarks.rows import insert

    now = timezone.now()
    questions = range(1, comparisons, max(1, comparisons // GOLD))
    insert(GoldQuestion, ["comparison_id", "expected_id", "created_at"], ((n, 2 * n, now) for n in questions))
    Slot.objects.filter(comparison__in=questions).update(apart=True)
    prompts = range(1, min(WRITTEN, comparisons) + 1)
    Prompt.objects.filter(pk__lte=2 * WRITTEN).update(in_pool=True)
    keys = {n: uuid.UUID(int=n) for n in prompts}
    who = {n: people[n % PEOPLE].pk for n in prompts}
    insert(Writing, ["key", "project_id", "prompt_id", "writer_id", "place", "lease_until", "started_at", "ended_at"],
           ((keys[n], project.pk, n, who[n], 0, now, now, now) for n in prompts))  # fmt: skip
    insert(Demonstration, ["prompt_id", "completion", "digest", "author_id", "writing_id", "state", "created_at"],
           ((n, f"An ideal answer, the {n}th.", "", who[n], keys[n], "submitted", now) for n in prompts))  # fmt: skip
    runs = Run.objects.bulk_create(
        Run(project=project, recipe="sft", state="succeeded", finished_at=now) for _ in range(RUNS)
    )
    insert(RunEvent, ["run_id", "number", "kind", "step", "data"],
           ((runs[-1].pk, n, "metrics", n, {"values": {"loss": 1 / (n + 1)}}) for n in range(5_000)))  # fmt: skip
    ModelVersion.objects.bulk_create(
        ModelVersion(project=project, kind="policy", name=f"policy {run.pk}", run=run) for run in runs
    )


def report_seconds() -> float:
    """The quality report with its lists, as the task computes it."""
    from annotate.models import Project
    from annotate.quality.report import compute

    begin = time.perf_counter()
    compute(Project.objects.get(slug=SLUG).pk)
    return time.perf_counter() - begin


def places(comparisons: int) -> dict:
    """What stands in the addresses: the last judgment of p3 and so on."""
    from annotate.models import Demonstration, Judgment, Run

    return {
        "judgment": Judgment.objects.filter(annotator__username="p3").latest("pk").pk,
        "demonstration": Demonstration.objects.latest("pk").pk,
        "run": Run.objects.latest("pk").pk,
        "comparison": comparisons // 2,
        "last_page": comparisons // PER_PAGE,
        "last_row": comparisons - 2 * GOLD,
    }


def visit(username: str, known: dict) -> Iterator[tuple[str, float, int]]:
    """(address, median seconds, queries) of what this person opens."""
    from django.db import connection
    from django.test import Client
    from django.test.utils import CaptureQueriesContext

    from annotate.models import User

    client = Client()
    client.force_login(User.objects.get(username=username))
    for path in PATHS[username]:
        address, times = path.format(**known), []
        with CaptureQueriesContext(connection) as queries:
            answer = client.get(address)
        asked = len(queries)
        assert answer.status_code == 200, (address, answer.status_code)
        while len(times) < OPENED and sum(times) < PATIENCE:
            begin = time.perf_counter()
            client.get(address)
            times.append(time.perf_counter() - begin)
        yield path, statistics.median(times), asked


def measure(comparisons: int, is_filled: bool) -> None:
    """In a process of its own, for Django connects to one database. The last line printed is JSON."""
    import logging

    import django

    django.setup()
    logging.disable(logging.ERROR)
    from django.conf import settings

    settings.ALLOWED_HOSTS = ["testserver"]
    if not is_filled:
        begin = time.perf_counter()
        fill(comparisons)
        print(f"{comparisons:,} comparisons filled in {time.perf_counter() - begin:.0f} s; ", end="", flush=True)
        print(f"the quality report takes {report_seconds():.0f} s", flush=True)
    known = places(comparisons)
    print(json.dumps([(who, *row) for who in PATHS for row in visit(who, known)]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--comparisons", type=int, default=100_000)
    parser.add_argument("--database", nargs="+", choices=["sqlite", "postgresql"], default=["sqlite", "postgresql"])
    parser.add_argument("--keep", default="", metavar="DIR", help="keeps the databases there and uses them again")
    parser.add_argument("--one", choices=["fresh", "filled"], help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.one:
        return measure(given.comparisons, given.one == "filled")
    from tests.servers import postgres

    found = {}
    for database in given.database:
        with contextlib.ExitStack() as stack:
            folder = Path(given.keep or stack.enter_context(tempfile.TemporaryDirectory(prefix="prefloop-pages-")))
            folder = folder / f"{database}-{given.comparisons}"
            is_filled = folder.exists()
            folder.mkdir(parents=True, exist_ok=True)
            folder.parent.chmod(0o755)
            env = os.environ | {"PREFLOOP_VAR": str(folder / "var"), "DEBUG": "0", "SECRET_KEY": secrets.token_hex()}
            env.pop("DATABASE_URL", None)
            if database == "postgresql":
                env["DATABASE_URL"] = stack.enter_context(postgres(folder))
            subprocess.run([sys.executable, "manage.py", "migrate", "--verbosity", "0"], cwd=ROOT, env=env, check=True)
            state = "filled" if is_filled else "fresh"
            command = [sys.executable, __file__, "--one", state, "--comparisons", str(given.comparisons)]
            said = subprocess.run(command, cwd=ROOT, env=env, check=True, stdout=subprocess.PIPE, text=True).stdout
            *told, rows = said.splitlines()
            print(f"{database}: {' '.join(told)}", flush=True)
            for who, path, seconds, queries in json.loads(rows):
                found.setdefault((who, path), []).append((1000 * seconds, queries))
    print(f"\n| who | address | {' | '.join(f'{name} ms' for name in given.database)} | queries |")
    print("| --- | --- |" + " ---: |" * (len(given.database) + 1))
    for (who, path), rows in sorted(found.items(), key=lambda item: -max(ms for ms, _ in item[1])):
        figures = [f"{ms:.0f}" for ms, _ in rows] + [str(max(queries for _, queries in rows))]
        print(f"| {who} | `{path}` | {' | '.join(figures)} |")


if __name__ == "__main__":
    main()
