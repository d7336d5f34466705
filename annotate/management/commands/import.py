"""`manage.py import PROJECT FILE --kind …`: a file's data into a project, whole or not at all."""

from django.core.management.base import BaseCommand, CommandError
from django.db import transaction

from annotate.datasets.importing import FORMATS, import_file
from annotate.errors import UserError
from annotate.models import Project
from annotate.projects import start_project


class Command(BaseCommand):
    help = "Import prompts, comparisons, preferences, demonstrations or judgments (.jsonl, .jsonl.gz, .json, .parquet)."

    def add_arguments(self, parser):
        parser.add_argument("project", help="the project's slug, as in its address")
        parser.add_argument("file")
        parser.add_argument("--kind", help=", ".join(FORMATS["native"].KINDS))
        parser.add_argument("--format", default="native", choices=FORMATS, help="default: native")
        parser.add_argument("--rankings", action="store_true", help="4 to 9 responses to a prompt are one ranking")
        parser.add_argument("--judge", metavar="NAME", help="the model that judged: votes are by the user judge:NAME")
        parser.add_argument("--create", action="store_true", help="make the project if there is none of this name")

    @transaction.atomic
    def handle(self, *, project, file, kind, format, rankings, judge, create, **options):
        kinds = FORMATS[format].KINDS
        if kind is None:
            if len(kinds) > 2:
                raise CommandError(f"Say what the file holds: --kind {'|'.join(kinds)}")
            kind = kinds[0]
        try:
            target = self._project(project, create)
            report = import_file(target, file, kind, format=format, rankings=rankings, judge=judge)
        except UserError as error:
            raise CommandError(error.message) from error
        for name, count in vars(report).items():
            if name != "skipped_because" and (count or name == "rows"):
                self.stdout.write(f"{name:15} {count:>9,}")
        for reason, count in report.skipped_because.most_common():
            self.stdout.write(f"  {count:,} skipped: {reason}")

    def _project(self, slug: str, create: bool) -> Project:
        found = Project.objects.filter(slug=slug).first()
        if found is None and not create:
            raise CommandError(f"There is no project “{slug}”. Name one that exists, or add --create.")
        return found or start_project(name=slug, slug=slug)
