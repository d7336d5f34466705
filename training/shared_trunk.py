"""Several models over one set of frozen weights, each with modules and low-rank updates of its own.

Policy, reference and value model of a policy-gradient run with `lora_rank` then need the memory of about one model.
Nothing has to be switched between them, as it would where one module holds all adapters.
"""

import copy

import torch
from peft import LoraConfig, get_peft_model, inject_adapter_in_model

from training.logprobs import trunk_of


def sharing(model):
    """A copy of the model whose parameters and buffers are the model's own tensors."""
    tensors = [*model.parameters(), *model.buffers()]
    return copy.deepcopy(model, {id(tensor): tensor for tensor in tensors})


def adapted(model, *, rank: int, alpha: float):
    """The language model with low-rank updates to train, which begin at zero, on all its linear layers but the head."""
    return get_peft_model(model, _lora(rank, alpha, task_type="CAUSAL_LM"))


class TrunkWithHead(torch.nn.Module):
    """A number at every token: the trunk of a language model with low-rank updates of its own, and a head from zero."""

    base_model_prefix = "model"

    def __init__(self, language_model, *, rank: int, alpha: float):
        super().__init__()
        trunk = trunk_of(language_model)
        self.config = trunk.config
        self.model = inject_adapter_in_model(_lora(rank, alpha), trunk)
        weight = next(trunk.parameters())
        self.score = torch.nn.Linear(self.config.hidden_size, 1, bias=False, device=weight.device)
        torch.nn.init.zeros_(self.score.weight)


def _lora(rank: int, alpha: float, **options) -> LoraConfig:
    return LoraConfig(r=rank, lora_alpha=alpha, lora_dropout=0.0, target_modules="all-linear", **options)
