"""A project: what is judged, by whom, under which guidelines, and which models it has promoted."""

from django.conf import settings
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.db.models import Q


class Project(models.Model):
    """One labeling effort with one loop of models."""

    slug = models.SlugField(max_length=60, unique=True)
    name = models.CharField(max_length=120)
    description = models.TextField(blank=True)
    judgments_wanted = models.PositiveSmallIntegerField(
        default=1,
        validators=[MinValueValidator(1), MaxValueValidator(50)],
        help_text="How many different people judge each comparison.",
    )
    lease_seconds = models.PositiveIntegerField(
        default=1800, help_text="How long a comparison stays reserved for the person who has it open."
    )
    policy = models.ForeignKey(
        "annotate.ModelVersion", null=True, blank=True, on_delete=models.SET_NULL, related_name="+",
        help_text="The promoted policy: the default base of the next training and the next round.",
    )
    reward_model = models.ForeignKey(
        "annotate.ModelVersion", null=True, blank=True, on_delete=models.SET_NULL, related_name="+"
    )
    archived = models.BooleanField(default=False)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["name"]
        constraints = [
            models.CheckConstraint(
                condition=Q(judgments_wanted__gte=1) & Q(judgments_wanted__lte=50), name="project_wants_1_to_50"
            ),
            models.CheckConstraint(condition=Q(lease_seconds__gte=30), name="project_lease_at_least_30_s"),
        ]

    def __str__(self):
        return self.name


class Membership(models.Model):
    """The one role of a person in a project."""

    class Role(models.TextChoices):
        ANNOTATOR = "annotator"
        RESEARCHER = "researcher"
        ADMIN = "admin"

    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="memberships")
    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="memberships")
    role = models.CharField(max_length=12, choices=Role.choices)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["project", "user"], name="membership_one_role_a_project"),
            models.CheckConstraint(
                condition=Q(role__in=["annotator", "researcher", "admin"]), name="membership_role_known"
            ),
        ]

    def __str__(self):
        return f"{self.user} is {self.role} of {self.project}"


class GuidelineVersion(models.Model):
    """One version of a project's labeling guidelines (Markdown). Never changed: an edit is a new version."""

    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="guideline_versions")
    number = models.PositiveIntegerField()
    text = models.TextField()
    created_by = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, on_delete=models.SET_NULL, related_name="+")
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["project", "-number"]
        constraints = [
            models.UniqueConstraint(fields=["project", "number"], name="guideline_number_once_a_project"),
        ]

    def __str__(self):
        return f"{self.project} guidelines {self.number}"
