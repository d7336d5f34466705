"""How long every page and list of a large project takes, and how many queries: with 200,000 comparisons × 3 judgments.

Rows are written straight into the tables, votes of sixty people of whom a seventh guesses; the database's own triggers
keep the totals. Then an admin, a researcher and an annotator open each address twice in one process, without a network;
the quicker time counts. Prints Markdown.

    python benchmarks/pages.py [--comparisons 200000] [--database sqlite postgresql] [--all]
"""

import argparse
import contextlib
import json
import math
import os
import random
import subprocess
import sys
import tempfile
import time
import uuid
from datetime import timedelta
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "annotate.settings")

SLUG, PEOPLE, WANTED, DAYS = "big", 60, 3, 60
# The last tenth of the comparisons is still open, some of them judged once or twice.
OPEN = 0.1
WORDS = ["sunlight", "is", "made", "of", "all", "colors", "and", "air", "scatters", "the", "short", "waves"]
PAGES = ["", "people/", "label/", "label/progress/", "label/history/", "data/", "data/leaks/", "datasets/"]
PAGES += ["rounds/new/", "quality/", "quality/split/", "quality/gold/", "quality/throughput/"]
LISTS = ["members/", "standings/", "gold/", "splits/", "progress/", "progress/mine/", "datasets/"]
PATHS = ["/", *(f"/p/{SLUG}/{path}" for path in PAGES), *(f"/api/projects/{SLUG}/{path}" for path in LISTS)]


def insert(table: str, columns: list[str], rows) -> None:
    from django.db import connection

    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            with cursor.cursor.copy(f"COPY annotate_{table} ({','.join(columns)}) FROM STDIN") as copy:
                for row in rows:
                    copy.write_row(row)
        else:
            marks = ",".join("?" * len(columns))
            into = f"INSERT INTO annotate_{table} ({','.join(columns)})"
            connection.connection.executemany(f"{into} VALUES ({marks})", rows)


