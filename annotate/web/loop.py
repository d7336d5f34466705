"""Where a project stands in the loop, told from left to right, and which step makes sense next."""

from dataclasses import dataclass, field

from django.db.models import Count, Q
from django.urls import reverse

from annotate.models import Judgment, ModelVersion, Project, Slot
from annotate.models.judgment import DECIDED

# Below this a reward model learns little more than the length of a response.
ENOUGH_JUDGMENTS = 20


@dataclass
class Link:
    title: str
    url: str


@dataclass
class Step:
    """One station of the loop: its title, what there is now, and where one can go from here."""

    name: str
    title: str
    value: str
    lines: list[str] = field(default_factory=list)
    links: list[Link] = field(default_factory=list)
    done: int = 0
    total: int = 0
    is_next: bool = False


@dataclass
class Loop:
    steps: list[Step]
    next_title: str = ""
    next_url: str = ""
    why_next: str = ""


def loop_of(project: Project, *, manages: bool) -> Loop:
    """The four stations, the sensible next one marked with its action if the reader may take it."""
    slots = Slot.objects.filter(project=project).aggregate(
        wanted=Count("id"), done=Count("id", filter=Q(free_from__isnull=True))
    )
    judgments = Judgment.objects.filter(
        DECIDED, comparison__project=project, comparison__gold__isnull=True
    ).count()
    prompts = project.prompts.filter(in_pool=True).count()
    newest_round = project.rounds.select_related("policy", "run").first()
    # "running" sorts behind "queued": what is under way goes before what waits.
    running = project.runs.filter(state__in=["queued", "running"]).order_by("-state", "-id").first()
    open_slots = slots["wanted"] - slots["done"]

    def link(title: str, name: str, *args) -> Link:
        return Link(title, reverse(name, args=[project.slug, *args]))

    steps = [
        Step(
            "data",
            "Judgments",
            f"{judgments:,} judgment{'' if judgments == 1 else 's'}",
            [_slots_line(slots)],
            [link("Compare", "label"), link("Datasets", "datasets")] + ([link("Upload", "data")] if manages else []),
            slots["done"],
            slots["wanted"],
        ),
        _model_step("reward", "Reward model", project.reward_model, link),
        _model_step("policy", "Policy", project.policy, link),
        Step(
            "round",
            "Round",
            f"Round {newest_round.number}" if newest_round else "No round yet",
            [_round_line(newest_round, prompts)],
            [link("All rounds", "rounds")],
        ),
    ]
    loop = Loop(steps)
    choice = _next(project, judgments, open_slots, prompts, newest_round, running, link)
    if choice:
        name, action, loop.why_next = choice
        if manages:
            next(step for step in steps if step.name == name).is_next = True
            loop.next_title, loop.next_url = action.title, action.url
    return loop


def _model_step(name: str, title: str, model: ModelVersion | None, link) -> Step:
    if model is None:
        return Step(name, title, "None yet", [], [link("Models", "models")])
    lines = [f"{label} {value:.3g}" for label, value in headline(model.metrics)]
    return Step(name, title, model.name, lines, [link("Models", "models")])


def _slots_line(slots: dict) -> str:
    return f"{slots['done']:,} of {slots['wanted']:,} asked for" if slots["wanted"] else "No comparisons to judge yet"


def _round_line(newest_round, prompts: int) -> str:
    if newest_round is None:
        return f"{prompts:,} prompts wait for answers" if prompts else "No prompts uploaded yet"
    return f"Answers by {newest_round.policy.name}" + ("" if newest_round.opened_at else ", being written")


def _next(project, judgments, open_slots, prompts, newest_round, running, link) -> tuple[str, Link, str] | None:
    """(station, action, reason)."""
    reward, policy = project.reward_model, project.policy
    trained_policy = policy if policy and policy.run_id else None
    if running:
        station = {"reward": "reward", "generate": "round"}.get(running.recipe, "policy")
        return station, link("Watch the run", "run", running.pk), (
            f"{running} is under way." if running.state == "running" else f"{running} waits for a worker."
        )
    if judgments < ENOUGH_JUDGMENTS and open_slots:
        return "data", link("Compare", "label"), f"{open_slots:,} judgments are still asked for."
    if not judgments and not open_slots:
        if prompts and policy:
            why = "Let the policy answer the prompts, so that there is something to compare."
            return "round", link("New round", "round_new"), why
        return "data", link("Upload data", "data"), "Upload comparisons or preferences, or prompts for a first round."
    if reward is None:
        why = f"{judgments:,} judgments are enough for a first reward model."
        return "reward", link("Train reward model", "run_new", "reward"), why
    if trained_policy is None or trained_policy.pk < reward.pk:
        return "policy", link("Train policy", "runs"), "The reward model is newer than the policy."
    if newest_round is None or newest_round.policy_id != policy.pk:
        return "round", link("New round", "round_new"), f"Nobody has compared answers of {policy.name} yet."
    if open_slots:
        return "data", link("Compare", "label"), f"{open_slots:,} judgments of the newest round are still asked for."
    return "reward", link("Train reward model", "run_new", "reward"), "The newest round is judged: learn from it."


# Names of final metrics, the most telling first, as a person reads them.
HEADLINES = [
    ("accuracy_heldout", "Held-out accuracy"),
    ("length_baseline_heldout", "Always the longer one"),
    ("loss_heldout", "Held-out loss"),
    ("reward", "Mean reward"),
    ("kl", "KL to the start"),
    ("accuracy", "Accuracy"),
    ("loss", "Loss"),
]


def headline(metrics: dict, most: int = 2) -> list[tuple[str, float]]:
    """The few final numbers that tell how good a model is."""
    known = [(label, metrics[name]) for name, label in HEADLINES if isinstance(metrics.get(name), int | float)]
    return known[:most]
