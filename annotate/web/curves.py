"""The curves of a run's page: which measurements share a chart, their unit, and how to read them."""

import json
from dataclasses import dataclass, field

from django.utils.translation import gettext as _


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
        return json.dumps(self.series)


def _with_heldout(name: str, legend: str) -> dict[str, str]:
    return {name: legend, f"{name}_heldout": f"{legend}, held out"}


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
    Curve("Loss", "nats", "Lower is better.", _with_heldout("loss", "loss")),
    Curve("Accuracy", "share", "How often the chosen response comes out ahead. 0.5 is guessing.",
          _with_heldout("accuracy", "accuracy")),
    Curve("Reward", "reward", "Mean score of the answers by the reward model.", _with_heldout("reward", "reward")),
    Curve("KL to the start", "nats", "How far the policy has moved from where it started.", {"kl": "KL"}),
    Curve("Length", "tokens", "Mean length of an answer.", {"length": "length"}),
    Curve("Margin", "reward", "By how much the chosen response is ahead.", _with_heldout("margin", "margin")),
    Curve("Log-probability", "nats", "How likely the policy finds the chosen and the rejected responses.",
          {"logp_chosen": "chosen", "logp_rejected": "rejected"}),
    Curve("Entropy", "nats", "How undecided the policy is at a token. A fall to zero means that it repeats itself.",
          {"entropy": "entropy"}),
]  # fmt: skip
MORE = [
    Curve("Learning rate", "rate", "As the schedule sets it.", {"learning_rate": "learning rate"}),
    Curve("Gradient norm", "norm", "Before it is clipped. Jumps mean trouble.", {"grad_norm": "gradient norm"}),
    Curve("Speed", "tokens/s", "Tokens computed a second.", {"tokens_per_second": "speed"}),
    Curve("Clipped", "share", "Tokens whose update hit the clip range.", {"clip_fraction": "clipped"}),
    Curve("Value loss", "loss", "Error of the value model.", {"value_loss": "value loss"}),
    Curve("Explained variance", "share", "How much of the return the value model foresees. 1 is all of it.",
          {"explained_variance": "explained variance"}),
]  # fmt: skip
