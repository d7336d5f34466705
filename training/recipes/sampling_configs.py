"""What rejection, best_of_n, generate, score and evaluate can be told. No torch."""

from dataclasses import dataclass

from training.config import BaseConfig, ConfigError, TrainingConfig, setting
from training.rewards.settings import RewardSettings


@dataclass(frozen=True, kw_only=True)
class GenerateConfig(BaseConfig):
    """A policy answers prompts, several different answers each."""

    model: str = setting(help="the policy that answers: a local directory or a hub id")
    prompts: str = setting(help="a file of prompts")
    samples: int = setting(2, "different responses wanted for each prompt", low=1)
    max_tokens: int = setting(128, "longest response, in tokens", low=1)
    temperature: float = setting(1.0, "of sampling; 0 takes the likeliest token each time", low=0)
    limit: int | None = setting(None, "answer only the first so many prompts", low=1)


@dataclass(frozen=True, kw_only=True)
class BestOfNConfig(RewardSettings, GenerateConfig):
    """The best of n answers to each prompt, by a reward."""

    samples: int = setting(16, "responses drawn for each prompt, of which the best is kept", low=1)
    tokens_per_batch: int = setting(8192, "tokens scored at once", low=1)


@dataclass(frozen=True, kw_only=True)
class RejectionConfig(RewardSettings, TrainingConfig):
    """Rejection sampling: the policy learns the best of its own answers (expert iteration)."""

    prompts: str = setting(help="a file of prompts")
    rounds: int = setting(1, "times that the policy is sampled, filtered and trained on what was kept", low=1)
    prompts_per_round: int | None = setting(None, "prompts of a round, taken in turn; none takes all", low=1)
    samples: int = setting(8, "responses drawn for each prompt", low=1)
    keep: str = setting(
        "per_prompt", "the best response of each prompt, or the best of all together", choices=("per_prompt", "overall")
    )
    keep_count: int | None = setting(None, "responses kept with keep=overall; none keeps one per prompt", low=1)
    max_tokens: int = setting(64, "longest response, in tokens", low=1)
    temperature: float = setting(1.0, "of sampling", low=0.01)
    heldout: str = setting("0", "share of the kept responses held out to evaluate on, or a file of demonstrations")
    sample_prompts: int = setting(4, "prompts answered before and after training, to look at", low=0)

    def check(self) -> None:
        super().check()
        if self.keep_count and self.keep == "per_prompt":
            raise ConfigError("keep_count is for keep=overall: keep=per_prompt keeps one response per prompt")


@dataclass(frozen=True, kw_only=True)
class ScoreConfig(RewardSettings):
    """A reward for every response of a file."""

    model: str | None = setting(None, "the reward model; reward_model by another name")
    data: str = setting(help="a file of comparisons, preferences, demonstrations or generated responses")
    tokens_per_batch: int = setting(8192, "tokens scored at once", low=1)

    def check(self) -> None:
        if self.model and self.reward_model:
            raise ConfigError("model and reward_model name the same thing here: give one of them")
        super().check()

    def reward_rows(self) -> list[dict]:
        model = [{"source": "model", "path": self.model}] if self.model else []
        return model + super().reward_rows()


@dataclass(frozen=True, kw_only=True)
class EvaluateConfig(RewardSettings):
    """How well a reward model agrees with judgments, or what a policy earns and how often it wins."""

    model: str = setting(help="a reward model, or a policy")
    data: str | None = setting(None, "preferences that a reward model is to agree with")
    prompts: str | None = setting(None, "prompts that a policy is to answer")
    against: str | None = setting(None, "another policy, to win against")
    max_tokens: int = setting(64, "longest answer, in tokens", low=1)
    temperature: float = setting(1.0, "of sampling; 0 takes the likeliest token each time", low=0)
    limit: int | None = setting(None, "take only the first so many rows", low=1)
    tokens_per_batch: int = setting(8192, "tokens scored at once", low=1)

    def needs_rewards(self) -> bool:
        return False  # a reward model is evaluated by itself
