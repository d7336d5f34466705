"""A project: what is judged, by whom, under which guidelines, and which models it has promoted."""

from django.conf import settings
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _


class QueuePolicy(models.TextChoices):
    """The order of the queue (annotate/labeling/policies.py)."""

    OLDEST = "oldest", _("Oldest first")
    BREADTH = "breadth", _("Fewest judgments first")
    UNCERTAINTY = "uncertainty", _("Most uncertain first")
    ON_POLICY = "on_policy", _("Newest round first")


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
    queue_policy = models.CharField(
        max_length=12, choices=QueuePolicy.choices, default=QueuePolicy.OLDEST,
        help_text="Which comparison an annotator gets next.",
    )
    random_share = models.FloatField(
        default=0.1,
        validators=[MinValueValidator(0), MaxValueValidator(1)],
        help_text="Share of the comparisons that are drawn uniformly at random instead.",
    )
    gold_share = models.FloatField(
        default=0,
        validators=[MinValueValidator(0), MaxValueValidator(0.5)],
        help_text="Share of gold questions among what an annotator gets.",
    )
    # What the labeling page asks besides the four-way rating.
    allow_equal = models.BooleanField(default=False, help_text="“Equal” may be chosen; in rankings, shared ranks.")
    allow_both_bad = models.BooleanField(default=False)
    ask_criteria = models.BooleanField(default=True)
    ask_overall = models.BooleanField(default=False)
    ask_flags = models.BooleanField(default=False)
    ask_confidence = models.BooleanField(default=False)
    ask_edited = models.BooleanField(default=False)
    require_note = models.BooleanField(default=False)
    edit_last = models.PositiveSmallIntegerField(
        default=50, help_text="How many of their last judgments people may change while the project is open."
    )
    hold_leaks = models.BooleanField(
        default=False, help_text="Responses that tell who wrote them are compared only after an admin looked at them."
    )
    policy = models.ForeignKey(
        "annotate.ModelVersion", null=True, blank=True, on_delete=models.SET_NULL, related_name="+",
        help_text="The promoted policy: the default base of the next training and the next round.",
    )
    reward_model = models.ForeignKey(
        "annotate.ModelVersion", null=True, blank=True, on_delete=models.SET_NULL, related_name="+"
    )
    archived = models.BooleanField(default=False)
    must_acknowledge_guidelines = models.BooleanField(
        default=True, help_text="Who annotates has to acknowledge changed guidelines before their next comparison."
    )
    must_read = models.ForeignKey(
        "annotate.GuidelineVersion", null=True, editable=False, on_delete=models.SET_NULL, related_name="+",
        help_text="The newest change of the guidelines that was more than a correction; null before the first change.",
    )
    qualification_pass = models.FloatField(
        null=True, blank=True, help_text="Share of the qualification test that must match; null: there is no test."
    )
    qualification_questions = models.PositiveSmallIntegerField(
        default=10, validators=[MinValueValidator(1)], help_text="How many questions one attempt at the test has."
    )
    pause_below_gold = models.FloatField(
        null=True, blank=True, help_text="Share of matching gold answers below which a person is paused; null: never."
    )
    pause_below_seconds = models.FloatField(
        null=True, blank=True, help_text="Median seconds a judgment below which a person is paused; null: never."
    )
    pause_after = models.PositiveSmallIntegerField(
        default=20, help_text="How many judgments of a person are there before the thresholds count."
    )
    show_gold_accuracy = models.BooleanField(
        default=False, help_text="Annotators see on their own page how many gold questions they matched."
    )
    rate_per_hour = models.DecimalField(
        null=True, blank=True, max_digits=8, decimal_places=2, help_text="What an hour of judging costs; null: unknown."
    )
    currency = models.CharField(max_length=8, blank=True, default="USD")
    writing = models.BooleanField(default=False, help_text="People write demonstrations: ideal answers to prompts.")
    demonstrations_wanted = models.PositiveSmallIntegerField(
        default=1,
        validators=[MinValueValidator(1), MaxValueValidator(20)],
        help_text="How many different people write an ideal answer to each prompt of the pool.",
    )
    own_prompts = models.BooleanField(
        default=False, help_text="Writers may also make up prompts of their own (Ouyang et al. 2022, appendix A)."
    )
    chat = models.BooleanField(default=False, help_text="People chat with two models at once and choose.")
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["name"]
        constraints = [
            models.CheckConstraint(
                condition=Q(demonstrations_wanted__gte=1) & Q(demonstrations_wanted__lte=20),
                name="project_wants_1_to_20_demonstrations",
            ),
            *[
                models.CheckConstraint(
                    condition=Q(**{f"{name}__isnull": True}) | Q(**{f"{name}__gt": 0, f"{name}__lte": 1}),
                    name=f"project_{name}_is_a_share",
                )
                for name in ("qualification_pass", "pause_below_gold")
            ],
            models.CheckConstraint(
                condition=Q(pause_below_seconds__isnull=True) | Q(pause_below_seconds__gt=0),
                name="project_pause_below_some_seconds",
            ),
            models.CheckConstraint(
                condition=Q(rate_per_hour__isnull=True) | Q(rate_per_hour__gte=0), name="project_rate_not_negative"
            ),
            models.CheckConstraint(
                condition=Q(judgments_wanted__gte=1) & Q(judgments_wanted__lte=50), name="project_wants_1_to_50"
            ),
            models.CheckConstraint(condition=Q(edit_last__gte=0), name="project_edit_last_not_negative"),
            models.CheckConstraint(condition=Q(lease_seconds__gte=30), name="project_lease_at_least_30_s"),
            models.CheckConstraint(
                condition=Q(queue_policy__in=["oldest", "breadth", "uncertainty", "on_policy"]),
                name="project_queue_policy_known",
            ),
            models.CheckConstraint(
                condition=Q(random_share__gte=0) & Q(random_share__lte=1), name="project_random_share_0_to_1"
            ),
            models.CheckConstraint(
                condition=Q(gold_share__gte=0) & Q(gold_share__lte=0.5), name="project_gold_share_0_to_half"
            ),
        ]

    def __str__(self):
        return self.name


