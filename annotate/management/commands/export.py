"""`manage.py export PROJECT --kind … --out FILE`: a snapshot of a project's data as a file."""

import os
from pathlib import Path

from django.core.management.base import BaseCommand, CommandError

from annotate.datasets.exporting import FORMATS, export
from annotate.datasets.lines import VOTES
from annotate.datasets.snapshots import create_snapshot
from annotate.errors import UserError
from annotate.models import Dataset, Project


class Command(BaseCommand):
    help = "Freeze a project's data as a dataset and write it to a file."

    def add_arguments(self, parser):
        parser.add_argument("project", help="the project's slug, as in its address")
        parser.add_argument("--kind", required=True, choices=Dataset.Kind.values)
        parser.add_argument("--format", choices=FORMATS, default="jsonl")
        parser.add_argument("--votes", choices=VOTES, default="majority", help="how votes become preferences")
        parser.add_argument("--ties", action="store_true", help="preferences: ties as rows of strength “tie”")
        parser.add_argument("--edited", action="store_true", help="demonstrations: answers improved while judging too")
        parser.add_argument(
            "--voters", default="people", metavar="WHO",
            help="whose judgments count: people (default), judges, everybody, or judge:NAME for one model's",
        )  # fmt: skip
        parser.add_argument("--out", required=True, type=Path)

    def handle(self, *, project, kind, format, votes, ties, edited, voters, out, **options):
        found = Project.objects.filter(slug=project).first()
        if found is None:
            raise CommandError(f"There is no project “{project}”.")
        try:
            dataset = create_snapshot(found, kind, votes=votes, ties=ties, edited=edited, voters=voters)
            _, _, blocks = export(dataset, format)
            _write(out, blocks)
        except UserError as error:
            raise CommandError(error.message) from error
        except OSError as error:
            raise CommandError(f"{out} cannot be written: {error.strerror}.") from error
        self.stdout.write(f"{dataset.rows:,} rows in {out} (SHA-256 of the JSON lines: {dataset.sha256})")
        for name, value in dataset.facts.items():
            self.stdout.write(f"{name:15} {value}")


def _write(out: Path, blocks) -> None:
    """Aside, then renamed: the file is there whole or not at all."""
    aside = out.with_name(f".{out.name}.part")
    try:
        with open(aside, "wb") as file:
            for block in blocks:
                file.write(block)
        os.replace(aside, out)
    finally:
        aside.unlink(missing_ok=True)
