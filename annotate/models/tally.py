"""Running totals, so that no page counts rows. The database's triggers keep them (annotate/labeling/counters.py)."""

from django.conf import settings
from django.db import models


class ProjectTally(models.Model):
    """How many judgments a project wants: its slots without those that stand apart."""

    project = models.OneToOneField("annotate.Project", primary_key=True, on_delete=models.CASCADE, related_name="tally")
    wanted = models.BigIntegerField(default=0)

    def __str__(self):
        return f"{self.project}: {self.wanted} wanted"


class PersonTally(models.Model):
    """How far a person has come in a project; it stays when they leave, for what they judged does too.

    `judged` and `skipped` count comparisons, gold questions too: a total that stands still would give them away.
    `filled` are slots they used up, without those apart. The sum of it over a project's people is what the project has
    done: kept by person, so that no two of them write one row.
    """

    project = models.ForeignKey("annotate.Project", on_delete=models.CASCADE, related_name="tallies", db_index=False)
    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="tallies")
    judged = models.BigIntegerField(default=0)
    skipped = models.BigIntegerField(default=0)
    filled = models.BigIntegerField(default=0)
    # Of what was free at this time only the slots of `left_over` are for this person, for what they have judged stays
    # judged. Null: there are too many of them for a list.
    looked_through_at = models.DateTimeField(null=True)
    left_over = models.JSONField(null=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["project", "user"], name="tally_one_a_person")]

    def __str__(self):
        return f"{self.user} in {self.project}: {self.judged} judged"


class DayTally(models.Model):
    """What a person judged in a project on one day (UTC), and the `seconds` that it took. Imported votes have no day.

    A judgment takes its active time; where the page measured none, the time that the pair was shown, at most
    MOST_SECONDS of it: who went to lunch did not judge.
    """

    MOST_SECONDS = 900

    project = models.ForeignKey("annotate.Project", on_delete=models.CASCADE, related_name="days", db_index=False)
    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="+")
    day = models.DateField()
    judgments = models.BigIntegerField(default=0)
    seconds = models.FloatField(default=0.0)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["project", "user", "day"], name="tally_one_a_day")]

    def __str__(self):
        return f"{self.user} in {self.project} on {self.day}: {self.judgments} judged"
