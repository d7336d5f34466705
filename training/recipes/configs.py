"""What sft, reward and dpo can be told. No torch, so that the site can check a run's settings."""

from dataclasses import dataclass

from training.config import ConfigError, TrainingConfig, setting
from training.rewards.settings import RewardSettings


@dataclass(frozen=True, kw_only=True)
class SFTConfig(TrainingConfig):
    """Supervised fine-tuning: the policy learns to give the answers that it is shown."""

    data: str = setting(help="a file of demonstrations, or of preferences, whose chosen responses are then learned")
    sample_prompts: int = setting(4, "prompts answered before and after training, to look at", low=0)
    sample_tokens: int = setting(64, "longest of those answers, in tokens", low=1)


@dataclass(frozen=True, kw_only=True)
class RewardConfig(TrainingConfig):
    """A reward model, which scores answers as people judged them (Bradley and Terry 1952; ties by Davidson)."""

    data: str = setting(help="a file of preferences")
    heldout: str = setting("0.1", "a file of rows to evaluate on, or the share of groups kept back for it; 0 for none")
    margin_better: float = setting(2 / 3, "by how much the reward of a response judged better must lead", low=0)
    margin_slightly_better: float = setting(1 / 3, "the same where it was judged slightly better", low=0)
    ties: str = setting(
        "davidson",
        "how rows of strength tie are learned from: Davidson's or Rao and Kupper's model, or half a vote for each",
        choices=("davidson", "rao_kupper", "half"),
    )
    group_responses: int = setting(
        9, "rows of one prompt that rank the same responses are one example of up to so many responses", low=2
    )
    heads: int = setting(1, "an ensemble of heads on one trunk; their disagreement is the reward's uncertainty", low=1)
    criteria_weight: float = setting(0.0, "above 0: a head per criterion, whose losses count so much", low=0)
    normalize: bool = setting(True, "scale rewards to standard deviation 1 over the training responses")


@dataclass(frozen=True, kw_only=True)
class PairLossConfig(TrainingConfig):
    """What dpo and online_dpo share: the loss of a pair."""

    loss: str = setting("dpo", "which objective of pairs", choices=("dpo", "ipo", "simpo"))
    beta: float = setting(0.1, "how dear it is to leave the reference; of simpo the scale of its reward", low=1e-6)
    label_smoothing: float = setting(0.0, "share of the labels taken to be wrong (cDPO)", low=0, high=0.5)
    sft_weight: float = setting(0.0, "adds so much of the chosen responses' loss per token as in sft", low=0)
    gamma: float = setting(0.5, "of simpo only: the lead in reward that every pair must reach", low=0)
    learning_rate: float = setting(1e-6, "at its peak", low=0)
    sample_prompts: int = setting(4, "prompts answered before and after training, to look at", low=0)


@dataclass(frozen=True, kw_only=True)
class PreferenceConfig(PairLossConfig):
    """DPO, IPO or SimPO: the policy learns from judged pairs directly (Rafailov et al. 2023)."""

    data: str = setting(help="a file of preferences")
    reference: str | None = setting(None, "the frozen model to stay close to; none takes the model itself as it starts")
    margin_better: float = setting(0.0, "the lead in reward that a response judged better must reach", low=0)
    margin_slightly_better: float = setting(0.0, "the same where it was judged slightly better", low=0)
    sample_tokens: int = setting(64, "longest of those answers, in tokens", low=1)


@dataclass(frozen=True, kw_only=True)
class OnlinePreferenceConfig(RewardSettings, PairLossConfig):
    """Online DPO: in rounds, on pairs of the best and the worst of the policy's own answers."""

    prompts: str = setting(help="a file of prompts")
    rounds: int = setting(3, "times that the policy is sampled and trained on pairs of its own responses", low=1)
    prompts_per_round: int | None = setting(None, "prompts of a round, taken in turn; none takes all", low=1)
    samples: int = setting(8, "responses drawn for each prompt", low=2)
    max_tokens: int = setting(64, "longest response, in tokens", low=1)
    temperature: float = setting(1.0, "of sampling", low=0.01)
    heldout: str = setting("0", "has no use here, since every round makes its own pairs")

    def check(self) -> None:
        super().check()
        if self.heldout_share() != 0:
            raise ConfigError("online_dpo holds nothing out, since every round makes its own pairs: leave heldout=0")
