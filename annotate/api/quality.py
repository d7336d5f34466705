"""What admins script around trust: gold questions, standings, split votes, progress."""

from django.http import Http404
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.response import Response

from annotate import access
from annotate.api.views import ProjectView
from annotate.errors import UserError
from annotate.labeling.admission import lift_pause, pause, qualify
from annotate.labeling.standing import standing, standing_of
from annotate.models import Adjudication, Comparison, GoldQuestion, Membership, User
from annotate.quality import adjudication
from annotate.quality.gold_questions import NewQuestion, change_question, make_questions, question_rows
from annotate.quality.progress import own_progress, project_progress
from annotate.quality.waiting import waiting_splits

ADMIN, RESEARCHER, ANNOTATOR = access.Role.ADMIN, access.Role.RESEARCHER, access.Role.ANNOTATOR


class GoldSerializer(serializers.ModelSerializer):
    answered = serializers.IntegerField(read_only=True)
    matched = serializers.IntegerField(read_only=True)
    suspect = serializers.BooleanField(read_only=True, help_text="Most people miss it.")

    class Meta:
        model = GoldQuestion
        fields = ("id", "comparison", "expected", "explanation", "purpose", "active", "answered", "matched", "suspect")


class NewGold(serializers.Serializer):
    comparison = serializers.IntegerField()
    expected = serializers.IntegerField(allow_null=True, help_text="The id of a response; null where equal is right.")
    explanation = serializers.CharField(required=False, allow_blank=True, default="")
    purpose = serializers.ChoiceField(choices=GoldQuestion.Purpose.choices, default=GoldQuestion.Purpose.GOLD)


class GoldChange(serializers.Serializer):
    active = serializers.BooleanField(required=False)
    explanation = serializers.CharField(required=False, allow_blank=True)


class StandingSerializer(serializers.Serializer):
    state = serializers.CharField(help_text="open, qualifying, paused or guidelines_changed")
    message = serializers.CharField(allow_blank=True)


class MemberStandingSerializer(serializers.Serializer):
    username = serializers.CharField()
    state = serializers.CharField()
    pause_reason = serializers.CharField(allow_blank=True)
    paused_at = serializers.DateTimeField(allow_null=True)
    qualified_at = serializers.DateTimeField(allow_null=True)


class StandingChange(serializers.Serializer):
    do = serializers.ChoiceField(choices=["pause", "lift", "qualify"])
    note = serializers.CharField(required=False, allow_blank=True, default="", help_text="What a paused person reads.")


class SplitSerializer(serializers.Serializer):
    id = serializers.IntegerField()
    prompt = serializers.JSONField(source="prompt.messages")
    votes = serializers.IntegerField()


class BlindVerdict(serializers.Serializer):
    rating = serializers.IntegerField(help_text="0 equal, 1 A is better … 4 B is better, 5 both are bad.")


class FinalVerdict(BlindVerdict):
    reason = serializers.CharField()


class AdjudicationSerializer(serializers.ModelSerializer):
    a = serializers.IntegerField(source="left.pk", help_text="Id of the response that is A.")
    b = serializers.IntegerField(source="right.pk")

    class Meta:
        model = Adjudication
        fields = ("comparison", "a", "b", "blind_rating", "rating", "winner", "reason", "begun_at", "decided_at")


class DaySerializer(serializers.Serializer):
    day = serializers.DateField()
    judgments = serializers.IntegerField()

    def to_representation(self, pair) -> dict:
        return {"day": pair[0].isoformat(), "judgments": pair[1]}


class ProjectionSerializer(serializers.Serializer):
    expected = serializers.DateField()
    earliest = serializers.DateField()
    latest = serializers.DateField(allow_null=True, help_text="null: it may never end at this pace.")
    per_day = serializers.FloatField()


class RecordSerializer(serializers.Serializer):
    matched = serializers.IntegerField()
    answered = serializers.IntegerField()


class PersonProgressSerializer(serializers.Serializer):
    name = serializers.CharField()
    judgments = serializers.IntegerField()
    recent = serializers.IntegerField(help_text="In the last 28 days.")
    seconds = serializers.FloatField(allow_null=True, help_text="The mean of these.")
    hours = serializers.FloatField()
    cost = serializers.FloatField(allow_null=True)
    gold = RecordSerializer()


class ProgressSerializer(serializers.Serializer):
    judgments = serializers.IntegerField()
    wanted = serializers.IntegerField()
    done = serializers.IntegerField()
    hours = serializers.FloatField()
    cost = serializers.FloatField(allow_null=True)
    cost_each = serializers.FloatField(allow_null=True)
    end = ProjectionSerializer(allow_null=True)
    days = DaySerializer(many=True)
    people = PersonProgressSerializer(many=True)


class OwnProgressSerializer(serializers.Serializer):
    judged = serializers.IntegerField()
    skipped = serializers.IntegerField()
    left = serializers.IntegerField()
    today = serializers.IntegerField()
    seconds = serializers.FloatField(allow_null=True)
    agreement = serializers.FloatField(allow_null=True)
    shared = serializers.IntegerField()
    gold = RecordSerializer(allow_null=True)
    days = DaySerializer(many=True)


