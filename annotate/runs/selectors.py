"""What the run pages show: state in words, progress and time left, curves, samples, messages and the log's end."""

import math
from collections.abc import Iterable
from dataclasses import dataclass

from django.db.models import QuerySet
from django.utils import timezone
from django.utils.translation import gettext, gettext_noop
from django.utils.translation import gettext as _

from annotate.background import presence
from annotate.models import ModelVersion, Project, Round, Run, RunEvent

MAX_POINTS = 400  # a curve: more than a chart has pixels to tell apart
RECENT_EVENTS = 60  # from which the present speed is taken
MESSAGES_SHOWN = 20

State = Run.State

# What a run's recipe says it is doing (training/), as the catalogues know it.
PHASES = [
    gettext_noop("Training"), gettext_noop("Sampling"), gettext_noop("Scoring"), gettext_noop("Sampling and scoring"),
    gettext_noop("Updating"), gettext_noop("Judging"), gettext_noop("Reference log-probabilities"),
]  # fmt: skip


@dataclass(frozen=True)
class RunView:
    """One look at a run. `series` maps a name to its points; `last` is the newest event, the next look's `after`.

    `restarted` says that the curves were rewound since `after` (the run went on from an earlier checkpoint), so that
    a page which only adds points has to draw them anew.
    """

    state: str
    words: str
    percent: float
    step: int
    total: int
    phase: str
    seconds_left: float | None
    seconds_spent: float
    series: dict[str, dict[str, list[float]]]
    restarted: bool
    samples: list[dict]
    messages: list[dict]
    metrics: dict[str, float]
    error: str
    log_tail: str
    last: int
    finished: bool
    may_cancel: bool
    may_resume: bool
    may_retry: bool


def run_view(run: Run, after: int = 0) -> RunView:
    """The run as it stands; with `after`, only the points of events later than this number. At most four queries."""
    newest_first = run.events.order_by("-number")
    recent = list(newest_first.filter(kind__in=["start", "progress", "metrics", "end"])[:RECENT_EVENTS])
    # Asked after `recent`: an event that arrives in between is in these curves, so `last` passes none over.
    curves = list(run.events.filter(kind__in=["start", "metrics"], number__gt=after).order_by("number"))
    samples = newest_first.filter(kind="samples").first()
    messages = list(newest_first.filter(kind="message")[:MESSAGES_SHOWN])
    end = recent[0] if recent and recent[0].kind == "end" else None
    return RunView(
        state=run.state,
        words=state_in_words(run),
        percent=_percent(run),
        step=run.step,
        total=run.total_steps,
        phase=run.phase,
        seconds_left=_seconds_left(run, recent),
        seconds_spent=_seconds_spent(run),
        series={name: _downsampled(points) for name, points in _series(curves).items()},
        restarted=after > 0 and any(event.kind == "start" for event in curves),
        samples=samples.data.get("rows", []) if samples else [],
        messages=[
            {"level": event.data.get("level", "info"), "text": event.data.get("text", "")}
            for event in reversed(messages)
        ],
        metrics=end.data.get("metrics") or {} if end else {},
        error=run.error,
        log_tail=run.log_tail,
        last=max([after, *(event.number for event in (*curves, *recent[:1]))]),
        finished=run.is_finished,
        may_cancel=not run.is_finished and not run.cancel_requested,
        may_resume=run.state in {State.FAILED, State.CANCELLED},
        may_retry=run.is_finished and run.recipe != "generate",
    )


def runs_of(project: Project) -> QuerySet[Run]:
    """Newest first, with what a list shows."""
    return project.runs.select_related("base_model", "reward_model", "dataset", "created_by", "model_made", "endpoint")


def models_of(project: Project, kind: str | None = None) -> QuerySet[ModelVersion]:
    """Newest first, of one kind or all."""
    models = project.models.select_related("parent", "run", "run__dataset")
    return models.filter(kind=kind) if kind else models


def rounds_of(project: Project) -> QuerySet[Round]:
    return project.rounds.select_related("policy", "run", "created_by")


def name_in_words(run: Run) -> str:
    """Its title, or its number, for people; what it does stands beside it."""
    return run.title or _("Run %(number)s") % {"number": run.pk}


def state_in_words(run: Run) -> str:
    """The state as a short phrase for people."""
    if run.state == State.QUEUED:
        if run.dataset is not None and not run.dataset.is_ready:
            return _("Waiting for its data")
        return _("Waiting to go on") if run.attempt or run.step else _("Waiting for a worker")
    if run.state == State.RUNNING:
        if run.cancel_requested:
            return _("Stopping")
        phase = run.phase.capitalize()
        return gettext(phase) if phase else _("Training") if run.step else _("Starting")
    return {State.SUCCEEDED: _("Done"), State.FAILED: _("Failed"), State.CANCELLED: _("Cancelled")}[State(run.state)]


def waits_for(run: Run) -> str:
    """What a queued run waits for, in a sentence; nothing of any other."""
    if run.state != State.QUEUED:
        return ""
    if run.dataset is not None and not run.dataset.is_ready:
        if run.dataset.is_waiting and not presence.is_there():
            return _("Its data is to be frozen, but no worker is running. It waits until one is started.")
        return _("A worker freezes its data; then it starts by itself.")
    if not presence.is_there(presence.GPU_QUEUE):
        return _("No worker is running that trains. It waits until whoever runs this server starts one.")
    return _("It starts as soon as a worker is free.")


def _percent(run: Run) -> float:
    if run.state == State.SUCCEEDED:
        return 100.0
    return min(100.0, 100.0 * run.step / run.total_steps) if run.total_steps else 0.0


def _seconds_spent(run: Run) -> float:
    if run.started_at is None:
        return 0.0
    return max(0.0, ((run.finished_at or timezone.now()) - run.started_at).total_seconds())


def _seconds_left(run: Run, recent: list[RunEvent]) -> float | None:
    """From the speed over the recent events of this attempt (`recent` is newest first); None before there is one."""
    if run.state != State.RUNNING or not run.total_steps:
        return None
    moves = []
    for event in recent:
        if event.kind == "start":
            break
        moves.append((event.data.get("time", 0.0), event.step))
    if len(moves) < 2 or moves[0][1] <= moves[-1][1] or moves[0][0] <= moves[-1][0]:
        return None
    (now, step), (then, first) = moves[0], moves[-1]
    seconds_a_step = (now - then) / (step - first)
    since = max(0.0, timezone.now().timestamp() - now)
    return max(0.0, (run.total_steps - step) * seconds_a_step - since)


def _series(events: Iterable[RunEvent]) -> dict[str, dict[int, float]]:
    """Per name {step: value}. What came after the checkpoint from which the run went on again is forgotten."""
    series: dict[str, dict[int, float]] = {}
    for event in events:
        if event.kind == "start":
            resumed_from = event.data.get("resumed_from") or 0
            series = {
                name: {step: value for step, value in points.items() if step <= resumed_from}
                for name, points in series.items()
            }
            continue
        for name, value in (event.data.get("values") or {}).items():
            if isinstance(value, int | float) and math.isfinite(value):
                series.setdefault(name, {})[event.step] = float(value)
    return {name: points for name, points in series.items() if points}


def _downsampled(points: dict[int, float]) -> dict[str, list[float]]:
    """At most MAX_POINTS points: each the mean of as many neighbours, at the last one's step."""
    steps = sorted(points)
    width = math.ceil(len(steps) / MAX_POINTS)
    groups = [steps[start : start + width] for start in range(0, len(steps), width)]
    return {
        "steps": [group[-1] for group in groups],
        "values": [sum(points[step] for step in group) / len(group) for group in groups],
    }
