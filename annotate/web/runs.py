"""Runs: the list, the forms that start one, and the page that follows it."""

import zlib
from urllib.parse import urlencode

from django.contrib import messages
from django.core.paginator import Paginator
from django.db.models import Max
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET, require_POST

from annotate.datasets.snapshots import ready_snapshots_of
from annotate.errors import UserError
from annotate.models import Dataset, Judgment, Project, Run
from annotate.models.judgment import DECIDED, by_people
from annotate.runs import judging, launch, selectors
from annotate.runs.recipes import RECIPES, SiteRecipe
from annotate.runs.reward_sources import reward_names
from annotate.web import curves
from annotate.web.common import ADMIN, RESEARCHER, page, project_view
from annotate.web.conversation import conversation
from annotate.web.forms import add_user_error
from annotate.web.loop import headline
from annotate.web.recipe_texts import text_of
from annotate.web.run_form import RunForm

RUNS_A_PAGE = 25


@project_view(RESEARCHER)
def index(request: HttpRequest, project: Project) -> HttpResponse:
    runs = Paginator(selectors.runs_of(project), RUNS_A_PAGE).get_page(request.GET.get("page"))
    may_start = ADMIN in request.roles
    return page(request, "runs/index.html", project, runs=runs, groups=_groups(), may_start=may_start)


def _groups() -> list[tuple[str, list[dict]]]:
    """The recipes that can be started here, by what they learn from."""
    offers = [{"name": name, "offer": offer} for name, offer in RECIPES.items() if not offer.own_page]
    return [
        (_("From what people said"), [row for row in offers if not row["offer"].scored and not row["offer"].asks]),
        (_("From a reward"), [row for row in offers if row["offer"].scored]),
        (_("From a model’s opinion"), [row for row in offers if row["offer"].asks]),
    ]


@project_view(ADMIN)
def new(request: HttpRequest, project: Project, recipe: str) -> HttpResponse:
    """The form of one recipe; where something is missing first, that and where to get it."""
    if recipe not in RECIPES or RECIPES[recipe].own_page:
        raise Http404
    offer = RECIPES[recipe]
    form = RunForm(project, recipe, offer, request.POST or None)
    if form.is_valid():
        chosen = form.cleaned_data
        try:
            run = launch.create_run(
                project,
                recipe,
                user=request.user,
                params=form.params(),
                dataset=chosen["dataset"],
                base_model=chosen["base_model"],
                reward_model=chosen.get("reward_model"),
                without_reward_model=offer.scored and chosen["reward_model"] is None,
                endpoint=chosen.get("endpoint"),
                title=chosen["title"],
            )
        except UserError as error:
            add_user_error(form, error)
        else:
            return redirect("run", project.slug, run.pk)
    context = {
        "recipe": offer,
        "explanation": text_of(recipe).paragraphs,
        "missing": _missing(project, offer),
        "no_reward_model": offer.scored and not project.models.filter(kind="reward").exists(),
    }
    return page(request, "runs/new.html", project, form=form, **context)


def _missing(project: Project, offer: SiteRecipe) -> list[dict]:
    """What has to be there before this recipe can start, each with the page that provides it."""

    def need(text: str, action: str, name: str, *args) -> dict:
        return {"text": text, "action": action, "url": reverse(name, args=[project.slug, *args])}

    needs = []
    may_ask = offer.asks and project.chat_endpoints.filter(enabled=True, model__isnull=True).exists()
    if not may_ask and not project.models.filter(kind__in=offer.base).exists():
        needs.append(need(_("There is no model to start from."), _("Add a model"), "models"))
    usual = offer.data[0]
    has_rows = {
        Dataset.Kind.PROMPTS: project.prompts.filter(in_pool=True),
        Dataset.Kind.COMPARISONS: project.comparisons.filter(gold__isnull=True),
        Dataset.Kind.DEMONSTRATIONS: project.prompts.filter(demonstrations__isnull=False),
        Dataset.Kind.PREFERENCES: Judgment.objects.filter(
            DECIDED, by_people(), comparison__project=project, comparison__gold__isnull=True
        ),
    }[usual].exists()
    if not has_rows and not ready_snapshots_of(project).filter(kind__in=offer.data, rows__gt=0).exists():
        needs.append(need(launch.WHAT_IS_MISSING[usual], _("Upload data"), "data"))
    return needs


def _run(project: Project, pk: int) -> Run:
    return get_object_or_404(selectors.runs_of(project), pk=pk)


@never_cache
@project_view(RESEARCHER)
def show(request: HttpRequest, project: Project, pk: int) -> HttpResponse:
    run = _run(project, pk)
    context = _run_context(request, project, run) | {
        "caveat": text_of(run.recipe).caveat,
        "charts": {"main": curves.main(*reward_names(run)), "more": curves.MORE},
    }
    return page(request, "runs/show.html", project, **context)


