"""What a person works on in a page that is open for a while: the time in which they did."""

from django.db import models


class Attended(models.Model):
    """`active_seconds` is what the page reported so far, and `active_at` when: annotate/labeling/attention.py."""

    active_seconds = models.FloatField(default=0.0)
    active_at = models.DateTimeField(null=True)

    class Meta:
        abstract = True
