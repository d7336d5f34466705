"""The curves of a run's page: which measurements share a chart, their unit, and how to read them."""

import json
from dataclasses import dataclass, field

from django.utils.translation import gettext_lazy as _


@dataclass(frozen=True)
class Curve:
    """One chart; `series` maps the names of measurements to their legend. It shows once one of them has a value."""

    title: str
    unit: str
    help: str
    series: dict[str, str] = field(default_factory=dict)

    @property
    def names(self) -> str:
        return " ".join(self.series)

    @property
    def labels(self) -> str:
        return json.dumps({name: str(legend) for name, legend in self.series.items()})


def _with_heldout(name: str, legend: str, heldout: str) -> dict[str, str]:
    return {name: legend, f"{name}_heldout": heldout}


def main(rewards: list[str], judges: list[str]) -> list[Curve]:
    """The charts shown unfolded; several sources of reward, and judges, have a chart of their own beside `MAIN`."""
    sources = {f"reward_{name}": name for name in rewards} if len(rewards) > 1 else {}
    verdicts = {"passed": _("all judges")} | {f"passed_{name}": name for name in judges} if judges else {}
    of_sources = [
        Curve(_("Rewards"), _("reward"), _("Each source's mean score, before its weight."), sources),
        Curve(_("Passed"), _("share"), _("Answers that the judges pass."), verdicts),
    ]
    return MAIN + [curve for curve in of_sources if curve.series]


MAIN = [
    Curve(_("Loss"), _("nats"), _("Lower is better."), _with_heldout("loss", _("loss"), _("loss, held out"))),
    Curve(_("Accuracy"), _("share"), _("How often the chosen response comes out ahead. 0.5 is guessing."),
          _with_heldout("accuracy", _("accuracy"), _("accuracy, held out"))),
    Curve(_("Reward"), _("reward"), _("Mean score of the answers by the reward model."),
          _with_heldout("reward", _("reward"), _("reward, held out"))),
    Curve(_("KL to the start"), _("nats"), _("How far the policy has moved from where it started."), {"kl": "KL"}),
    Curve(_("Length"), _("tokens"), _("Mean length of an answer."), {"length": _("length")}),
    Curve(_("Margin"), _("reward"), _("By how much the chosen response is ahead."),
          _with_heldout("margin", _("margin"), _("margin, held out"))),
    Curve(_("Log-probability"), _("nats"), _("How likely the policy finds the chosen and the rejected responses."),
          {"logp_chosen": _("chosen"), "logp_rejected": _("rejected")}),
    Curve(_("Entropy"), _("nats"),
          _("How undecided the policy is at a token. A fall to zero means that it repeats itself."),
          {"entropy": _("entropy")}),
]  # fmt: skip
MORE = [
    Curve(_("Learning rate"), _("rate"), _("As the schedule sets it."), {"learning_rate": _("learning rate")}),
    Curve(_("Gradient norm"), _("norm"), _("Before it is clipped. Jumps mean trouble."),
          {"grad_norm": _("gradient norm")}),
    Curve(_("Speed"), _("tokens/s"), _("Tokens computed a second."), {"tokens_per_second": _("speed")}),
    Curve(_("Clipped"), _("share"), _("Tokens whose update hit the clip range."), {"clip_fraction": _("clipped")}),
    Curve(_("Value loss"), _("loss"), _("Error of the value model."), {"value_loss": _("value loss")}),
    Curve(_("Explained variance"), _("share"), _("How much of the return the value model foresees. 1 is all of it."),
          {"explained_variance": _("explained variance")}),
]  # fmt: skip
