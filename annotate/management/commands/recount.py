"""`manage.py recount [PROJECT…]`: compares the queue's running totals with its rows, and puts them right."""

from django.core.management.base import BaseCommand, CommandError

from annotate.labeling.counters import forget_looked_through, recount
from annotate.models import Project


class Command(BaseCommand):
    help = "Counts slots, judgments and skips, and puts the running totals right where they differ."

    def add_arguments(self, parser):
        parser.add_argument("projects", nargs="*", metavar="PROJECT", help="slugs; all projects without any")

    def handle(self, *, projects, **options):
        found = Project.objects.filter(slug__in=projects) if projects else Project.objects.all()
        if missing := set(projects) - {project.slug for project in found}:
            raise CommandError(f"There is no project “{sorted(missing)[0]}”.")
        for project in found:
            for sentence in recount(project):
                self.stdout.write(sentence)
            forget_looked_through(project)
        self.stdout.write(f"{len(found)} project{'' if len(found) == 1 else 's'} counted.")
