"""What the chat pages show: one's conversations, one conversation turn by turn, and the project's endpoints."""

from dataclasses import dataclass

from django.db.models import Count, Max, OuterRef, Q, QuerySet, Subquery

from annotate.models import Chat, ChatReply, ChatTurn, Project

UNDER_WAY = (ChatReply.State.QUEUED, ChatReply.State.RUNNING)


@dataclass(frozen=True)
class TurnView:
    """A turn with its two replies, A first. No id, name or endpoint of a model is in it."""

    turn: ChatTurn
    replies: list[ChatReply]

    @property
    def waits(self) -> bool:
        return any(reply.state in UNDER_WAY for reply in self.replies)

    @property
    def failed(self) -> bool:
        return any(reply.state == ChatReply.State.FAILED for reply in self.replies)

    @property
    def ready(self) -> bool:
        return all(reply.state == ChatReply.State.DONE for reply in self.replies)

    @property
    def same(self) -> bool:
        return self.ready and self.replies[0].text == self.replies[1].text

    @property
    def seen(self) -> str:
        """Changes whenever there is something new to show."""
        return "-".join(f"{reply.state[0]}{reply.attempt}{len(reply.text)}" for reply in self.replies)


def chats_of(project: Project, user) -> QuerySet[Chat]:
    """One's conversations, the one last spoken in first, with its `beginning` and its number of `choices`."""
    first = ChatTurn.objects.filter(chat=OuterRef("pk"), number=1).values("text")[:1]
    return (
        Chat.objects.filter(project=project, annotator=user)
        .annotate(
            beginning=Subquery(first),
            choices=Count("turns", filter=Q(turns__judgment__isnull=False)),
            last=Max("turns__created_at"),
        )
        .order_by("-last", "-created_at")
    )


def turns_of(chat: Chat) -> list[TurnView]:
    """In two queries."""
    turns = chat.turns.select_related("chosen", "judgment").prefetch_related("replies").order_by("number")
    return [TurnView(turn, sorted(turn.replies.all(), key=lambda reply: reply.side)) for turn in turns]