class Gold(ProjectView):
    roles = {"GET": ADMIN, "POST": ADMIN}

    @extend_schema(responses=GoldSerializer(many=True))
    def get(self, request, slug):
        """The gold questions and how people fare with them; those that most people miss come first."""
        return self.paged(question_rows(self.project), GoldSerializer)

    @extend_schema(request=NewGold, responses={201: GoldSerializer})
    def post(self, request, slug):
        """Makes a gold question of a pair, which leaves the queue and the training data."""
        given = self.read(NewGold)
        pair = Comparison.objects.filter(pk=given["comparison"], project=self.project).first()
        if pair is None:
            raise UserError("There is no such comparison in this project.", field="comparison")
        sides = {pair.first_id: pair.first, pair.second_id: pair.second, None: None}
        if given["expected"] not in sides:
            raise UserError("What is expected is one of the pair's two responses.", field="expected")
        question = NewQuestion(pair, sides[given["expected"]], given["explanation"])
        (made,) = make_questions(self.project, [question], given["purpose"], user=request.user)
        return Response(GoldSerializer(made).data, status=201)


class GoldDetail(ProjectView):
    roles = {"PATCH": ADMIN}

    @extend_schema(request=GoldChange, responses=GoldSerializer)
    def patch(self, request, slug, pk):
        """Takes a question into or out of service, or explains it anew."""
        question = GoldQuestion.objects.filter(pk=pk, comparison__project=self.project).first()
        if question is None:
            raise Http404
        return Response(GoldSerializer(change_question(question, user=request.user, **self.read(GoldChange))).data)


class OwnStanding(ProjectView):
    roles = {"GET": ANNOTATOR}

    @extend_schema(responses=StandingSerializer)
    def get(self, request, slug):
        """Whether you may get the next pair, and why not."""
        return Response(StandingSerializer(standing(self.project, request.user)).data)


class Standings(ProjectView):
    roles = {"GET": ADMIN}

    @extend_schema(responses=MemberStandingSerializer(many=True))
    def get(self, request, slug):
        """Where every member stands."""
        members = self.project.memberships.select_related("user").order_by("user__username")
        return Response(MemberStandingSerializer([self._row(member) for member in members], many=True).data)

    def _row(self, member: Membership) -> dict:
        return {
            "username": member.user.username, "state": standing_of(self.project, member).state,
            "pause_reason": member.pause_reason, "paused_at": member.paused_at, "qualified_at": member.qualified_at,
        }  # fmt: skip


class MemberStanding(ProjectView):
    roles = {"POST": ADMIN}

    @extend_schema(request=StandingChange, responses=StandingSerializer)
    def post(self, request, slug, username):
        """Pauses a person, lifts their pause, or lets them in without the test."""
        given = self.read(StandingChange)
        person = User.objects.filter(username=username).first()
        if person is None:
            raise Http404
        if given["do"] == "pause":
            pause(self.project, person, user=request.user, note=given["note"])
        else:
            {"lift": lift_pause, "qualify": qualify}[given["do"]](self.project, person, user=request.user)
        return Response(StandingSerializer(standing(self.project, person)).data)


class Splits(ProjectView):
    roles = {"GET": RESEARCHER}

    @extend_schema(responses=SplitSerializer(many=True))
    def get(self, request, slug):
        """Pairs whose votes are in and name no better response; how they were split shows after a blind verdict.

        Of many, the thousand with the most votes when the quality report was last computed.
        """
        return self.paged(waiting_splits(self.project).pairs, SplitSerializer)


class Adjudicate(ProjectView):
    roles = {"POST": RESEARCHER, "PUT": RESEARCHER}

    @extend_schema(request=BlindVerdict, responses=AdjudicationSerializer)
    def post(self, request, slug, pk):
        """Your verdict before you see the votes."""
        begun = adjudication.begin(self._comparison(pk), request.user, **self.read(BlindVerdict))
        return Response(AdjudicationSerializer(begun).data)

    @extend_schema(request=FinalVerdict, responses=AdjudicationSerializer)
    def put(self, request, slug, pk):
        """The final verdict, with its reason."""
        decided = adjudication.decide(self._comparison(pk), request.user, **self.read(FinalVerdict))
        return Response(AdjudicationSerializer(decided).data)

    def _comparison(self, pk: int) -> Comparison:
        found = Comparison.objects.select_related("project", "first", "second").filter(pk=pk, project=self.project)
        if not found:
            raise Http404
        return found[0]


class Progress(ProjectView):
    roles = {"GET": ADMIN}

    @extend_schema(responses=ProgressSerializer)
    def get(self, request, slug):
        """Throughput, cost, projected end, and who judged."""
        return Response(ProgressSerializer(project_progress(self.project)).data)


class OwnProgress(ProjectView):
    roles = {"GET": ANNOTATOR}

    @extend_schema(responses=OwnProgressSerializer)
    def get(self, request, slug):
        """Your own progress, speed and agreement with others."""
        return Response(OwnProgressSerializer(own_progress(self.project, request.user)).data)
