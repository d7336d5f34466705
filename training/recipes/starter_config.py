"""What the starter recipe can be told. No torch, so that the site can check a run's settings."""

from dataclasses import dataclass

from training.config import BaseConfig, ConfigError, setting


@dataclass(frozen=True, kw_only=True)
class StarterConfig(BaseConfig):
    """A small policy from nothing, with a tokenizer of its own, to try everything on a CPU."""

    vocabulary: int = setting(2048, "tokens that the byte-level BPE learns, the 256 bytes included", low=300)
    hidden_size: int = setting(128, "width of the model", low=16)
    layers: int = setting(4, "depth of the model", low=1)
    heads: int = setting(4, "attention heads a layer", low=1)
    intermediate_size: int = setting(352, "width of each feed-forward layer", low=16)
    positions: int = setting(2048, "longest text in tokens that the model is made for", low=128)
    facts: int = setting(26000, "conversations with right and plain answers, read first: what the model knows", low=1)
    manners: int = setting(14000, "conversations with answers of every quality, read last: how it answers", low=1)
    batch_size: int = setting(32, "conversations an optimizer step", low=1)
    learning_rate: float = setting(3e-3, "at its peak", low=0)

    def check(self) -> None:
        if self.hidden_size % (2 * self.heads):
            raise ConfigError(
                f"hidden_size={self.hidden_size} must be a multiple of twice heads={self.heads}: "
                "rotary positions turn pairs of numbers in each head"
            )
