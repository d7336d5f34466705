"""People, and the annotators of imported data (inactive users without a password)."""

from django.contrib.auth.models import AbstractUser


class User(AbstractUser):
    """`is_staff` may create projects and administrate all of them; everybody else has a Membership per project.

    Annotators of imported votes are users `<source>:<worker>` with `is_active` False: nobody can log in as them.
    """
