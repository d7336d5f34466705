"""Where a project stands in the loop, told from left to right, and which step makes sense next."""

from dataclasses import dataclass, field

from django.urls import reverse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from annotate.labeling.progress import judgments_by_people, project_totals
from annotate.models import Judgment, ModelVersion, Project
from annotate.models.judgment import DECIDED, by_people
from annotate.runs import selectors
from annotate.web.numbers import figure, localized

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
    wanted, done = project_totals(project)
    slots = {"wanted": wanted, "done": done}
    judgments = judgments_by_people(project)
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
            _("Judgments"),
            ngettext("%(count)s judgment", "%(count)s judgments", judgments) % {"count": figure(judgments)},
            [_slots_line(slots)],
            [link(_("Compare"), "label"), link(_("Datasets"), "datasets")]
            + ([link(_("Upload"), "data")] if manages else []),
            slots["done"],
            slots["wanted"],
        ),
        _model_step("reward", _("Reward model"), project.reward_model, link),
        _model_step("policy", _("Policy"), project.policy, link),
        Step(
            "round",
            _("Round"),
            _("Round %(number)s") % {"number": newest_round.number} if newest_round else _("No round yet"),
            [_round_line(newest_round, prompts)],
            [link(_("All rounds"), "rounds")],
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


def _usable(project: Project, enough: int) -> int:
    """Judgments that training can use, counted up to `enough`: no page counts them all."""
    usable = Judgment.objects.filter(DECIDED, by_people(), comparison__project=project, comparison__gold__isnull=True)
    return len(usable.order_by()[:enough].values_list("pk"))


def _model_step(name: str, title: str, model: ModelVersion | None, link) -> Step:
    if model is None:
        return Step(name, title, _("None yet"), [], [link(_("Models"), "models")])
    lines = [f"{label} {localized(f'{value:.3g}')}" for label, value in headline(model.metrics)]
    return Step(name, title, model.name, lines, [link(_("Models"), "models")])


def _slots_line(slots: dict) -> str:
    if not slots["wanted"]:
        return _("No comparisons to judge yet")
    return _("%(done)s of %(wanted)s asked for") % {name: figure(count) for name, count in slots.items()}


def _round_line(newest_round, prompts: int) -> str:
    if newest_round is None:
        waiting = ngettext("%(count)s prompt waits for answers", "%(count)s prompts wait for answers", prompts)
        return waiting % {"count": figure(prompts)} if prompts else _("No prompts uploaded yet")
    by = _("Answers by %(name)s") if newest_round.opened_at else _("Answers by %(name)s, being written")
    return by % {"name": newest_round.policy.name}


def _next(project, judgments, open_slots, prompts, newest_round, running, link) -> tuple[str, Link, str] | None:
    """(station, action, reason)."""
    reward, policy = project.reward_model, project.policy
    trained_policy = policy if policy and policy.run_id else None
    if running:
        station = {"reward": "reward", "generate": "round"}.get(running.recipe, "policy")
        return station, link(_("Watch the run"), "run", running.pk), (
            _("%(run)s is under way.") if running.state == "running" else _("%(run)s waits for a worker.")
        ) % {"run": selectors.name_in_words(running)}
    usable = _usable(project, ENOUGH_JUDGMENTS)
    if usable < ENOUGH_JUDGMENTS and open_slots:
        why = _("%(count)s judgments are still asked for.") % {"count": figure(open_slots)}
        return "data", link(_("Compare"), "label"), why
    if not usable and not open_slots:
        if prompts and policy:
            why = _("Let the policy answer the prompts, so that there is something to compare.")
            return "round", link(_("New round"), "round_new"), why
        return "data", link(_("Upload data"), "data"), _(
            "Upload comparisons or preferences, or prompts for a first round."
        )
    if reward is None:
        why = _("%(count)s judgments are enough for a first reward model.") % {"count": figure(judgments)}
        return "reward", link(_("Train reward model"), "run_new", "reward"), why
    if trained_policy is None or trained_policy.pk < reward.pk:
        return "policy", link(_("Train policy"), "runs"), _("The reward model is newer than the policy.")
    if newest_round is None or newest_round.policy_id != policy.pk:
        return "round", link(_("New round"), "round_new"), (
            _("Nobody has compared answers of %(name)s yet.") % {"name": policy.name}
        )
    if open_slots:
        return "data", link(_("Compare"), "label"), (
            _("%(count)s judgments of the newest round are still asked for.") % {"count": figure(open_slots)}
        )
    return "reward", link(_("Train reward model"), "run_new", "reward"), _("The newest round is judged: learn from it.")


# Names of final metrics, the most telling first, as a person reads them.
HEADLINES = [
    ("accuracy_heldout", gettext_lazy("Held-out accuracy")),
    ("length_baseline_heldout", gettext_lazy("Always the longer one")),
    ("loss_heldout", gettext_lazy("Held-out loss")),
    ("reward", gettext_lazy("Mean reward")),
    ("kl", gettext_lazy("KL to the start")),
    ("accuracy", gettext_lazy("Accuracy")),
    ("loss", gettext_lazy("Loss")),
]


def headline(metrics: dict, most: int = 2) -> list[tuple[str, float]]:
    """The few final numbers that tell how good a model is."""
    known = [(label, metrics[name]) for name, label in HEADLINES if isinstance(metrics.get(name), int | float)]
    return known[:most]
