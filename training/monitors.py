"""What is known to go wrong in policy training, said in words when it does."""

from dataclasses import dataclass, field

from training.events import EventLog
from training.recipes.presets import PolicyGradientConfig
from training.rewards.combine import Scores

# Over so many steps, and over the whole run, what grows and falls how far is no longer learning.
_WINDOW = 10
_LONGER = {"window": 1.5, "run": 2.0}
_SHARPER = {"window": 0.3, "run": 0.1}
_ALIKE = 0.9
_SAMPLER_GAP = 0.1
_CLIPPED = 0.5
_FAILURES = 0.25


@dataclass
class Watched:
    """What a monitor remembers of a run, kept in its checkpoints: numbers and texts only."""

    rounds: int = 0
    began: dict[str, float] = field(default_factory=dict)
    """metrics of the first round"""
    history: list[dict[str, float]] = field(default_factory=list)
    """metrics of the last _WINDOW rounds"""
    said: list[str] = field(default_factory=list)
    """troubles that have not passed since they were said"""
    failed: list[str] = field(default_factory=list)
    """reward sources whose failure was said"""


class Monitor:
    """Watches a run's metrics, one round after the other, and says each trouble once until it has passed."""

    def __init__(self, log: EventLog, config: PolicyGradientConfig, watched: Watched):
        self.log, self.config, self.watched = log, config, watched

    def hear(self, scores: Scores) -> None:
        """Says of each source, once a run, that it failed, and on what."""
        for name, text in scores.failures_in_words():
            if name not in self.watched.failed:
                self.watched.failed.append(name)
                self.log.message(text, "warning")

    def watch(self, metrics: dict[str, float]) -> None:
        watched = self.watched
        watched.rounds += 1
        watched.began = watched.began or metrics
        watched.history = [*watched.history, metrics][-_WINDOW:]
        troubles = dict(self._troubles())
        for name, text in troubles.items():
            if name not in watched.said:
                self.log.message(text, "warning")
        watched.said = list(troubles)

    def _troubles(self):
        """(name, sentence) of each trouble that the last rounds show."""
        history = self.watched.history
        last = history[-1]
        if last["truncated"] == 1:
            yield (
                "truncated",
                f"every completion was cut off at max_tokens={self.config.max_tokens}: none was scored whole",
            )
        if last["equal_groups"] == 1 and self.config.samples > 1:
            yield "equal", "all completions of each prompt earned the same: there is nothing to tell them apart by"
        if last.get("passed") == 0:
            yield "judges", "no completion passed all judges: there is nothing to reinforce"
        if last.get("reward_failures", 0) > _FAILURES:
            yield "failures", f"{last['reward_failures']:.0%} of the completions got no reward and were left out"
        if last.get("self_similarity", 0) > _ALIKE and self.config.samples > 1:
            yield (
                "alike",
                f"{last['self_similarity']:.0%} of what the completions of a prompt say is the same: the policy has "
                "collapsed to one answer; a higher beta or temperature, or an entropy_bonus, may keep it apart",
            )
        if last.get("sampler_gap", 0) > _SAMPLER_GAP:
            yield (
                "sampler",
                f"the sampler's log-probabilities are {last['sampler_gap']:.2f} nats a token from the trainer's: more "
                "than rounding, so what is trained is not what was sampled",
            )
        if last.get("clip_fraction", 0) > _CLIPPED:
            yield (
                "clipped",
                f"{last['clip_fraction']:.0%} of the tokens were clipped: the policy moves further in a round than "
                "its completions can tell about; a lower learning_rate or fewer epochs may help",
            )
        if self.config.kl_target and last["kl"] > 2 * self.config.kl_target:
            yield (
                "kl",
                f"the KL to the reference is {last['kl']:.1f} nats, twice kl_target={self.config.kl_target} or more",
            )
        if self.config.baseline == "constrained" and last["kl"] > self.config.kl_max:
            yield (
                "kl_max",
                f"the KL to the reference is {last['kl']:.1f} nats, more than kl_max={self.config.kl_max}: nothing is "
                "left of most rewards",
            )
        if len(history) == _WINDOW:
            if all(metrics.get("explained_variance", 1) < 0 for metrics in history):
                yield (
                    "value",
                    f"for {_WINDOW} steps the value model has foreseen returns worse than their mean would: a higher "
                    "value_learning_rate may help, or a lower one if value_loss grows",
                )
            yield from self._drifts(last, history[0], _WINDOW, "window")
            yield from self._drifts(last, self.watched.began, self.watched.rounds, "run")

    def _drifts(self, last: dict[str, float], first: dict[str, float], steps: int, over: str):
        """What has gone too far since `first`."""
        if last["reward"] > first["reward"] and last["length"] > _LONGER[over] * first["length"]:
            yield (
                "length",
                f"reward rises while completions grow from {first['length']:.0f} to {last['length']:.0f} tokens in "
                f"{steps} steps: the reward model may be paying for length",
            )
        if last["entropy"] < _SHARPER[over] * first["entropy"]:
            yield (
                "entropy",
                f"the policy's entropy fell from {first['entropy']:.2f} to {last['entropy']:.2f} nats a token in "
                f"{steps} steps: its completions are becoming all alike",
            )
