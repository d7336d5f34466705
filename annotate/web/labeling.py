"""The labeling page: one comparison at a time, judged or skipped; the next in the same response or ahead of it."""

from contextlib import suppress
from datetime import timedelta
from uuid import UUID

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST

from annotate.access import membership_of
from annotate.errors import UserError
from annotate.labeling import attention
from annotate.labeling.editing import own_judgments
from annotate.labeling.progress import QueueState, queue_state, reserved_by_others
from annotate.labeling.queue import release as give_up
from annotate.labeling.queue import renew as renew_reservation
from annotate.labeling.queue import reserve_next
from annotate.labeling.standing import OPEN, standing_of
from annotate.labeling.submit import skip_comparison, submit_judgment
from annotate.labeling.verdict import Verdict
from annotate.models import Judgment, Project, Reservation, Skip
from annotate.projects import current_guidelines
from annotate.web.common import ANNOTATOR, page, project_view
from annotate.web.conversation import conversation
from annotate.web.held_up import held_up_context
from annotate.web.rendering import RENDERER_VERSION
from annotate.web.sheet import filled_in, read_sheet, same_form, sheet_of

# An open page says at least this often that it is read, and for how long so far.
RENEW_SECONDS = 60
# How long after a judgment a page that is opened anew offers to undo it.
UNDO_FOR = timedelta(minutes=10)


@never_cache
@require_http_methods(["GET", "POST"])
@project_view(ANNOTATOR)
def label(request: HttpRequest, project: Project) -> HttpResponse:
    """GET shows the pair this person holds, or reserves the next one; POST stores a judgment."""
    if request.method == "GET":
        return _show_next(request, project)
    return answer(request, project, lambda: _judge(request), _("Saved."))


@require_POST
@project_view(ANNOTATOR)
def skip(request: HttpRequest, project: Project) -> HttpResponse:
    sent = request.POST
    return answer(
        request,
        project,
        lambda: skip_comparison(request.user, sent.get("key", ""), sent.get("reason", ""), sent.get("note", "")),
        _("Skipped."),
    )


@require_POST
@project_view(ANNOTATOR)
def ahead(request: HttpRequest, project: Project) -> HttpResponse:
    """The pair behind the one on the screen, reserved and drawn; nothing (204) where there is none to show ahead."""
    held_up = held_up_context(project, request.user, request.membership)
    on_screen = request.POST.get("key", "")
    reservation = None
    if held_up["standing"].state == OPEN and _is_key(on_screen):
        reservation = reserve_next(project, request.user, exclude=[on_screen])
    if reservation is None:
        return HttpResponse(status=204)
    guideline = current_guidelines(project)
    context = {"project": project, "guideline": guideline, **_pair(project, reservation, request.user), **held_up}
    return render(request, "label/task.html", context)


@require_POST
@project_view(ANNOTATOR)
def release(request: HttpRequest, project: Project) -> HttpResponse:
    """The page is closed before it came to the pair that was reserved ahead."""
    with suppress(UserError):
        give_up(request.POST.get("key", ""), request.user)
    return HttpResponse(status=204)


@require_POST
@project_view(ANNOTATOR)
def renew(request: HttpRequest, project: Project, key) -> HttpResponse:
    """Keeps the pair reserved while its page is looked at. A pair that is lost meanwhile may still be submitted."""
    with suppress(UserError):
        renew_reservation(key, request.user)
    attention.report(key, request.user, request.POST.get("active_seconds"))
    return HttpResponse(status=204)


def _judge(request: HttpRequest) -> Judgment:
    sent = request.POST
    return submit_judgment(
        request.user, sent.get("key", ""), renderer=RENDERER_VERSION, active_seconds=sent.get("active_seconds"),
        open_seconds=sent.get("open_seconds"), **read_sheet(sent),
    )  # fmt: skip


def answer(request: HttpRequest, project: Project, store, done: str, again: str | None = None) -> HttpResponse:
    """Runs `store`; then the next comparison in the same response, or without JavaScript a redirect to it.

    What cannot be stored leaves the page as it is; without JavaScript it is the page `again`, or if None the same pair
    with what was said about it.
    """
    here = reverse("label", args=[project.slug])
    try:
        stored = store()
    except UserError as error:
        if not request.htmx:
            messages.error(request, str(error))
            return redirect(again) if again else _show_next(request, project, status=422)
        response = render(request, "label/refused.html", {"error": error, "project": project}, status=422)
        response["HX-Retarget"] = "#form-error"
        response["HX-Reswap"] = "innerHTML"
        return response
    remark = _remark(stored)
    if request.htmx:
        undo = stored.pk if isinstance(stored, Judgment) else None
        done = "" if remark else done  # the notice about it is announced by itself
        if shown := _shown_already(request, project, done, undo, remark):
            return shown
        response = _show_next(request, project, done, undo=undo, remark=remark)
        response["HX-Replace-Url"] = here
        return response
    if remark == "stands":
        messages.warning(request, _("You had judged that pair already, and said something else: that stands."))
    elif remark == "extra":
        messages.info(request, _("Saved as an extra judgment: the pair had been given to somebody else meanwhile."))
    else:
        messages.success(request, done)
    return redirect(here)


