"""A number for every completion, without gradients: in batches of like length, spread over the processes."""

from collections.abc import Callable, Sequence

import torch

from training.batching import Batch, Example, collate, plan_batches, token_cost
from training.config import TrainingConfig
from training.runtime import Runtime


@torch.no_grad()
def per_completion(
    function: Callable[[Batch], torch.Tensor],
    examples: Sequence[Example],
    config: TrainingConfig,
    runtime: Runtime,
    *,
    pad_id: int,
    shared: bool,
) -> torch.Tensor:
    """`function` of a batch → (its completions,), for all examples: (all completions,) float32 on the CPU, in order."""
    places = []
    for example in examples:
        first = places[-1].stop if places else 0
        places.append(range(first, first + len(example.completions)))
    values = torch.zeros(places[-1].stop if places else 0, device=runtime.device)
    costs = [token_cost(example, shared) for example in examples]
    for part in plan_batches(costs, config.tokens_per_batch)[runtime.rank :: runtime.processes]:
        batch = collate([examples[index] for index in part], pad_id, shared=shared, device=runtime.device)
        with runtime.autocast():
            of_batch = function(batch)
        values[[place for index in part for place in places[index]]] = of_batch.float()
    return runtime.accelerator.reduce(values, "sum").cpu()