def fill(comparisons: int) -> None:
    """The project with its people, texts, slots, reservations and judgments; every hundredth judgment was changed."""
    from django.db import connection, transaction
    from django.utils import timezone

    from annotate.models import GuidelineVersion, Membership, User
    from annotate.models.comparison import text_digest
    from annotate.projects import start_project

    on_postgresql, rng, now = connection.vendor == "postgresql", random.Random(0), timezone.now()
    project = start_project(name="Big", slug=SLUG, judgments_wanted=WANTED)
    project.gold_share, project.rate_per_hour = 0.05, 20
    project.save()
    for role in Membership.Role.values:
        Membership.objects.create(project=project, user=User.objects.create(username=role), role=role)
    people = User.objects.bulk_create(User(username=f"p{number}") for number in range(PEOPLE))
    Membership.objects.bulk_create(Membership(project=project, user=user, role="annotator") for user in people)
    guideline = GuidelineVersion.objects.filter(project=project).first()

    def moment(value):
        return value if on_postgresql else value.replace(tzinfo=None).isoformat(sep=" ")

    start, numbers = now - timedelta(days=DAYS), range(1, comparisons + 1)
    lengths = {(n, side): rng.randint(10, 90) for n in numbers for side in (0, 1)}
    lorem = [rng.choice(WORDS) for _ in range(100)]
    slots, reservations, judgments, versions = [], [], [], []
    for n in numbers:
        ahead = rng.gauss(0, 1.2) + 0.4 * math.log2(lengths[n, 0] / lengths[n, 1])
        for k in range(WANTED):
            slot, who = len(slots) + 1, (n * 7 + k * 19 + n // PEOPLE) % PEOPLE
            done = n <= comparisons * (1 - OPEN) or k < n % 3
            slots.append((slot, project.pk, n, k + 1, None if done else moment(start), 0.0, rng.random(), False,
                          people[who].pk if done else None))  # fmt: skip
            if not done:
                continue
            swapped, key = rng.random() < 0.5, uuid.UUID(int=rng.getrandbits(128))
            seconds = math.exp(rng.gauss(3.4, 0.6))
            reads = who % 7 and rng.random() < 0.85
            first = rng.random() < 1 / (1 + math.exp(-2 * ahead)) if reads else (rng.random() < 0.7) != swapped
            left, right = (2 * n, 2 * n - 1) if swapped else (2 * n - 1, 2 * n)
            rating = (1 if first != swapped else 4) if rng.random() < 0.7 else (2 if first != swapped else 3)
            at = start + timedelta(days=DAYS * n / comparisons)
            begun = moment(at - timedelta(seconds=seconds))
            key, pk = key if on_postgresql else key.hex, len(judgments) + 1
            changed = pk % 100 == 0
            reservations.append(
                (key, project.pk, slot, people[who].pk, swapped, "", begun, begun, 0.0, moment(start), 0.0)
            )
            judgments.append(
                (pk, n, people[who].pk, slot, key, left, right, rating, left if rating < 3 else right, "", "",
                 guideline.pk, begun, seconds, 0.8 * seconds, 1 + changed, moment(at), moment(at) if changed else None)
            )  # fmt: skip
            if changed:
                versions.append((pk, 1, "{}", moment(at)))
    with transaction.atomic():
        insert("prompt", ["id", "project_id", "messages", "digest", "reference", "in_pool", "created_at"], (
            (n, project.pk, json.dumps([{"role": "user", "content": f"Question {n}"}]), text_digest(n), "{}", False,
             moment(start)) for n in numbers))  # fmt: skip
        insert("response", ["id", "prompt_id", "text", "digest", "generator", "leaks", "leak_state", "created_at"], (
            (2 * n - 1 + side, n, f"{n} {side} {' '.join(lorem[: lengths[n, side]])}", text_digest([n, side]),
             f"model-{(n + side) % 4}", "[]", "", moment(start)) for n in numbers for side in (0, 1)))  # fmt: skip
        insert("comparison", ["id", "project_id", "prompt_id", "kind", "first_id", "second_id", '"group"',
                              "judgments_wanted", "created_at"], (
            (n, project.pk, n, "pair", 2 * n - 1, 2 * n, "", WANTED, moment(start)) for n in numbers))  # fmt: skip
        insert("slot", ["id", "project_id", "comparison_id", "number", "free_from", "rank", "spread", "apart",
                        "holder_id"], slots)  # fmt: skip
        insert("reservation", ["key", "project_id", "slot_id", "annotator_id", "swapped", '"order"', "reserved_at",
                               "shown_at", "queued_rank", "queued_at", "active_seconds"], reservations)  # fmt: skip
        insert("judgment", ["id", "comparison_id", "annotator_id", "slot_id", "reservation_id", "left_id", "right_id",
                            "rating", "winner_id", "note", "edited", "guideline_id", "shown_at", "seconds",
                            "active_seconds", "version", "created_at", "changed_at"], judgments)  # fmt: skip
        insert("judgmentversion", ["judgment_id", "number", "said", "given_at"], versions)
    with connection.cursor() as cursor:
        if on_postgresql:
            for table in ("prompt", "response", "comparison", "slot", "judgment"):
                cursor.execute(
                    f"SELECT setval(pg_get_serial_sequence('annotate_{table}', 'id'), MAX(id)) FROM annotate_{table}"
                )
        cursor.execute("ANALYZE")


def report_seconds() -> float:
    """The quality report with its lists, as the task computes it."""
    from annotate.models import Project
    from annotate.quality.report import compute

    begin = time.perf_counter()
    compute(Project.objects.get(slug=SLUG).pk)
    return time.perf_counter() - begin


def visit(username: str) -> list[tuple[str, float, int]]:
    """(address, seconds, queries) of what this person may open."""
    from django.db import connection
    from django.test import Client
    from django.test.utils import CaptureQueriesContext

    from annotate.models import User

    client, rows = Client(), []
    client.force_login(User.objects.get(username=username))
    for path in PATHS:
        times = []
        for _ in range(2):
            begin = time.perf_counter()
            with CaptureQueriesContext(connection) as queries:
                answer = client.get(path)
            times.append(time.perf_counter() - begin)
        if answer.status_code == 200:
            rows.append((path, min(times), len(queries)))
    return rows


def measure(comparisons: int, everything: bool) -> None:
    """In a process of its own, for Django connects to one database."""
    import logging

    import django

    django.setup()
    logging.disable(logging.ERROR)
    from django.conf import settings

    settings.ALLOWED_HOSTS = ["testserver"]
    begin = time.perf_counter()
    fill(comparisons)
    print(f"{comparisons:,} comparisons filled in {time.perf_counter() - begin:.0f} s; ", end="", flush=True)
    print(f"the quality report takes {report_seconds():.0f} s\n")
    print("| who | address | ms | queries |\n| --- | --- | ---: | ---: |")
    rows = [(who, *row) for who in ("admin", "researcher", "p3") for row in visit(who)]
    shown = rows if everything else sorted(rows, key=lambda row: -row[2])[:12]
    for who, path, seconds, queries in shown:
        print(f"| {who} | `{path}` | {1000 * seconds:.0f} | {queries} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--comparisons", type=int, default=200_000)
    parser.add_argument("--database", nargs="+", choices=["sqlite", "postgresql"], default=["sqlite", "postgresql"])
    parser.add_argument("--all", action="store_true", help="every address, not the twelve slowest")
    parser.add_argument("--one", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.one:
        return measure(given.comparisons, given.all)
    from tests.servers import postgres

    for database in given.database:
        with contextlib.ExitStack() as stack:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="prefloop-pages-")))
            folder.chmod(0o755)
            env = os.environ | {"PREFLOOP_VAR": str(folder / "var")}
            env.pop("DATABASE_URL", None)
            if database == "postgresql":
                env["DATABASE_URL"] = stack.enter_context(postgres(folder))
            print(f"\n{database}: ", end="", flush=True)
            subprocess.run([sys.executable, "manage.py", "migrate", "--verbosity", "0"], cwd=ROOT, env=env, check=True)
            more = ["--one", "--comparisons", str(given.comparisons), *(["--all"] if given.all else [])]
            subprocess.run([sys.executable, __file__, *more], cwd=ROOT, env=env, check=True)


if __name__ == "__main__":
    main()
