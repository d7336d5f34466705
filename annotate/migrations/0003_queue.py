"""Fills what the queue keeps: each comparison's place on the circle, where people have come, and the running totals.

The triggers that keep the totals from now on are made after every `migrate` (annotate/labeling/counters.py).
"""

from django.db import migrations
from django.db.models import Count, ExpressionWrapper, F, FloatField, Q
from django.db.models.functions import Floor

GOLDEN_RATIO = 0.6180339887498949


def fill(apps, schema_editor):
    model = lambda name: apps.get_model("annotate", name)  # noqa: E731
    turned = ExpressionWrapper(F("comparison_id") * GOLDEN_RATIO, output_field=FloatField())
    model("Slot").objects.update(spread=ExpressionWrapper(turned - Floor(turned), output_field=FloatField()))
    model("Reservation").objects.filter(queued_at__isnull=False).update(queued_rank=0.0)

    wanted = model("Slot").objects.filter(apart=False).order_by().values_list("project").annotate(Count("pk"))
    model("ProjectTally").objects.bulk_create(
        model("ProjectTally")(project_id=project, wanted=count) for project, count in wanted
    )
    people = {}
    for name, rows, of_project, of_user in (
        ("judged", model("Judgment").objects.all(), "comparison__project", "annotator"),
        ("skipped", model("Skip").objects.all(), "comparison__project", "annotator"),
        ("filled", model("Slot").objects.filter(Q(free_from__isnull=True, apart=False)), "project", "holder"),
    ):
        for project, user, count in rows.order_by().values_list(of_project, of_user).annotate(Count("pk")):
            people.setdefault((project, user), {})[name] = count
    model("PersonTally").objects.bulk_create(
        model("PersonTally")(project_id=project, user_id=user, **counts) for (project, user), counts in people.items()
    )


class Migration(migrations.Migration):
    dependencies = [("annotate", "0002_labeling")]
    operations = [migrations.RunPython(fill, migrations.RunPython.noop)]
