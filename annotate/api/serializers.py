"""What goes over the wire. Nothing here names a response's generator: annotators read these too."""

from rest_framework import serializers

from annotate.datasets.importing import FORMATS as IMPORT_FORMATS
from annotate.datasets.lines import VOTES
from annotate.labeling.listing import ALL, DIFFERENT, OPEN
from annotate.models import (
    ChatEndpoint,
    Comparison,
    Dataset,
    GuidelineVersion,
    Membership,
    ModelVersion,
    Project,
    Response,
    Round,
    Run,
    Skip,
)
from annotate.models.judgment import Flag
from annotate.models.project import QueuePolicy


class ProjectSerializer(serializers.ModelSerializer):
    class Meta:
        model = Project
        fields = (
            "slug", "name", "description", "judgments_wanted", "lease_seconds", "queue_policy", "random_share",
            "gold_share", "archived", "policy", "reward_model",
            "created_at",
        )  # fmt: skip


class NewProject(serializers.Serializer):
    name = serializers.CharField(max_length=120)
    slug = serializers.SlugField(max_length=60, required=False)
    description = serializers.CharField(required=False, allow_blank=True)
    judgments_wanted = serializers.IntegerField(required=False)
    lease_seconds = serializers.IntegerField(required=False)
    guidelines = serializers.CharField(required=False, help_text="Markdown; without it the default text.")


class AskedFor(serializers.Serializer):
    """What the labeling page asks besides the four-way rating."""

    allow_equal = serializers.BooleanField(required=False, help_text="Ties; in rankings, shared ranks.")
    allow_both_bad = serializers.BooleanField(required=False)
    ask_criteria = serializers.BooleanField(required=False, help_text="Of pairs; rankings have no such verdicts.")
    ask_overall = serializers.BooleanField(required=False, help_text="Quality of each response from 1 to 7.")
    ask_flags = serializers.BooleanField(required=False, help_text="What is wrong with each response.")
    ask_confidence = serializers.BooleanField(required=False)
    ask_edited = serializers.BooleanField(required=False, help_text="The better answer, improved.")
    require_note = serializers.BooleanField(required=False)
    edit_last = serializers.IntegerField(required=False, min_value=0, max_value=100)


class ProjectSettings(AskedFor):
    name = serializers.CharField(max_length=120, required=False)
    description = serializers.CharField(required=False, allow_blank=True)
    judgments_wanted = serializers.IntegerField(required=False, help_text="Of comparisons added from now on.")
    lease_seconds = serializers.IntegerField(required=False)
    queue_policy = serializers.ChoiceField(QueuePolicy.choices, required=False, help_text="What comes next.")
    random_share = serializers.FloatField(required=False, help_text="0 to 1: drawn uniformly at random instead.")
    gold_share = serializers.FloatField(required=False, help_text="0 to 0.5: gold questions among what people get.")
    archived = serializers.BooleanField(required=False)
    writing = serializers.BooleanField(required=False, help_text="People write demonstrations.")
    demonstrations_wanted = serializers.IntegerField(required=False, help_text="Per prompt of the pool.")
    own_prompts = serializers.BooleanField(required=False)
    chat = serializers.BooleanField(required=False, help_text="People chat with two models and choose.")
    must_acknowledge_guidelines = serializers.BooleanField(required=False)
    qualification_pass = serializers.FloatField(required=False, allow_null=True, help_text="null: there is no test.")
    qualification_questions = serializers.IntegerField(required=False)
    pause_below_gold = serializers.FloatField(required=False, allow_null=True, help_text="null: nobody is paused.")
    pause_below_seconds = serializers.FloatField(required=False, allow_null=True)
    pause_after = serializers.IntegerField(required=False, help_text="Judgments before a threshold counts.")
    show_gold_accuracy = serializers.BooleanField(required=False)
    rate_per_hour = serializers.DecimalField(required=False, allow_null=True, max_digits=8, decimal_places=2)
    currency = serializers.CharField(required=False, allow_blank=True, max_length=8)


class GuidelinesSerializer(serializers.ModelSerializer):
    minor = serializers.BooleanField(required=False, default=False, help_text="A typo: nobody has to acknowledge it.")

    class Meta:
        model = GuidelineVersion
        fields = ("number", "text", "minor", "created_at")
        read_only_fields = ("number", "created_at")


class MemberSerializer(serializers.ModelSerializer):
    username = serializers.CharField(source="user.username")

    class Meta:
        model = Membership
        fields = ("username", "role")


class ReserveRequest(serializers.Serializer):
    exclude = serializers.ListField(
        child=serializers.UUIDField(), required=False, help_text="Keys on screen: reserves the pair behind them."
    )


class MessageSerializer(serializers.Serializer):
    role = serializers.CharField()
    content = serializers.CharField()


