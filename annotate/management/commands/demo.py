"""`manage.py demo`: accounts and a project to try the product with. Running it again changes nothing."""

from django.conf import settings
from django.core.management.base import BaseCommand
from django.db import transaction

from annotate.demo.accounts import ACCOUNTS_FILE, ensure_accounts
from annotate.demo.project import STARTER_NAME, ensure_project


class Command(BaseCommand):
    help = "Load the demo accounts and the demo project, where they are not there yet."

    def handle(self, **options):
        with transaction.atomic():  # two at the same time: one waits for the other, and finds all there
            project = ensure_project(ensure_accounts())
        self.stdout.write(f"The demo project is “{project.name}”.")
        self.stdout.write(f"Accounts and passwords: {settings.VAR_DIR / ACCOUNTS_FILE}")
        if not project.models.filter(name=STARTER_NAME).exists():
            self.stdout.write(
                "There is no starter model yet: python -m training starter --output "
                f"{settings.MODELS_DIR / STARTER_NAME}, then this command again."
            )
