"""Live chat: conversations, turns, choices, and for admins who answers. Nothing an annotator reads names a model."""

from django.shortcuts import get_object_or_404
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.response import Response

from annotate import access
from annotate.api.views import ProjectView
from annotate.chat import chats, endpoints
from annotate.chat.selectors import TurnView, chats_of, turns_of
from annotate.models import ChatEndpoint, ChatReply, ChatTurn

CHATTING = {"GET": access.Role.ANNOTATOR, "POST": access.Role.ANNOTATOR, "PUT": access.Role.ANNOTATOR}
ADMINS = {"GET": access.Role.ADMIN, "POST": access.Role.ADMIN}


class ChatKey(serializers.Serializer):
    key = serializers.UUIDField(required=False, help_text="Made by you, so that sending it twice makes one.")


class ReplySerializer(serializers.Serializer):
    side = serializers.SerializerMethodField()
    state = serializers.ChoiceField(choices=ChatReply.State.choices)
    text = serializers.CharField()
    error = serializers.CharField()

    def get_side(self, reply) -> str:
        return "AB"[reply.side]


class TurnSerializer(serializers.Serializer):
    key = serializers.UUIDField(source="turn.key")
    number = serializers.IntegerField(source="turn.number")
    text = serializers.CharField(source="turn.text")
    replies = ReplySerializer(many=True)
    chosen = serializers.SerializerMethodField(help_text="A or B; null before the choice.")

    def get_chosen(self, view) -> str | None:
        return "AB"[view.turn.chosen.side] if view.turn.chosen else None


class ChatSerializer(serializers.Serializer):
    key = serializers.UUIDField()
    draft = serializers.CharField()
    created_at = serializers.DateTimeField()
    ended_at = serializers.DateTimeField(allow_null=True)


class ChatDetail(ChatSerializer):
    turns = TurnSerializer(many=True)


class SayRequest(serializers.Serializer):
    turn = serializers.UUIDField(help_text="The turn's key, made by you, so that sending it twice says it once.")
    text = serializers.CharField(trim_whitespace=False)


class ChatDraft(serializers.Serializer):
    text = serializers.CharField(allow_blank=True, trim_whitespace=False)


class EndedRequest(serializers.Serializer):
    ended = serializers.BooleanField()


class ChoiceRequest(serializers.Serializer):
    rating = serializers.IntegerField(
        required=False, allow_null=True, help_text="As of a pair; not needed where both replies are the same text."
    )
    helpful = serializers.IntegerField(required=False, allow_null=True, help_text="1 A, 0 equal, -1 B.")
    truthful = serializers.IntegerField(required=False, allow_null=True)
    harmless = serializers.IntegerField(required=False, allow_null=True)
    note = serializers.CharField(required=False, allow_blank=True)
    active_seconds = serializers.FloatField(required=False, allow_null=True, help_text="Counted by the client.")


class EndpointSerializer(serializers.ModelSerializer):
    class Meta:
        model = ChatEndpoint
        fields = (
            "id", "name", "base_url", "model_name", "key_variable", "model", "temperature", "max_tokens", "enabled",
            "served", "problem", "answered_at",
        )  # fmt: skip
        read_only_fields = ("model", "enabled", "served", "problem", "answered_at")


class NewEndpoint(serializers.Serializer):
    name = serializers.CharField(max_length=120)
    base_url = serializers.CharField(max_length=500)
    model_name = serializers.CharField(max_length=200)
    key_variable = serializers.CharField(required=False, allow_blank=True)
    temperature = serializers.FloatField(required=False)
    max_tokens = serializers.IntegerField(required=False)


class EnabledRequest(serializers.Serializer):
    enabled = serializers.BooleanField()


class _ChatView(ProjectView):
    """Of one's own conversations: those of others are not found."""

    roles = CHATTING

    def chat(self, request, key):
        return get_object_or_404(self.project.chats, key=key, annotator=request.user)

    def turn(self, request, key) -> TurnView:
        turn = get_object_or_404(
            ChatTurn.objects.select_related("chosen"), key=key, chat__project=self.project, chat__annotator=request.user
        )
        return TurnView(turn, list(turn.replies.order_by("side")))


class Chats(_ChatView):
    @extend_schema(responses=ChatSerializer(many=True))
    def get(self, request, slug):
        """Your conversations, the last one first."""
        return self.paged(chats_of(self.project, request.user), ChatSerializer)

    @extend_schema(request=ChatKey, responses={201: ChatSerializer})
    def post(self, request, slug):
        """A new conversation."""
        chat = chats.start_chat(self.project, request.user, **self.read(ChatKey))
        return Response(ChatSerializer(chat).data, status=201)