class PairSerializer(serializers.Serializer):
    key = serializers.UUIDField(help_text="Goes back with the judgment, the skip or the renewal.")
    prompt = MessageSerializer(many=True, source="comparison.prompt.messages")
    kind = serializers.ChoiceField(choices=Comparison.Kind.choices, source="comparison.kind")
    a = serializers.SerializerMethodField(help_text="Of a pair; null where four or more are ranked.")
    b = serializers.SerializerMethodField()
    responses = serializers.SerializerMethodField(help_text="All of them in the order shown: A, B, …")
    lease_until = serializers.DateTimeField(source="slot.free_from")

    def get_a(self, reservation) -> str | None:
        return None if reservation.comparison.is_ranking else reservation.left.text

    def get_b(self, reservation) -> str | None:
        return None if reservation.comparison.is_ranking else reservation.right.text

    def get_responses(self, reservation) -> list[str]:
        return [response.text for response in reservation.shown]


class QueueStateSerializer(serializers.Serializer):
    judged = serializers.IntegerField()
    skipped = serializers.IntegerField()
    total_wanted = serializers.IntegerField()
    total_done = serializers.IntegerField()


class NextSerializer(serializers.Serializer):
    pair = PairSerializer(allow_null=True)
    state = QueueStateSerializer()
    reserved_by_others = serializers.IntegerField(
        help_text="Where `pair` is null: comparisons that others hold and that may come back to you. Ask again."
    )


class VerdictRequest(serializers.Serializer):
    """What is said; lists have an entry a response, in the order shown."""

    rating = serializers.IntegerField(
        required=False, allow_null=True,
        help_text="Of a pair: 1 A is better, 2 A slightly, 3 B slightly, 4 B is better; 0 equal and 5 both bad where "
        "the project allows them.",
    )  # fmt: skip
    ranks = serializers.ListField(
        child=serializers.IntegerField(), required=False, help_text="Of a ranking: 1 is the best; equals share a rank."
    )
    helpful = serializers.IntegerField(required=False, allow_null=True, help_text="1 A, 0 equal, -1 B.")
    truthful = serializers.IntegerField(required=False, allow_null=True)
    harmless = serializers.IntegerField(required=False, allow_null=True)
    overall = serializers.ListField(
        child=serializers.IntegerField(allow_null=True), required=False, help_text="From 1 to 7, or null."
    )
    flags = serializers.ListField(
        child=serializers.ListField(child=serializers.ChoiceField(choices=[flag.name.lower() for flag in Flag])),
        required=False, help_text="What is wrong with each response.",
    )  # fmt: skip
    confidence = serializers.IntegerField(required=False, allow_null=True, help_text="1 a guess, 2 fairly, 3 certain.")
    note = serializers.CharField(required=False, allow_blank=True)
    edited = serializers.CharField(required=False, allow_blank=True, help_text="The better answer, improved.")

    def validate_flags(self, flags: list[list[str]]) -> list[int]:
        return [sum({Flag[name.upper()].value for name in names}) for names in flags]


class JudgmentRequest(VerdictRequest):
    key = serializers.UUIDField()
    active_seconds = serializers.FloatField(required=False, allow_null=True, help_text="Counted by the client.")
    open_seconds = serializers.FloatField(
        required=False, allow_null=True, help_text="For how long the client has shown it, where that was ahead."
    )


class JudgmentSerializer(serializers.Serializer):
    id = serializers.IntegerField()
    rating = serializers.IntegerField(allow_null=True)
    seconds = serializers.FloatField()
    version = serializers.IntegerField(help_text="From 1; each change is a new one.")
    created_at = serializers.DateTimeField()
    changed_at = serializers.DateTimeField(allow_null=True)
    extra = serializers.SerializerMethodField(help_text="Came too late for a slot; it is kept all the same.")

    def get_extra(self, judgment) -> bool:
        return judgment.slot_id is None


class SkipRequest(serializers.Serializer):
    key = serializers.UUIDField()
    reason = serializers.ChoiceField(choices=Skip.Reason.choices)
    note = serializers.CharField(required=False, allow_blank=True)


class SkipSerializer(serializers.ModelSerializer):
    class Meta:
        model = Skip
        fields = ("id", "reason", "note", "created_at")


class RenewalSerializer(serializers.Serializer):
    held = serializers.BooleanField(help_text="False: somebody else has the pair now. It may still be submitted.")


class ComparisonFilter(serializers.Serializer):
    shown = serializers.ChoiceField(choices=[ALL, OPEN, DIFFERENT], default=ALL)
    containing = serializers.CharField(required=False, allow_blank=True, help_text="In the prompt.")


class ComparisonSerializer(serializers.ModelSerializer):
    """For researchers and admins; it has no texts, and names nobody."""

    prompt = MessageSerializer(many=True, source="prompt.messages")
    judged = serializers.IntegerField(help_text="People's judgments so far.")

    class Meta:
        model = Comparison
        fields = ("id", "kind", "prompt", "group", "round", "judgments_wanted", "judged", "uncertainty", "created_at")


class WantedRequest(serializers.Serializer):
    wanted = serializers.IntegerField(help_text="Judgments by different people, 0 to 50.")


class LeakSerializer(serializers.ModelSerializer):
    """For admins."""

    state = serializers.CharField(source="leak_state")

    class Meta:
        model = Response
        fields = ("id", "text", "generator", "leaks", "state")


