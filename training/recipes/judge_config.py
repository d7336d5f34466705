"""What the recipe judge can be told. No torch."""

from dataclasses import dataclass

from training.config import BaseConfig, setting
from training.rewards.spec import JudgeSettings


@dataclass(frozen=True, kw_only=True)
class JudgeConfig(JudgeSettings, BaseConfig):
    """A language model judges pairs, each in both orders."""

    data: str = setting(help="a file of comparisons, or of preferences, with which the judge's verdicts are compared")
    clear: float = setting(0.75, "probability from which a response is better, not slightly better", low=0.5, high=1)
    on_reward_error: str = setting(
        "fail", "what a judge that gives no verdict ends: the run, or (mask) that pair alone", choices=("fail", "mask")
    )
    limit: int | None = setting(None, "judge only the first so many rows", low=1)
    tokens_per_batch: int = setting(8192, "tokens computed at once, by a local judge", low=1)
