"""What a worker makes of a large project, and what is downloaded of it: seconds and peak memory, each in a process.

Fills a project as benchmarks/pages.py does, then makes snapshots of it and the figures of its quality page, and streams
the snapshots as both formats. `first ms` is when the first block of a download is there; `before` is what the process
holds when it begins. Prints Markdown.

    python benchmarks/snapshots.py [--judgments 2000 300000] [--database sqlite postgresql]
"""

import argparse
import contextlib
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "annotate.settings")

# In the mean, without those that answer gold questions: see pages.fill.
JUDGMENTS_A_COMPARISON = 2.24
STEPS = ["preferences", "judgments", "report", "preferences.jsonl", "preferences.parquet", "judgments.jsonl",
         "judgments.parquet"]  # fmt: skip


def peak_mib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def make(step: str) -> dict:
    from annotate.datasets.exporting import export
    from annotate.datasets.snapshots import create_snapshot, snapshots_of
    from annotate.models import Project
    from annotate.quality.report import compute
    from benchmarks.pages import SLUG

    project = Project.objects.get(slug=SLUG)
    kind, _, format = step.partition(".")
    before, begin, first = peak_mib(), time.perf_counter(), None
    if format:
        size = 0
        for block in export(snapshots_of(project).get(kind=kind), format)[2]:
            first = first or time.perf_counter() - begin
            size += len(block)
        rows, size = snapshots_of(project).get(kind=kind).rows, size / 2**20
    elif kind == "report":
        rows, size = compute(project.pk), None
    else:
        rows, size = create_snapshot(project, kind).rows, None
    return {"seconds": time.perf_counter() - begin, "first": first, "before": before, "peak": peak_mib(), "rows": rows,
            "size": size}  # fmt: skip


def one(argument: str) -> None:
    """In a process of its own: `fill:COMPARISONS`, or a step, whose figures it prints."""
    import django

    django.setup()
    if argument.startswith("fill:"):
        from benchmarks.pages import fill

        fill(int(argument.removeprefix("fill:")))
    else:
        print(json.dumps(make(argument)))


def measure(judgments: int, env: dict) -> None:
    run = [sys.executable, __file__, "--one"]
    subprocess.run([sys.executable, "manage.py", "migrate", "--verbosity", "0"], cwd=ROOT, env=env, check=True)
    subprocess.run([*run, f"fill:{judgments / JUDGMENTS_A_COMPARISON:.0f}"], cwd=ROOT, env=env, check=True)
    print("| what | rows | seconds | first ms | MiB sent | before MiB | peak MiB |")
    print("| --- | ---: | ---: | ---: | ---: | ---: | ---: |")
    for step in STEPS:
        done = subprocess.run([*run, step], cwd=ROOT, env=env, check=True, stdout=subprocess.PIPE, text=True)
        got = json.loads(done.stdout)
        first = f"{1000 * got['first']:.0f}" if got["first"] else ""
        size = f"{got['size']:.0f}" if got["size"] else ""
        rows = f"{got['rows']:,}" if got["rows"] else ""
        memory = f"{got['before']:.0f} | {got['peak']:.0f}"
        print(f"| {step} | {rows} | {got['seconds']:.1f} | {first} | {size} | {memory} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--judgments", type=int, nargs="+", default=[2_000, 300_000])
    parser.add_argument("--database", nargs="+", choices=["sqlite", "postgresql"], default=["sqlite", "postgresql"])
    parser.add_argument("--one", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.one:
        return one(given.one)
    from tests.servers import postgres

    for database in given.database:
        for judgments in given.judgments:
            with contextlib.ExitStack() as stack:
                folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="prefloop-snapshots-")))
                folder.chmod(0o755)
                env = os.environ | {"PREFLOOP_VAR": str(folder / "var")}
                env.pop("DATABASE_URL", None)
                if database == "postgresql":
                    env["DATABASE_URL"] = stack.enter_context(postgres(folder))
                print(f"\n{database}, about {judgments:,} judgments:\n", flush=True)
                measure(judgments, env)


if __name__ == "__main__":
    main()
