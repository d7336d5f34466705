"""bfloat16 arithmetic with float32 weights: while it computes, a model's parameters are bfloat16 copies of them.

Autocast would cast every weight and every activation again in each part of a batch, and pass the residual stream in
float32; here a weight is cast once an optimizer step, and activations stay in bfloat16. What must be exact stays exact:
gradients of a batch's parts are added up in float32, the optimizer sees nothing else, and norms, softmax, losses and
reward heads compute in float32 as ever.
"""

import contextlib
from collections.abc import Iterable, Iterator

import torch
from transformers import PreTrainedModel

from training.logprobs import trunk_of


def in_float32(head: torch.nn.Module, hidden: torch.Tensor) -> torch.Tensor:
    """A head's output, whatever the trunk computed in: differences of rewards are small beside rewards.

    A head on top of a trunk is one number a token, so it costs nothing to compute exactly.
    """
    with torch.autocast(hidden.device.type, enabled=False):
        return head(hidden.float())


class MasterWeights:
    """The float32 weights of a module some of whose parameters are bfloat16 copies, until `restore`.

    `named_parameters` are the module's, with the float32 weight in a copy's place: what an optimizer and a checkpoint
    want. A backward pass leaves its gradients there.
    """

    def __init__(self, module: torch.nn.Module, halved: Iterable[torch.nn.Parameter]):
        self.module = module
        self.masters: dict[torch.nn.Parameter, torch.nn.Parameter] = {}
        self.hooks = []
        for copy in halved:
            if copy.dtype != torch.float32:
                continue
            self.masters[copy] = torch.nn.Parameter(copy.data, requires_grad=copy.requires_grad)
            copy.data = copy.data.bfloat16()
            if copy.requires_grad:
                self.hooks.append(copy.register_post_accumulate_grad_hook(self._hand_over))

    def named_parameters(self) -> Iterator[tuple[str, torch.nn.Parameter]]:
        for name, parameter in self.module.named_parameters():
            yield name, self.masters.get(parameter, parameter)

    def parameters(self) -> Iterator[torch.nn.Parameter]:
        return (parameter for _, parameter in self.named_parameters())

    @torch.no_grad()
    def spread(self) -> None:
        """Copy the weights, changed by the optimizer or a checkpoint, to where they compute."""
        trained = [(copy, master) for copy, master in self.masters.items() if master.requires_grad]
        if trained:
            torch._foreach_copy_(*map(list, zip(*trained, strict=True)))

    def restore(self) -> None:
        """The module computes with its float32 weights again."""
        for hook in self.hooks:
            hook.remove()
        for copy, master in self.masters.items():
            copy.data, copy.grad = master.data, None

    def _hand_over(self, copy: torch.nn.Parameter) -> None:
        master = self.masters[copy]
        if master.grad is None:
            master.grad = copy.grad.float()
        else:
            master.grad += copy.grad
        copy.grad = None


def halvable(module: torch.nn.Module) -> Iterator[torch.nn.Parameter]:
    """Of every language model in it the trunk and the vocabulary's head; heads on top of a trunk stay as they are."""
    for model in module.modules():
        if not isinstance(model, PreTrainedModel) or not hasattr(model, model.base_model_prefix):
            continue
        yield from trunk_of(model).parameters()
        if model.get_output_embeddings() is not None:
            yield from model.get_output_embeddings().parameters()


def halve(module: torch.nn.Module) -> None:
    """A module that is not trained: computing in bfloat16 from here on, its float32 weights are let go."""
    for parameter in dict.fromkeys(halvable(module)):
        parameter.data = parameter.data.bfloat16()


@contextlib.contextmanager
def halved(module: torch.nn.Module, enabled: bool = True):
    """Inside, the module computes in bfloat16; yields its MasterWeights, or the module itself where not `enabled`."""
    if not enabled:
        yield module
        return
    masters = MasterWeights(module, dict.fromkeys(halvable(module)))
    try:
        yield masters
    finally:
        masters.restore()
