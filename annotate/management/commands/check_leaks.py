"""`manage.py check_leaks [PROJECT…]`: looks for identity leaks in responses stored before they were looked for."""

from django.core.management.base import BaseCommand, CommandError

from annotate.labeling.holding import check_stored
from annotate.models import Project, Response


class Command(BaseCommand):
    help = "Looks for phrases that tell who wrote a response, in responses that were never checked. May be run again."

    def add_arguments(self, parser):
        parser.add_argument("projects", nargs="*", metavar="PROJECT", help="slugs; all projects without any")
        parser.add_argument(
            "--again", action="store_true", help="check all responses, also those that were checked before"
        )

    def handle(self, *, projects, again, verbosity, **options):
        found = Project.objects.filter(slug__in=projects) if projects else Project.objects.all()
        if missing := set(projects) - {project.slug for project in found}:
            raise CommandError(f"There is no project “{sorted(missing)[0]}”.")
        for project in found:
            if again:
                Response.objects.filter(prompt__project=project).update(leaks_checked_at=None)
            leaks = check_stored(project)
            if leaks or verbosity > 1:
                self.stdout.write(f"{project.slug}: {leaks} response{'' if leaks == 1 else 's'} to be looked at.")
