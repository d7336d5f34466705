"""Fully sharded training (FSDP2): every process keeps its share of weights, gradients and optimizer state only."""

import contextlib
import copy

import torch
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from transformers import PreTrainedModel

from training.runtime import Runtime


@contextlib.contextmanager
def sharded(module: torch.nn.Module, runtime: Runtime):
    """Yields the module's sharded form. When it is left without an error, the module has the trained weights.

    Meanwhile the module itself is empty. Each block of a language model is gathered for its own turn and let go again,
    what lies outside the blocks (embedding, head) for a whole forward or backward pass.
    """
    shards = copy.deepcopy(module)
    for parameter in module.parameters():
        parameter.data = parameter.data.new_empty(0)
    mesh = init_device_mesh(runtime.device.type, (runtime.processes,))
    for block in _blocks(shards):
        fully_shard(block, mesh=mesh)
    fully_shard(shards, mesh=mesh, reshard_after_forward=True)
    yield shards
    with torch.no_grad():
        for parameter, shard in zip(module.parameters(), shards.parameters(), strict=True):
            parameter.data = shard.full_tensor()


def _blocks(module: torch.nn.Module) -> list[torch.nn.Module]:
    """The layers that a language model repeats, by the names that its architecture gives them."""
    names = {
        name
        for model in module.modules()
        if isinstance(model, PreTrainedModel)
        for name in getattr(model, "_no_split_modules", None) or ()
    }
    return [block for block in module.modules() if type(block).__name__ in names]