def _remark(stored) -> str:
    """What there is to say besides "saved": an earlier judgment "stands", or this is an "extra" one."""
    if not isinstance(stored, Judgment):
        return ""
    if getattr(stored, "said_otherwise", False):
        return "stands"
    return "extra" if stored.slot_id is None and stored.version == 1 else ""


def _show_next(
    request: HttpRequest, project: Project, done: str = "", undo: int | None = None, remark: str = "",
    status: int = 200,
) -> HttpResponse:  # fmt: skip
    held_up = held_up_context(project, request.user, request.membership)
    reservation = None if held_up["standing"].is_held_up else reserve_next(project, request.user)
    state = queue_state(project, request.user)
    with_others = reserved_by_others(project, request.user) if reservation is None else 0
    guideline = current_guidelines(project)
    context = {
        "reservation": reservation,
        "state": state,
        "with_others": with_others,
        "guideline": guideline,
        "undo": undo if project.edit_last else None,
        "remark": remark,
        **held_up,
    }
    if reservation:
        refused = status != 200 and request.POST.get("key") == str(reservation.key)
        given = filled_in(request.POST, len(reservation.shown)) if refused else None
        context |= _pair(project, reservation, request.user, given)
    if not request.htmx:
        last = own_judgments(project, request.user).values("pk", "created_at", "guideline_id").first()
        if last and project.edit_last and timezone.now() - last["created_at"] < UNDO_FOR:
            context["undo"] = last["pk"]
        acknowledged = guideline and held_up["acknowledged"] == guideline.pk
        news = _guideline_news(last, guideline) if reservation and not acknowledged else {}
        return page(request, "label/page.html", project, status, **context, **news)
    context |= {
        "project": project,
        "oob": True,
        "announcement": f"{done} {_announce(bool(reservation), state, with_others)}".strip(),
        "guidelines_new": bool(reservation) and _changed_meanwhile(request, guideline),
        "guidelines_changed": True,
    }
    return render(request, "label/task.html", context)


def _shown_already(
    request: HttpRequest, project: Project, done: str, undo: int | None, remark: str
) -> HttpResponse | None:
    """The page shows the pair `ahead` since this was sent: only what stands around it is drawn. None if it shows none,
    or one that this person may not go on with: then the answer is what they get instead.
    """
    on_screen = request.POST.get("ahead", "")
    if not on_screen:
        return None
    request.membership = membership_of(request.user, project)  # the judgment may have paused them
    if standing_of(project, request.membership).state != OPEN:
        return None
    try:
        if not renew_reservation(on_screen, request.user):
            return None
    except UserError:
        return None
    state, guideline = queue_state(project, request.user), current_guidelines(project)
    context = {
        "project": project,
        "state": state,
        "guideline": guideline,
        "oob": True,
        "undo": undo if project.edit_last else None,
        "remark": remark,
        "announcement": f"{done} {_announce(True, state, 0)}".strip(),
        "guidelines_new": _changed_meanwhile(request, guideline),
        "guidelines_changed": True,
    }
    return render(request, "label/around.html", context)


def _pair(project: Project, reservation: Reservation, user, given: Verdict | None = None) -> dict:
    """What label/task.html needs to draw a pair and its form, filled in with what is `given`."""
    return {
        "reservation": reservation,
        "page_key": reservation.key,
        "sheet": (sheet := sheet_of(project, reservation.shown, given)),
        "same_form": "" if given else same_form(project, sheet, user),
        "conversation": conversation(reservation.comparison.prompt.messages),
        "reasons": Skip.Reason.choices,
        "renew_seconds": max(5, min(RENEW_SECONDS, project.lease_seconds // 3)),
        "submit_url": reverse("label", args=[project.slug]),
    }


def _changed_meanwhile(request: HttpRequest, guideline) -> bool:
    """Whether the text changed under somebody's hands: only then the panel is sent again."""
    read = request.POST.get("guideline", "")
    return bool(guideline and read and read != str(guideline.number))


def _is_key(text: str) -> bool:
    try:
        return bool(UUID(text))
    except ValueError:
        return False


def _guideline_news(last: dict | None, guideline) -> dict:
    """Whether the panel opens by itself: at the first comparison, and when the text changed since the `last` one."""
    before = last and last["guideline_id"]
    changed = bool(guideline and before and before != guideline.pk)
    return {"guidelines_new": bool(guideline) and before != guideline.pk, "guidelines_changed": changed}


def _announce(is_pair: bool, state: QueueState, with_others: int) -> str:
    if is_pair:
        return _("Next comparison. %(count)s done.") % {"count": state.judged}
    if with_others:
        return _("Nothing free at the moment; this page looks again by itself.")
    return _("Nothing left to compare.")
