"""Conversations: what a person says, the choice between two replies, and what becomes of both.

Every choice is an ordinary comparison with an ordinary judgment, in the group of its conversation, so it is exported
and trained on like all others. Nothing here waits for a model: `say` queues replies, and the worker fetches them.
"""

import random
import uuid
from datetime import datetime

from django.db import transaction
from django.utils import timezone
from django.utils.translation import gettext as _

from annotate.errors import UserError
from annotate.labeling.attention import within
from annotate.labeling.comparisons import NewPair, NewResponse, add_comparisons, add_prompts, add_responses
from annotate.labeling.locks import lock_annotator
from annotate.labeling.standing import require_open
from annotate.labeling.verdict import read_verdict
from annotate.models import Assessment, Chat, ChatReply, ChatTurn, GuidelineVersion, Judgment, Project
from annotate.models.judgment import Rating

LONGEST_TURN = 20_000
MOST_TURNS = 100
State = ChatReply.State


@transaction.atomic
def start_chat(project: Project, user, *, key: str | uuid.UUID | None = None, now: datetime | None = None) -> Chat:
    """A new conversation; the same key gives the same one. Raises UserError where the project has no chat."""
    lock_annotator(user, project)
    _require_open(project, user)
    key = _uuid(key) if key else uuid.uuid4()
    chat, _made = Chat.objects.get_or_create(
        key=key, annotator=user, project=project, defaults={"created_at": now or timezone.now()}
    )
    return chat


def chat_of(key: str | uuid.UUID, user) -> Chat:
    """This person's conversation. Raises UserError where they have none with this key."""
    try:
        return Chat.objects.select_related("project").get(key=_uuid(key), annotator=user)
    except Chat.DoesNotExist:
        raise UserError(_("This conversation is not yours, or is not there any more."), field="key") from None


def save_draft(user, key: str | uuid.UUID, text: str) -> None:
    """Keeps the turn that is being written."""
    chat = chat_of(key, user)
    Chat.objects.filter(pk=chat.pk).update(draft=text.replace("\0", "")[:LONGEST_TURN])


def set_ended(user, key: str | uuid.UUID, ended: bool, *, now: datetime | None = None) -> Chat:
    """Puts a conversation aside, or takes it up again. It can be read either way."""
    chat = chat_of(key, user)
    chat.ended_at = (now or timezone.now()) if ended else None
    chat.save(update_fields=["ended_at"])
    return chat


@transaction.atomic
def say(
    user,
    key: str | uuid.UUID,
    turn_key: str | uuid.UUID,
    text: str,
    *,
    now: datetime | None = None,
    rng: random.Random | None = None,
) -> ChatTurn:
    """The person's next turn, and a place for two replies on random sides. The same `turn_key` gives the same turn.

    The replies are of two of the project's endpoints, drawn at random, or both of its only one. Raises UserError for an
    empty or endless text, before the last choice is made, and where nobody can answer.
    """
    now, rng = now or timezone.now(), rng or random.SystemRandom()
    turn_key, chat = _uuid(turn_key), chat_of(key, user)
    lock_annotator(user, chat.project)
    if earlier := ChatTurn.objects.filter(key=turn_key, chat=chat).first():
        return earlier
    _require_open(chat.project, user)
    text = text.replace("\r\n", "\n").replace("\0", "").strip()
    if not text:
        raise UserError(_("Please write something."), field="text")
    if len(text) > LONGEST_TURN:
        raise UserError(_("A turn has at most 20,000 characters."), field="text")
    last = chat.turns.order_by("-number").first()
    if last and last.chosen_id is None:
        raise UserError(_("Please choose one of the two answers first."), field="text")
    number = last.number + 1 if last else 1
    if number > MOST_TURNS:
        raise UserError(_("This conversation is long enough. Please start a new one."), field="text")
    endpoints = list(answering(chat.project))
    if not endpoints:
        raise UserError(_("No model answers in this project at the moment. An admin can connect one."))
    sides = rng.sample(endpoints, 2) if len(endpoints) > 1 else endpoints * 2
    turn = ChatTurn.objects.create(key=turn_key, chat=chat, number=number, text=text, created_at=now)
    ChatReply.objects.bulk_create(
        ChatReply(turn=turn, side=side, endpoint=endpoint, seed=rng.getrandbits(31), queued_at=now)
        for side, endpoint in enumerate(sides)
    )
    Chat.objects.filter(pk=chat.pk).update(draft="", ended_at=None)
    return turn


def answering(project: Project):
    """The endpoints that new turns go to."""
    usable = project.chat_endpoints.filter(enabled=True)
    return usable.filter(model=None) | usable.filter(served=True)


