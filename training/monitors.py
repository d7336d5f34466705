"""What is known to go wrong in policy training, said in words when it does."""

from collections import deque

from training.events import EventLog
from training.recipes.presets import PolicyGradientConfig

_WINDOW = 10


class Monitor:
    """Watches a run's metrics, one round after the other, and says each trouble once until it has passed."""

    def __init__(self, log: EventLog, config: PolicyGradientConfig):
        self.log, self.config = log, config
        self.history: deque[dict[str, float]] = deque(maxlen=_WINDOW)
        self.said: set[str] = set()

    def watch(self, metrics: dict[str, float]) -> None:
        self.history.append(metrics)
        troubles = dict(self._troubles())
        for name, text in troubles.items():
            if name not in self.said:
                self.log.message(text, "warning")
        self.said = set(troubles)

    def _troubles(self):
        """(name, sentence) of each trouble that the last rounds show."""
        first, last = self.history[0], self.history[-1]
        if last["truncated"] == 1:
            yield (
                "truncated",
                f"every completion was cut off at max_tokens={self.config.max_tokens}: none was scored whole",
            )
        if last["equal_groups"] == 1 and self.config.samples > 1:
            yield "equal", "all completions of each prompt scored the same: there is nothing to tell them apart by"
        if self.config.kl_target and last["kl"] > 2 * self.config.kl_target:
            yield (
                "kl",
                f"the KL to the reference is {last['kl']:.1f} nats, twice kl_target={self.config.kl_target} or more",
            )
        if len(self.history) == _WINDOW:
            if last["reward"] > first["reward"] and last["length"] > 1.5 * first["length"]:
                yield (
                    "length",
                    f"reward rises while completions grow from {first['length']:.0f} to {last['length']:.0f} tokens in "
                    f"{_WINDOW} steps: the reward model may be paying for length",
                )
            if last["entropy"] < 0.3 * first["entropy"]:
                yield (
                    "entropy",
                    f"the policy's entropy fell from {first['entropy']:.2f} to {last['entropy']:.2f} nats a token in "
                    f"{_WINDOW} steps: its completions are becoming all alike",
                )
