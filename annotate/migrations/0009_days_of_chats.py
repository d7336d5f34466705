"""Choices in chats count among what a person judged a day, from now on by triggers, and before by this."""

from datetime import UTC

from django.db import migrations
from django.db.models import Case, Count, F, FloatField, Sum, Value, When
from django.db.models.functions import Coalesce, TruncDate

# DayTally.MOST_SECONDS, as it was here.
MOST_SECONDS = 900.0


def add(apps, schema_editor):
    judgment, tally = apps.get_model("annotate", "Judgment"), apps.get_model("annotate", "DayTally")
    shown = Case(
        When(seconds__gt=MOST_SECONDS, then=Value(MOST_SECONDS)), default=F("seconds"), output_field=FloatField()
    )
    chosen = judgment.objects.filter(reservation__isnull=True, shown_at__isnull=False, origin__isnull=True)
    rows = (
        chosen.order_by()
        .annotate(day=TruncDate("created_at", tzinfo=UTC)).values_list("comparison__project", "annotator", "day")
        .annotate(n=Count("pk"), spent=Sum(Coalesce("active_seconds", shown, 0.0)))
    )  # fmt: skip
    for project, user, day, count, spent in rows:
        kept, _created = tally.objects.get_or_create(project_id=project, user_id=user, day=day)
        tally.objects.filter(pk=kept.pk).update(judgments=F("judgments") + count, seconds=F("seconds") + spent)


class Migration(migrations.Migration):
    dependencies = [("annotate", "0008_background")]
    operations = [migrations.RunPython(add, migrations.RunPython.noop)]
