"""What draws a round's completions from the policy: the policy itself, a decoder over a copy of its weights, or vLLM.

A generator is brought up to date with `sync` after the policy has changed, and then samples. Its log-probabilities may
differ from the trainer's by rounding; how far is measured every round (`sampler_gap`).
"""

from collections.abc import Sequence
from typing import Protocol

import torch

from training.decoder import FusedDecoder
from training.errors import TrainingError, is_out_of_memory
from training.runtime import Runtime
from training.sampling import TOKENS_AT_ONCE, Completion, sample
from training.static_decoder import StaticDecoder


class Generator(Protocol):
    def sync(self) -> None:
        """Take over the policy's weights as they are now."""

    def sample(
        self, prompts: list[list[int]], *, n: int, max_new_tokens: int, temperature: float, seed: int,
        places: Sequence[int] | None = None,
    ) -> list[list[Completion]]:  # fmt: skip
        """As `training.sampling.sample`: `n` completions of each prompt (token ids), in order."""


class LocalGenerator:
    """The decode loop of `training.sampling`: over a fused decoder where the policy's architecture has one, over the
    policy's own forward otherwise.

    Where the run computes in bfloat16, autocast would cast every weight again for every token; a fused decoder's are
    cast once a round.
    """

    def __init__(
        self, policy, machine: Runtime, *, eos_id: int | Sequence[int], pad_id: int, tokens_at_once=TOKENS_AT_ONCE
    ):
        self.policy, self.machine, self.eos_id, self.pad_id = policy, machine, eos_id, pad_id
        self.tokens_at_once = tokens_at_once
        self.decoder = None
        if FusedDecoder.supports(policy):
            dtype = torch.bfloat16 if machine.bf16 else torch.float32
            if machine.device.type == "cuda":
                self.decoder = StaticDecoder(policy, dtype, capture=True)
            else:
                self.decoder = FusedDecoder(policy, dtype)

    def sync(self) -> None:
        if self.decoder is not None:
            self.decoder.sync()

    def sample(self, prompts, *, n, max_new_tokens, temperature, seed, places=None) -> list[list[Completion]]:
        autocast = self.machine.bf16 and self.decoder is None
        with torch.autocast(self.machine.device.type, torch.bfloat16, enabled=autocast):
            try:
                return sample(
                    self.policy, prompts, n=n, max_new_tokens=max_new_tokens, eos_id=self.eos_id, pad_id=self.pad_id,
                    temperature=temperature, seed=seed, decoder=self.decoder, places=places,
                    tokens_at_once=self.tokens_at_once,
                )  # fmt: skip
            except Exception as error:
                if not is_out_of_memory(error):
                    raise
                raise TrainingError("memory ran out in sampling: lower sampling_tokens, or max_tokens") from error
