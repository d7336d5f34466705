"""The settings of every recipe that scores completions, and the sources that they name. No torch."""

from dataclasses import dataclass

from training.config import BaseConfig, ConfigError, setting
from training.rewards.spec import ModelReward, Source, parse_sources, sources_of


@dataclass(frozen=True, kw_only=True)
class RewardSettings(BaseConfig):
    reward_model: str | None = setting(None, "a reward model that scores completions; its tokenizer may be another one")
    rewards: list[dict] | None = setting(
        None,
        "sources of reward with weights, as JSON or a file of it (docs/formats.md); reward_model is one more of them",
        parse=parse_sources,
    )
    on_reward_error: str = setting(
        "fail",
        "what a source that raises or gives no number ends: the run, or (mask) the use of that completion",
        choices=("fail", "mask"),
    )

    def check(self) -> None:
        super().check()
        if self.needs_rewards() and not self.reward_rows():
            raise ConfigError("no reward is named: give reward_model=… or rewards=…")

    def needs_rewards(self) -> bool:
        return True

    def reward_rows(self) -> list[dict]:
        """As `rewards` has them, the reward model first."""
        model = [{"source": "model", "path": self.reward_model}] if self.reward_model else []
        return model + (self.rewards or [])

    def reward_sources(self) -> dict[str, Source]:
        """{name: source}"""
        return sources_of("rewards", self.reward_rows())

    def judge_sources(self) -> dict[str, Source]:
        """{name: source} of the judges, in recipes that have them."""
        return {}

    def value_source(self) -> str | None:
        """The reward model that a value model may start from: the first one named."""
        models = [source.path for source in self.reward_sources().values() if isinstance(source, ModelReward)]
        return models[0] if models else None
