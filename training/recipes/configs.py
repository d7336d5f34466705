"""What sft, reward and dpo can be told. No torch, so that the site can check a run's settings."""

from dataclasses import dataclass

from training.config import TrainingConfig, setting


@dataclass(frozen=True, kw_only=True)
class SFTConfig(TrainingConfig):
    data: str = setting(help="a file of demonstrations, or of preferences, whose chosen responses are then learned")
    sample_prompts: int = setting(4, "prompts answered before and after training, to look at", low=0)
    sample_tokens: int = setting(64, "longest of those answers, in tokens", low=1)


@dataclass(frozen=True, kw_only=True)
class RewardConfig(TrainingConfig):
    data: str = setting(help="a file of preferences")
    heldout: str = setting("0.1", "a file of rows to evaluate on, or the share of groups kept back for it; 0 for none")
    margin_better: float = setting(2 / 3, "by how much the reward of a response judged better must lead", low=0)
    margin_slightly_better: float = setting(1 / 3, "the same where it was judged slightly better", low=0)


@dataclass(frozen=True, kw_only=True)
class PreferenceConfig(TrainingConfig):
    data: str = setting(help="a file of preferences")
    reference: str | None = setting(None, "the frozen model to stay close to; none takes the model itself as it starts")
    beta: float = setting(0.1, "how dear it is to leave the reference", low=0)
    learning_rate: float = setting(1e-6, "at its peak", low=0)
    label_smoothing: float = setting(0.0, "share of labels taken to be wrong (cDPO)", low=0, high=0.5)
    sample_prompts: int = setting(4, "prompts answered before and after training, to look at", low=0)
    sample_tokens: int = setting(64, "longest of those answers, in tokens", low=1)