class Chat(_ChatView):
    @extend_schema(responses=ChatDetail)
    def get(self, request, slug, key):
        """The conversation, turn by turn."""
        chat = self.chat(request, key)
        return Response(ChatSerializer(chat).data | {"turns": TurnSerializer(turns_of(chat), many=True).data})


class Draft(_ChatView):
    @extend_schema(request=ChatDraft, responses={204: None})
    def put(self, request, slug, key):
        """Keeps the turn that is being written."""
        chats.save_draft(request.user, self.chat(request, key).key, self.read(ChatDraft)["text"])
        return Response(status=204)


class Ended(_ChatView):
    @extend_schema(request=EndedRequest, responses=ChatSerializer)
    def post(self, request, slug, key):
        """Puts the conversation aside, or takes it up again."""
        chat = chats.set_ended(request.user, self.chat(request, key).key, self.read(EndedRequest)["ended"])
        return Response(ChatSerializer(chat).data)


class Turns(_ChatView):
    @extend_schema(request=SayRequest, responses={201: TurnSerializer})
    def post(self, request, slug, key):
        """Your next turn; both replies are fetched by a worker meanwhile."""
        given = self.read(SayRequest)
        turn = chats.say(request.user, self.chat(request, key).key, given["turn"], given["text"])
        return Response(TurnSerializer(self.turn(request, turn.key)).data, status=201)


class Turn(_ChatView):
    @extend_schema(responses=TurnSerializer)
    def get(self, request, slug, key):
        """The two replies as far as they have come."""
        return Response(TurnSerializer(self.turn(request, key)).data)


class Choice(_ChatView):
    @extend_schema(request=ChoiceRequest, responses=TurnSerializer)
    def post(self, request, slug, key):
        """Stores the judgment; the better reply is the conversation's next turn. Sent twice it is made once."""
        chats.choose(request.user, self.turn(request, key).turn.key, **self.read(ChoiceRequest))
        return Response(TurnSerializer(self.turn(request, key)).data)


class Retry(_ChatView):
    @extend_schema(request=None, responses=TurnSerializer)
    def post(self, request, slug, key):
        """Asks again for a reply that failed."""
        chats.retry(request.user, self.turn(request, key).turn.key)
        return Response(TurnSerializer(self.turn(request, key)).data)


class Endpoints(ProjectView):
    roles = ADMINS

    @extend_schema(responses=EndpointSerializer(many=True))
    def get(self, request, slug):
        """Who answers in chats."""
        return self.paged(self.project.chat_endpoints.all(), EndpointSerializer)

    @extend_schema(request=NewEndpoint, responses={201: EndpointSerializer})
    def post(self, request, slug):
        """Any OpenAI-compatible server. Its key stays in the environment of the worker."""
        endpoint = endpoints.add_endpoint(self.project, request.user, **self.read(NewEndpoint))
        return Response(EndpointSerializer(endpoint).data, status=201)


class Endpoint(ProjectView):
    roles = ADMINS | {"DELETE": access.Role.ADMIN}

    @extend_schema(
        operation_id="projects_chat_endpoints_enable", request=EnabledRequest, responses=EndpointSerializer
    )
    def post(self, request, slug, pk):
        """Whether new turns go to it."""
        endpoint = get_object_or_404(self.project.chat_endpoints, pk=pk)
        endpoints.set_enabled(endpoint, request.user, self.read(EnabledRequest)["enabled"])
        endpoint.refresh_from_db()
        return Response(EndpointSerializer(endpoint).data)

    @extend_schema(responses={204: None})
    def delete(self, request, slug, pk):
        """Its replies stay."""
        endpoints.remove_endpoint(get_object_or_404(self.project.chat_endpoints, pk=pk), request.user)
        return Response(status=204)


class Serve(ProjectView):
    roles = ADMINS | {"DELETE": access.Role.ADMIN}

    @extend_schema(request=None, responses=EndpointSerializer)
    def post(self, request, slug, pk):
        """A worker starts this policy and keeps it in memory for the chat."""
        endpoint = endpoints.serve_model(get_object_or_404(self.project.models, pk=pk), request.user)
        return Response(EndpointSerializer(endpoint).data)

    @extend_schema(responses={204: None})
    def delete(self, request, slug, pk):
        """The worker ends it."""
        model = get_object_or_404(self.project.models, pk=pk)
        endpoint = get_object_or_404(self.project.chat_endpoints, model=model)
        endpoints.stop_serving(endpoint, request.user)
        return Response(status=204)