class LeakDecision(serializers.Serializer):
    state = serializers.ChoiceField(choices=[Response.LeakState.SERVED, Response.LeakState.LEFT_OUT])


class HoldRequest(serializers.Serializer):
    hold = serializers.BooleanField()


class FoundSerializer(serializers.Serializer):
    found = serializers.IntegerField(help_text="Responses in which something was found.")
    unchecked = serializers.IntegerField(help_text="Responses that are still to be looked through.")


class ImportRequest(serializers.Serializer):
    file = serializers.FileField()
    kind = serializers.ChoiceField(choices=Dataset.Kind.choices)
    format = serializers.ChoiceField(choices=list(IMPORT_FORMATS), default="native")
    rankings = serializers.BooleanField(default=False, help_text="4 to 9 responses to a prompt are one ranking.")


class ImportReportSerializer(serializers.Serializer):
    rows = serializers.IntegerField()
    prompts = serializers.IntegerField()
    references_changed = serializers.IntegerField()
    responses = serializers.IntegerField()
    comparisons = serializers.IntegerField()
    judgments = serializers.IntegerField()
    demonstrations = serializers.IntegerField()
    annotators = serializers.IntegerField()
    duplicates = serializers.IntegerField()
    contradictions = serializers.IntegerField()
    skipped = serializers.IntegerField()
    skipped_because = serializers.DictField(child=serializers.IntegerField())


class DatasetSerializer(serializers.ModelSerializer):
    class Meta:
        model = Dataset
        fields = ("id", "kind", "state", "number", "rows", "sha256", "facts", "note", "error", "created_at")


class NewDataset(serializers.Serializer):
    kind = serializers.ChoiceField(choices=Dataset.Kind.choices)
    votes = serializers.ChoiceField(choices=list(VOTES), default="majority")
    ties = serializers.BooleanField(default=False, help_text="Preferences: ties as rows of strength “tie”.")
    edited = serializers.BooleanField(default=False, help_text="Demonstrations: improved answers as well.")
    voters = serializers.CharField(
        default="people", help_text="Whose judgments count: people, judges, everybody, or judge:NAME."
    )
    note = serializers.CharField(max_length=200, required=False, allow_blank=True)



class ModelSerializer(serializers.ModelSerializer):
    class Meta:
        model = ModelVersion
        fields = ("id", "kind", "name", "source", "parent", "run", "metrics", "created_at")
        read_only_fields = ("parent", "run", "metrics")


class OfProject(serializers.PrimaryKeyRelatedField):
    """An id out of the project in the address; one of another project is as unknown as none."""

    def get_queryset(self):
        return super().get_queryset().filter(project=self.context["project"])


class NewRun(serializers.Serializer):
    recipe = serializers.CharField(help_text="sft, reward, rejection, ppo, dpo, …")
    params = serializers.DictField(required=False, help_text="The recipe's settings.")
    dataset = OfProject(queryset=Dataset.objects.all(), required=False, allow_null=True)
    base_model = OfProject(queryset=ModelVersion.objects.all(), required=False, allow_null=True)
    reward_model = OfProject(queryset=ModelVersion.objects.all(), required=False, allow_null=True)
    endpoint = OfProject(queryset=ChatEndpoint.objects.all(), required=False, allow_null=True)
    without_reward_model = serializers.BooleanField(default=False, help_text="The rewards in params are all.")
    title = serializers.CharField(max_length=120, required=False, allow_blank=True)


class RunSerializer(serializers.ModelSerializer):
    class Meta:
        model = Run
        fields = (
            "id", "recipe", "title", "params", "dataset", "base_model", "reward_model", "state", "attempt", "phase",
            "step", "total_steps", "error", "created_at", "started_at", "finished_at",
        )  # fmt: skip


class RunViewSerializer(serializers.Serializer):
    words = serializers.CharField()
    percent = serializers.FloatField()
    seconds_left = serializers.FloatField(allow_null=True)
    seconds_spent = serializers.FloatField()
    series = serializers.DictField(help_text="Per metric its steps and values.")
    restarted = serializers.BooleanField()
    samples = serializers.ListField(child=serializers.DictField())
    messages = serializers.ListField(child=serializers.DictField())
    metrics = serializers.DictField()
    log_tail = serializers.CharField()
    last = serializers.IntegerField(help_text="The next request's `after`.")
    finished = serializers.BooleanField()


class RunDetail(serializers.Serializer):
    run = RunSerializer()
    view = RunViewSerializer()


class RoundSerializer(serializers.ModelSerializer):
    class Meta:
        model = Round
        fields = ("id", "number", "policy", "run", "responses_per_prompt", "rankings", "created_at", "opened_at")


class NewRound(serializers.Serializer):
    policy = OfProject(queryset=ModelVersion.objects.all(), required=False, allow_null=True)
    prompts = serializers.IntegerField(default=100)
    responses_per_prompt = serializers.IntegerField(default=2)
    rankings = serializers.BooleanField(default=False, help_text="Rank 4 to 9 answers at once instead of their pairs.")
    params = serializers.DictField(required=False, help_text="Settings of the recipe generate, such as temperature.")
