"""The one Django app of the annotate wing."""

from django.apps import AppConfig
from django.db import connections
from django.db.migrations.executor import MigrationExecutor
from django.db.models.signals import post_migrate, pre_migrate


class AnnotateConfig(AppConfig):
    name = "annotate"
    verbose_name = "Prefloop"

    def ready(self):
        pre_migrate.connect(_before_migrate, sender=self)
        post_migrate.connect(_after_migrate, sender=self)


def _before_migrate(using: str, **_):
    from annotate.labeling import counters

    counters.remove(using)


def _after_migrate(using: str, **_):
    from annotate.labeling import counters

    # Back at an earlier version the tables are that version's, and so are the triggers that its own `migrate` makes.
    executor = MigrationExecutor(connections[using])
    if not executor.migration_plan(executor.loader.graph.leaf_nodes("annotate")):
        counters.install(using)