class Membership(models.Model):
    """The one role of a person in a project, and what keeps them from judging there (see labeling/standing.py)."""

    class Role(models.TextChoices):
        ANNOTATOR = "annotator", _("Annotator")
        RESEARCHER = "researcher", _("Researcher")
        ADMIN = "admin", _("Admin")

    class Pause(models.TextChoices):
        """Why nothing is handed out to a person until an admin says otherwise."""

        TEST = "test", _("Did not pass the qualification test")
        GOLD = "gold", _("Matched too few gold questions")
        HURRY = "hurry", _("Judged very fast")
        ADMIN = "admin", _("Paused by an admin")

    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="memberships")
    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="memberships")
    role = models.CharField(max_length=12, choices=Role.choices)
    reviews = models.BooleanField(
        default=False, help_text="May review demonstrations, which researchers and admins always may."
    )
    acknowledged = models.ForeignKey(
        "annotate.GuidelineVersion", null=True, on_delete=models.SET_NULL, related_name="+",
        help_text="The last changed guidelines that they said they had read.",
    )  # fmt: skip
    qualified_at = models.DateTimeField(null=True)
    paused_at = models.DateTimeField(null=True)
    pause_reason = models.CharField(max_length=12, blank=True, choices=Pause.choices)
    pause_note = models.TextField(blank=True, help_text="What the admin who paused them wrote to them.")
    counted_since = models.DateTimeField(
        null=True, help_text="Earlier answers count neither for the thresholds nor for the test: a pause was lifted."
    )

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=Q(paused_at__isnull=True, pause_reason="")
                | Q(paused_at__isnull=False, pause_reason__in=["test", "gold", "hurry", "admin"]),
                name="membership_pause_has_a_reason",
            ),
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
    minor = models.BooleanField(default=False, help_text="A correction that nobody has to acknowledge.")
    created_by = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, on_delete=models.SET_NULL, related_name="+")
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["project", "-number"]
        constraints = [
            models.UniqueConstraint(fields=["project", "number"], name="guideline_number_once_a_project"),
        ]

    def __str__(self):
        return f"{self.project} guidelines {self.number}"
