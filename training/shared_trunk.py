"""Several models over one set of frozen weights, each with modules and low-rank updates of its own.

Policy, reference, value and reward model of a policy-gradient run with `lora_rank` then need the memory of about one.
Nothing has to be switched between them, as it would where one module holds all adapters.
"""

import copy

import torch
from peft import LoraConfig, get_peft_model, inject_adapter_in_model

from training import adapters
from training.config import ConfigError
from training.logprobs import trunk_of
from training.models import load_config


def sharing(model):
    """A copy of the model whose parameters and buffers are the model's own tensors."""
    tensors = [*model.parameters(), *model.buffers()]
    return copy.deepcopy(model, {id(tensor): tensor for tensor in tensors})


def adapted(model, *, rank: int, alpha: float):
    """The language model with low-rank updates to train, which begin at zero, on all its linear layers but the head."""
    return get_peft_model(model, _lora(rank, alpha, task_type="CAUSAL_LM"))


def reward_model_over(model, source: str) -> "TrunkWithHead | None":
    """The reward model as updates of this language model's own weights; None if it was not trained on exactly them.

    Its scores are those of the merged model in `source`, up to rounding.
    """
    adapter = adapters.beside(source)
    if adapter is None or adapter.base != adapters.trunk_digest(model):
        return None
    reward_model = TrunkWithHead(sharing(model), rank=adapter.lora.r, alpha=adapter.lora.lora_alpha)
    reward_model.take(adapter)
    reward_model.config.reward_shift = getattr(load_config(source), "reward_shift", None)
    return reward_model.eval()


class TrunkWithHead(torch.nn.Module):
    """A number at every token: the trunk of a language model with low-rank updates of its own, and a head from zero."""

    base_model_prefix = "model"

    def __init__(self, language_model, *, rank: int, alpha: float):
        super().__init__()
        trunk = trunk_of(language_model)
        self.trunk_name = language_model.base_model_prefix
        self.config = trunk.config
        self.model = inject_adapter_in_model(_lora(rank, alpha), trunk)
        weight = next(trunk.parameters())
        self.score = torch.nn.Linear(self.config.hidden_size, 1, bias=False, device=weight.device)
        self.forget_head()

    @property
    def device(self) -> torch.device:
        return self.score.weight.device

    @torch.no_grad()
    def take(self, adapter: adapters.Adapter) -> None:
        """A reward model's updates and its head, trained over these weights."""
        own = {name: tensor for name, tensor in self.model.state_dict().items() if ".lora_" in name}
        updates = adapter.updates(self.trunk_name)
        if own.keys() != updates.keys():
            raise ConfigError("the reward model's adapter updates other layers than this trunk has")
        for name, tensor in own.items():
            tensor.copy_(updates[name])
        self.score.weight.copy_(adapter.head)

    def forget_head(self) -> None:
        """From here on 0 everywhere, on features that know what is good: how a value model begins."""
        torch.nn.init.zeros_(self.score.weight)


def _lora(rank: int, alpha: float, **options) -> LoraConfig:
    return LoraConfig(r=rank, lora_alpha=alpha, lora_dropout=0.0, target_modules="all-linear", **options)