@never_cache
@require_GET
@project_view(RESEARCHER)
def live(request: HttpRequest, project: Project, pk: int) -> HttpResponse:
    """What moved since the page's last look (its `marks`): the rest is left alone, and focus and scroll with it."""
    run = _run(project, pk)
    context = _run_context(request, project, run)
    news = {name: request.GET.get(name) != str(mark) for name, mark in context["marks"].items()}
    news["samples"] |= news["state"]  # where there are none, it says why
    return render(request, "runs/live.html", context | {"project": project, "oob": True, "news": news})


@never_cache
@require_GET
@project_view(RESEARCHER)
def series(request: HttpRequest, project: Project, pk: int) -> JsonResponse:
    """The points of the curves that are newer than the event `after`."""
    after = request.GET.get("after", "0")
    view = selectors.run_view(_run(project, pk), after=int(after) if after.isascii() and after.isdigit() else 0)
    return JsonResponse({"last": view.last, "restarted": view.restarted, "series": view.series})


@require_POST
@project_view(ADMIN)
def act(request: HttpRequest, project: Project, pk: int, action: str) -> HttpResponse:
    """Cancel, resume or retry; of a judge's run, take its verdicts in."""
    run = _run(project, pk)
    try:
        if action == "cancel":
            launch.request_cancel(run, request.user)
        elif action == "resume":
            launch.resume(run, request.user)
        elif action == "retry":
            run = launch.retry(run, request.user)
            messages.success(request, _("A new run with the same settings is queued."))
        elif action == "verdicts":
            report = judging.import_verdicts(run, request.user)
            messages.success(
                request,
                _("%(new)d votes by %(judge)s are in; %(known)d were there already.")
                % {"new": report.judgments, "judge": judging.judge_name(run), "known": report.duplicates},
            )
        else:
            raise Http404
    except UserError as error:
        messages.error(request, error.message)
    return redirect("run", project.slug, run.pk)


def _run_context(request: HttpRequest, project: Project, run: Run) -> dict:
    view = selectors.run_view(run)
    landmarks = _landmarks(run)
    model_made = getattr(run, "model_made", None)
    marks = {
        "state": f"{run.state}-{int(run.cancel_requested)}",
        "samples": landmarks["samples"][0],
        "log": zlib.crc32(view.log_tail.encode()),
    }
    return {
        "run": run,
        "view": view,
        "active": not view.finished,
        "waits_for": selectors.waits_for(run),
        "samples": [{**row, "conversation": conversation(row["prompt"])} for row in view.samples],
        "samples_step": landmarks["samples"][1],
        "checkpoint_step": landmarks["checkpoint"][1],
        "model_made": model_made,
        "verdicts": _verdicts(run),
        "headline": headline(view.metrics),
        "actions": _actions(view, from_checkpoint=landmarks["checkpoint"][1] > 0),
        "may_act": ADMIN in request.roles,
        "next_step": _next_step(project, run, view) if ADMIN in request.roles else None,
        "marks": marks,
        "known": urlencode(marks),
    }


def _verdicts(run: Run) -> dict | None:
    """Of a judge's run that succeeded: whose votes its verdicts become, and how many are in."""
    if run.recipe != "judge" or run.state != Run.State.SUCCEEDED:
        return None
    return {"judge": judging.judge_name(run), "votes": judging.votes_of(run)}


def _landmarks(run: Run) -> dict[str, tuple[int, int]]:
    """(number, step) of the newest samples and of the newest checkpoint; (0, 0) where there is none."""
    landmarks = run.events.filter(kind__in=["samples", "checkpoint"])
    found = landmarks.values_list("kind").annotate(Max("number"), Max("step"))
    return {"samples": (0, 0), "checkpoint": (0, 0)} | {kind: (number, step) for kind, number, step in found}


def _actions(view: selectors.RunView, *, from_checkpoint: bool) -> list[dict]:
    """What may be done with the run, one of it marked: going on where there is something to go on from."""
    offers = [
        ("cancel", _("Cancel"), view.may_cancel, False),
        ("resume", _("Resume"), view.may_resume, from_checkpoint),
        ("retry", _("Retry from the start"), view.may_retry, view.state == Run.State.FAILED and not from_checkpoint),
    ]
    return [{"name": name, "title": title, "primary": primary} for name, title, may, primary in offers if may]


def _next_step(project: Project, run: Run, view: selectors.RunView) -> dict | None:
    """Where the loop goes on after a run that succeeded."""
    if view.state != Run.State.SUCCEEDED:
        return None
    if run.recipe == "judge":
        return {"title": _("Make a snapshot"), "url": reverse("datasets", args=[project.slug])}
    if run.recipe == "generate":
        return {"title": _("See the rounds"), "url": reverse("rounds", args=[project.slug])}
    if run.recipe == "reward":
        return {"title": _("Train a policy with it"), "url": reverse("runs", args=[project.slug])}
    return {"title": _("New round with this policy"), "url": reverse("round_new", args=[project.slug])}
