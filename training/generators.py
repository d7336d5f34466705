"""What draws a round's completions from the policy: the policy itself, a copy that decodes faster, or vLLM.

A generator is brought up to date with `sync` after the policy has changed, and then samples. Its log-probabilities may
differ from the trainer's by rounding; how far is measured every round (`sampler_gap`).
"""

import copy
from typing import Protocol

import torch

from training.logprobs import trunk_of
from training.runtime import Runtime
from training.sampling import WIDE, Completion, sample


class Generator(Protocol):
    def sync(self) -> None:
        """Take over the policy's weights as they are now."""

    def sample(
        self, prompts: list[list[int]], *, n: int, max_new_tokens: int, temperature: float, seed: int
    ) -> list[list[Completion]]:
        """As `training.sampling.sample`: `n` completions of each prompt (token ids), in order."""


class TransformersGenerator:
    """The decode loop of `training.sampling`, over the policy itself or over a copy of it in half precision.

    Where the run computes in bfloat16, autocast would cast every weight again for every token: the copy's weights are
    cast once a round.
    """

    def __init__(self, policy, machine: Runtime, *, eos_id: int, pad_id: int, copied: bool | None = None):
        self.policy, self.machine, self.eos_id, self.pad_id = policy, machine, eos_id, pad_id
        self.copied = machine.bf16 if copied is None else copied
        self.model = _half_copy(policy, machine) if self.copied else policy

    @torch.no_grad()
    def sync(self) -> None:
        if self.copied:
            for mine, trained in zip(self.model.parameters(), self.policy.parameters(), strict=True):
                mine.copy_(trained)

    def sample(self, prompts, *, n, max_new_tokens, temperature, seed) -> list[list[Completion]]:
        with torch.autocast(self.machine.device.type, torch.bfloat16, enabled=self.machine.bf16 and not self.copied):
            return sample(
                self.model, prompts, n=n, max_new_tokens=max_new_tokens, eos_id=self.eos_id, pad_id=self.pad_id,
                temperature=temperature, seed=seed,
            )  # fmt: skip


def _half_copy(policy, machine: Runtime):
    model = copy.deepcopy(policy).requires_grad_(False).to(torch.bfloat16)
    trunk = trunk_of(model)
    kinds = set(getattr(trunk.config, "layer_types", None) or ["full_attention"])
    plain = kinds == {"full_attention"} and not getattr(trunk.config, "attn_logit_softcapping", None)
    if machine.device.type == "cpu" and plain and getattr(trunk, "_supports_attention_backend", False):
        model.set_attn_implementation(WIDE)
    return model
