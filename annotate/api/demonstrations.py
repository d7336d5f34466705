"""Demonstrations: the next prompt to answer, its draft and its answer, and the review."""

from django.shortcuts import get_object_or_404
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers
from rest_framework.response import Response

from annotate import access
from annotate.api.serializers import MessageSerializer
from annotate.api.views import ProjectView
from annotate.demonstrations import review, writing
from annotate.demonstrations.selectors import written_by, written_in
from annotate.errors import UserError
from annotate.models import Demonstration

WRITING = {"GET": access.Role.ANNOTATOR, "POST": access.Role.ANNOTATOR, "PUT": access.Role.ANNOTATOR}
REVIEWING = {"GET": access.REVIEWER, "POST": access.REVIEWER}


class WritingSerializer(serializers.Serializer):
    key = serializers.UUIDField(help_text="Goes back with the draft, the skip or the answer.")
    prompt = MessageSerializer(many=True, allow_null=True, source="prompt.messages", default=None)
    own_prompt = serializers.CharField(help_text="The draft of a prompt of one's own.")
    draft = serializers.CharField()
    lease_until = serializers.DateTimeField()


class NextWritingSerializer(serializers.Serializer):
    writing = WritingSerializer(allow_null=True)


class DraftRequest(serializers.Serializer):
    completion = serializers.CharField(allow_blank=True, trim_whitespace=False)
    prompt = serializers.CharField(required=False, allow_blank=True, trim_whitespace=False)
    active_seconds = serializers.FloatField(required=False, allow_null=True, help_text="Counted by the client.")


class DraftSerializer(serializers.Serializer):
    held = serializers.BooleanField(help_text="False: somebody else answers the prompt by now. Yours counts as well.")


class AnswerRequest(serializers.Serializer):
    key = serializers.UUIDField()
    completion = serializers.CharField(trim_whitespace=False)
    prompt = serializers.CharField(required=False, help_text="The text of a prompt of one's own.")
    active_seconds = serializers.FloatField(required=False, allow_null=True, help_text="Counted by the client.")


class DemonstrationSerializer(serializers.Serializer):
    id = serializers.IntegerField()
    prompt = MessageSerializer(many=True, source="prompt.messages")
    completion = serializers.CharField()
    state = serializers.ChoiceField(choices=Demonstration.State.choices)
    revision = serializers.IntegerField(help_text="Goes back with a decision or a new text.")
    comment = serializers.CharField(allow_null=True, default=None, help_text="What the last review said.")
    active_seconds = serializers.SerializerMethodField(help_text="Time spent on writing it; null: not counted.")
    created_at = serializers.DateTimeField()

    def get_active_seconds(self, demonstration) -> float | None:
        work = demonstration.writing
        return work.active_seconds if work and work.active_at else None


class AcceptRequest(serializers.Serializer):
    revision = serializers.IntegerField()
    text = serializers.CharField(required=False, trim_whitespace=False, help_text="Accepted in place of the author's.")
    comment = serializers.CharField(required=False, allow_blank=True)


class ReturnRequest(serializers.Serializer):
    revision = serializers.IntegerField()
    comment = serializers.CharField(allow_blank=True)


class RevisionRequest(serializers.Serializer):
    revision = serializers.IntegerField()
    completion = serializers.CharField(trim_whitespace=False)


class NextWriting(ProjectView):
    roles = WRITING

    @extend_schema(request=None, responses=NextWritingSerializer)
    def post(self, request, slug):
        """The prompt that you answer, or the next one, reserved for you; null where none is left for you now."""
        found = writing.next_writing(self.project, request.user)
        return Response({"writing": WritingSerializer(found).data if found else None})


class OwnWriting(ProjectView):
    roles = WRITING

    @extend_schema(request=None, responses=NextWritingSerializer)
    def post(self, request, slug):
        """A prompt of your own: the one you are at, or a new one."""
        return Response({"writing": WritingSerializer(writing.own_writing(self.project, request.user)).data})


class Draft(ProjectView):
    roles = WRITING

    @extend_schema(request=DraftRequest, responses=DraftSerializer)
    def put(self, request, slug, key):
        """Keeps what is written so far; the prompt stays reserved."""
        given = self.read(DraftRequest)
        held = writing.save_draft(
            request.user, key, given["completion"], own_prompt=given.get("prompt", ""),
            active_seconds=given.get("active_seconds"),
        )  # fmt: skip
        return Response({"held": held})


class SkipWriting(ProjectView):
    roles = WRITING

    @extend_schema(request=None, responses={204: None})
    def post(self, request, slug, key):
        """Somebody else may answer this prompt; you do not get it again."""
        writing.skip_writing(request.user, key)
        return Response(status=204)


class Demonstrations(ProjectView):
    roles = {"GET": access.REVIEWER, "POST": access.Role.ANNOTATOR}

    @extend_schema(
        parameters=[OpenApiParameter("state", str, enum=Demonstration.State.values)],
        responses=DemonstrationSerializer(many=True),
    )
    def get(self, request, slug):
        """What people wrote, by state (submitted)."""
        state = request.query_params.get("state", Demonstration.State.SUBMITTED)
        if state not in Demonstration.State.values:
            raise UserError(f"“state” is one of {', '.join(Demonstration.State.values)}.", field="state")
        return self.paged(written_in(self.project, state), DemonstrationSerializer)

    @extend_schema(request=AnswerRequest, responses=DemonstrationSerializer)
    def post(self, request, slug):
        """Submits an answer for review. The same key twice is stored once."""
        given = self.read(AnswerRequest)
        made = writing.submit_demonstration(
            request.user, given["key"], given["completion"], prompt=given.get("prompt", ""),
            active_seconds=given.get("active_seconds"),
        )  # fmt: skip
        return Response(DemonstrationSerializer(made).data)


class MyDemonstrations(ProjectView):
    roles = WRITING

    @extend_schema(responses=DemonstrationSerializer(many=True))
    def get(self, request, slug):
        """What you wrote, newest first."""
        return self.paged(written_by(self.project, request.user), DemonstrationSerializer)


class Accept(ProjectView):
    roles = REVIEWING

    @extend_schema(request=AcceptRequest, responses=DemonstrationSerializer)
    def post(self, request, slug, pk):
        """From now on it is trained on. A revision that is not the present one answers 400."""
        demonstration = get_object_or_404(Demonstration, pk=pk, prompt__project=self.project)
        decided = review.accept(demonstration, request.user, **self.read(AcceptRequest))
        return Response(DemonstrationSerializer(decided).data)


class Return(ProjectView):
    roles = REVIEWING

    @extend_schema(request=ReturnRequest, responses=DemonstrationSerializer)
    def post(self, request, slug, pk):
        """Its author sees the comment and may revise it."""
        demonstration = get_object_or_404(Demonstration, pk=pk, prompt__project=self.project)
        decided = review.return_to_author(demonstration, request.user, **self.read(ReturnRequest))
        return Response(DemonstrationSerializer(decided).data)


class Revise(ProjectView):
    roles = WRITING

    @extend_schema(request=RevisionRequest, responses=DemonstrationSerializer)
    def post(self, request, slug, pk):
        """A new text for one of yours that was returned."""
        demonstration = get_object_or_404(written_by(self.project, request.user), pk=pk)
        revised = review.revise(demonstration, request.user, **self.read(RevisionRequest))
        return Response(DemonstrationSerializer(revised).data)
