"""The one Django app of the annotate wing."""

from django.apps import AppConfig
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

    counters.install(using)
