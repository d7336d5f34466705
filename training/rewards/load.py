"""From settings to sources that score: the one place that knows which class a kind of source is."""

from training.config import ConfigError
from training.events import EventLog
from training.mixed_precision import halve
from training.rewards import spec
from training.rewards.code_tests import CodeTestsSource
from training.rewards.combine import Binary, Rewards, Weighted
from training.rewards.functions import FunctionSource
from training.rewards.judge import JudgeSource, load_judge
from training.rewards.math_answer import MathAnswerSource
from training.rewards.model import TOKENS_PER_BATCH, RewardModelSource
from training.rewards.settings import RewardSettings
from training.rewards.source import RewardSource
from training.rewards.text_rules import JSONSource, LengthPenaltySource, MaxLengthSource, RegexSource
from training.runtime import Runtime


def load_rewards(config: RewardSettings, machine: Runtime, log: EventLog, *, tokenizer=None, trunk=None) -> Rewards:
    """All sources of the run; `tokenizer`, the policy's, counts tokens. Raises ConfigError naming the source.

    A reward model that is low-rank updates of the language model `trunk` is computed over its weights.
    """
    tokens_per_batch = getattr(config, "tokens_per_batch", TOKENS_PER_BATCH)

    def load(name: str, source: spec.Source) -> RewardSource:
        return _load(name, source, machine, log, tokenizer, tokens_per_batch, trunk)

    return Rewards(
        {name: Weighted(load(name, source), source.weight) for name, source in config.reward_sources().items()},
        machine,
        log=log,
        judges={name: Binary(load(name, source), source.threshold) for name, source in config.judge_sources().items()},
        on_error=config.on_reward_error,
    )


def _load(
    name: str, source: spec.Source, machine: Runtime, log, tokenizer, tokens_per_batch: int, trunk
) -> RewardSource:
    place = {"device": machine.device, "tokens_per_batch": tokens_per_batch}
    try:
        match source:
            case spec.ModelReward():
                over_trunk = _over(trunk, source.path, log)
                rewards = RewardModelSource(source.path, model=over_trunk, **place)
                if machine.halves_weights and over_trunk is None:
                    halve(rewards.model)
                if tokenizer is not None and _reads_otherwise(rewards.tokenizer, tokenizer):
                    log.message(
                        f"the reward model {name} reads chats as other tokens than the policy writes: completions are "
                        "decoded, and encoded anew by its own tokenizer and chat template"
                    )
                return rewards
            case spec.MaxLength():
                return MaxLengthSource(source, tokenizer)
            case spec.LengthPenalty():
                return LengthPenaltySource(source, tokenizer)
            case spec.ValidJSON():
                return JSONSource(source)
            case spec.Regex():
                return RegexSource(source)
            case spec.MathAnswer():
                return MathAnswerSource(source)
            case spec.CodeTests():
                return CodeTestsSource(source, log)
            case spec.JudgeReward():
                return JudgeSource(source, load_judge(source, **place))
            case spec.FunctionReward():
                return FunctionSource(source)
    except ConfigError as error:
        raise ConfigError(f"the reward source {name}: {error}") from None
    raise AssertionError(f"no class for {source}")


def _reads_otherwise(one, other) -> bool:
    """Whether two tokenizers have different vocabularies or chat templates."""
    return one.get_vocab() != other.get_vocab() or one.chat_template != other.chat_template


def _over(trunk, source: str, log: EventLog):
    """The reward model over the policy's own weights, where it can be."""
    if trunk is None:
        return None
    from training.shared_trunk import reward_model_over

    model = reward_model_over(trunk, source)
    if model is None:
        log.message(f"the reward model {source} is no update of the policy's weights, so it is held whole beside them")
    return model
