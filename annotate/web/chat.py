"""Live chat: one's conversations, and one of them: two answers side by side while they are written, and the choice.

No request waits for a model: a page with answers under way asks for news once a second, and gets an empty answer where
there is none.
"""

import uuid

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_POST

from annotate.chat import chats
from annotate.chat.selectors import TurnView, chats_of, turns_of
from annotate.errors import UserError
from annotate.models import Chat, ChatTurn, Project
from annotate.web.common import ANNOTATOR, page, project_view
from annotate.web.rendering import RENDERER_VERSION
from annotate.web.sheet import filled_in, read_sheet, sheet_of

LIST_LENGTH = 100


@never_cache
@project_view(ANNOTATOR)
def index(request: HttpRequest, project: Project) -> HttpResponse:
    """This person's conversations; POST starts one."""
    if request.method == "POST":
        try:
            chat = chats.start_chat(project, request.user, key=request.POST.get("key"))
        except UserError as error:
            messages.error(request, error.message)
            return redirect("chat", project.slug)
        return redirect("chat_show", project.slug, chat.key)
    return page(
        request, "chat/index.html", project, chats=chats_of(project, request.user)[:LIST_LENGTH],
        answering=project.chat and chats.answering(project).exists(), key=uuid.uuid4(),
    )  # fmt: skip


@never_cache
@project_view(ANNOTATOR)
def show(request: HttpRequest, project: Project, key: uuid.UUID) -> HttpResponse:
    return _show(request, project, get_object_or_404(Chat, key=key, project=project, annotator=request.user))


@require_POST
@project_view(ANNOTATOR)
def say(request: HttpRequest, project: Project, key: uuid.UUID) -> HttpResponse:
    chat = get_object_or_404(Chat, key=key, project=project, annotator=request.user)
    try:
        chats.say(request.user, key, request.POST.get("turn", ""), request.POST.get("text", ""))
    except UserError as error:
        return _show(request, project, chat, error=error)
    return _to_newest(project, key)


@require_POST
@project_view(ANNOTATOR)
def draft(request: HttpRequest, project: Project, key: uuid.UUID) -> HttpResponse:
    """Keeps the turn that is being written; answers nothing."""
    get_object_or_404(Chat, key=key, project=project, annotator=request.user)
    chats.save_draft(request.user, key, request.POST.get("text", ""))
    return HttpResponse(status=204)


@require_POST
@project_view(ANNOTATOR)
def end(request: HttpRequest, project: Project, key: uuid.UUID) -> HttpResponse:
    """Puts the conversation aside, or with `again` takes it up."""
    get_object_or_404(Chat, key=key, project=project, annotator=request.user)
    again = "again" in request.POST
    chats.set_ended(request.user, key, not again)
    return redirect("chat_show", project.slug, key) if again else redirect("chat", project.slug)


@never_cache
@project_view(ANNOTATOR)
def live(request: HttpRequest, project: Project, turn: uuid.UUID) -> HttpResponse:
    """The newest of the two answers; 204 where `seen` is what there is."""
    row = get_object_or_404(ChatTurn, key=turn, chat__project=project, chat__annotator=request.user)
    view = TurnView(row, list(row.replies.order_by("side")))
    if request.GET.get("seen") == view.seen:
        return HttpResponse(status=204)
    context = {"project": project, "view": view, "sheet": sheet_of(project, view.replies), "oob": True}
    return render(request, "chat/turn.html", context)


@require_POST
@project_view(ANNOTATOR)
def choose(request: HttpRequest, project: Project, turn: uuid.UUID) -> HttpResponse:
    row = get_object_or_404(ChatTurn, key=turn, chat__project=project, chat__annotator=request.user)
    try:
        chats.choose(
            request.user, turn, renderer=RENDERER_VERSION, active_seconds=request.POST.get("active_seconds"),
            **read_sheet(request.POST),
        )  # fmt: skip
    except UserError as error:
        return _show(request, project, row.chat, error=error)
    return _to_newest(project, row.chat_id)


@require_POST
@project_view(ANNOTATOR)
def retry(request: HttpRequest, project: Project, turn: uuid.UUID) -> HttpResponse:
    row = get_object_or_404(ChatTurn, key=turn, chat__project=project, chat__annotator=request.user)
    chats.retry(request.user, turn)
    return _to_newest(project, row.chat_id)


def _show(request: HttpRequest, project: Project, chat: Chat, *, error=None) -> HttpResponse:
    turns = turns_of(chat)
    newest = turns[-1] if turns and turns[-1].turn.chosen_id is None else None
    given = filled_in(request.POST, count=2)
    return page(
        request, "chat/show.html", project, 422 if error else 200, chat=chat, error=error,
        turns=turns[:-1] if newest else turns, view=newest, turn_key=uuid.uuid4(),
        text=request.POST.get("text") or chat.draft,
        sheet=sheet_of(project, newest.replies, given) if newest else None,
    )  # fmt: skip


def _to_newest(project: Project, key) -> HttpResponse:
    response = redirect("chat_show", project.slug, key)
    response["Location"] += "#newest"
    return response
