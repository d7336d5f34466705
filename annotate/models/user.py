"""People, and the annotators of imported data (inactive users without a password)."""

from django.contrib.auth.models import AbstractUser
from django.db import models


class User(AbstractUser):
    """`is_staff` may create projects and administrate all of them; everybody else has a Membership per project.

    Annotators of imported votes are users `<source>:<worker>` with `is_active` False: nobody can log in as them.
    """

    # {action id: key}, only what differs from the defaults: annotate/web/keys.py checks and reads it.
    keys = models.JSONField(default=dict, blank=True)
    # A code of settings.LANGUAGES; "" follows the browser.
    language = models.CharField(max_length=12, blank=True)