@transaction.atomic
def retry(
    user, turn_key: str | uuid.UUID, *, now: datetime | None = None, rng: random.Random | None = None
) -> ChatTurn:
    """Asks again for the replies that failed, with another seed; what has come stays."""
    now, rng = now or timezone.now(), rng or random.SystemRandom()
    turn = _turn_of(turn_key, user)
    lock_annotator(user, turn.chat.project)
    for reply in turn.replies.filter(state=State.FAILED):
        turn.replies.filter(pk=reply.pk, state=State.FAILED).update(
            state=State.QUEUED, error="", text="", attempt=0, finished_at=None, queued_at=now, seed=rng.getrandbits(31)
        )
    return turn


@transaction.atomic
def choose(
    user,
    turn_key: str | uuid.UUID,
    rating=None,
    *,
    renderer: int | None = None,
    active_seconds: float | str | None = None,
    now: datetime | None = None,
    **said,
) -> ChatTurn:
    """Stores the judgment on the two replies; the better one is the conversation's next turn.

    `rating` and `said` are those of the labeling page (`labeling.verdict.read_verdict`), `active_seconds` how long the
    page was worked with since both replies were there. Without a winner ("equal") the conversation goes on with A,
    whose side was drawn at random. Two replies of the same text need no rating: there is nothing to compare. The choice
    is made once, however often it is sent. Raises UserError.
    """
    now = now or timezone.now()
    turn = _turn_of(turn_key, user)
    lock_annotator(user, turn.chat.project)
    turn.refresh_from_db(fields=["chosen", "judgment"])
    if turn.chosen_id is not None:
        return turn
    replies = list(turn.replies.order_by("side"))
    if any(reply.state != State.DONE for reply in replies):
        raise UserError(_("Please wait until both answers are there."), field="rating")
    if replies[0].text == replies[1].text:
        turn.chosen = replies[0]
    else:
        said = {"rating": rating, **said}
        turn.judgment, turn.chosen = _judge(turn, replies, user, now, said, renderer, active_seconds)
    turn.save(update_fields=["judgment", "chosen"])
    return turn


def messages_before(turn: ChatTurn) -> list[dict]:
    """The chat that both replies answer: every earlier turn with the reply that was chosen, and this one."""
    messages = []
    for earlier in turn.chat.turns.filter(number__lte=turn.number).select_related("chosen").order_by("number"):
        messages.append({"role": "user", "content": earlier.text})
        if earlier.number < turn.number:
            messages.append({"role": "assistant", "content": earlier.chosen.text})
    return messages


def _judge(
    turn: ChatTurn, replies: list[ChatReply], user, now: datetime, said: dict, renderer: int | None, active
) -> tuple[Judgment, ChatReply]:
    project = turn.chat.project
    (prompt,) = add_prompts(project, [messages_before(turn)]).rows
    shown = add_responses(
        project, [NewResponse(prompt, reply.text, reply.generator, reply.model) for reply in replies]
    ).rows
    verdict = read_verdict(project, shown, **said)
    (comparison,) = add_comparisons(project, [NewPair(*shown, turn.chat.group)], wanted=0).rows
    # The same words in two conversations of one person: a person judges a comparison once, and the first one stands.
    judgment = Judgment.objects.filter(comparison=comparison, annotator=user).first()
    if judgment is None:
        shown_at = max(reply.finished_at for reply in replies)
        judgment = Judgment.objects.create(
            comparison=comparison, annotator=user, shown_at=shown_at, created_at=now, renderer=renderer,
            seconds=max(0.0, (now - shown_at).total_seconds()), active_seconds=within(active, shown_at, now),
            guideline=GuidelineVersion.objects.filter(project=project, created_at__lte=shown_at).first(),
            **verdict.columns(shown),
        )  # fmt: skip
        Assessment.objects.bulk_create(verdict.assessments(judgment, shown))
    b_wins = verdict.rating in {Rating.B_BETTER, Rating.B_SLIGHTLY_BETTER}
    return judgment, replies[1 if b_wins else 0]


def _turn_of(turn_key: str | uuid.UUID, user) -> ChatTurn:
    try:
        return ChatTurn.objects.select_related("chat__project").get(key=_uuid(turn_key), chat__annotator=user)
    except ChatTurn.DoesNotExist:
        raise UserError(_("This turn is not yours, or is not there any more."), field="key") from None


def _require_open(project: Project, user) -> None:
    if not project.chat or project.archived:
        raise UserError(_("There is no chat in this project at the moment."))
    require_open(project, user)


def _uuid(key: str | uuid.UUID) -> uuid.UUID:
    try:
        return uuid.UUID(str(key))
    except ValueError:
        raise UserError(_("This page is out of date. Please load it again."), field="key") from None
