"""What each person judged a day, kept by triggers from now on (annotate/labeling/counters.py), and filled here."""

from datetime import UTC

import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models
from django.db.models import Case, Count, F, FloatField, Sum, Value, When
from django.db.models.functions import Coalesce, TruncDate

# DayTally.MOST_SECONDS, as it was here.
MOST_SECONDS = 900.0


def fill(apps, schema_editor):
    judgment, tally = apps.get_model("annotate", "Judgment"), apps.get_model("annotate", "DayTally")
    shown = Case(
        When(seconds__gt=MOST_SECONDS, then=Value(MOST_SECONDS)), default=F("seconds"), output_field=FloatField()
    )
    rows = (
        judgment.objects.filter(reservation__isnull=False).order_by()
        .annotate(day=TruncDate("created_at", tzinfo=UTC)).values_list("comparison__project", "annotator", "day")
        .annotate(n=Count("pk"), spent=Sum(Coalesce("active_seconds", shown, 0.0)))
    )  # fmt: skip
    tally.objects.bulk_create(
        (
            tally(project_id=project, user_id=user, day=day, judgments=count, seconds=spent)
            for project, user, day, count, spent in rows.iterator()
        ),
        batch_size=1000,
    )


class Migration(migrations.Migration):
    dependencies = [("annotate", "0003_queue")]
    operations = [
        migrations.CreateModel(
            name="DayTally",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("day", models.DateField()),
                ("judgments", models.BigIntegerField(default=0)),
                ("seconds", models.FloatField(default=0.0)),
                (
                    "project",
                    models.ForeignKey(
                        db_index=False, on_delete=django.db.models.deletion.CASCADE, related_name="days",
                        to="annotate.project",
                    ),
                ),
                (
                    "user",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="+", to=settings.AUTH_USER_MODEL
                    ),
                ),
            ],
            options={
                "constraints": [
                    models.UniqueConstraint(fields=["project", "user", "day"], name="tally_one_a_day"),
                ],
            },
        ),
        migrations.RunPython(fill, migrations.RunPython.noop),
    ]
