"""Log-probabilities under a frozen model: computed once, in batches of like length, and kept on disk under a hash."""

import hashlib
from collections.abc import Sequence
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from training.batching import Example
from training.config import TrainingConfig
from training.events import EventLog
from training.inference import per_completion
from training.logprobs import completion_logprobs, sum_per_completion
from training.mixed_precision import halved
from training.runtime import Runtime


def reference_logprobs(
    model,
    examples: Sequence[Example],
    config: TrainingConfig,
    runtime: Runtime,
    log: EventLog,
    *,
    pad_id: int,
    shared: bool,
) -> torch.Tensor:
    """log π_ref of each example's completions: (examples, completions each), float32, on the CPU.

    Every example has the same number of completions. Kept in config.output/cache, so that a resumed run reads them.
    """
    path = Path(config.output) / "cache" / f"reference-{_digest(model, examples, runtime)}.safetensors"
    if path.is_file():
        return load_file(path)["logprobs"]
    log.progress(0, 0, "reference log-probabilities")

    def total_logprob(batch):
        return sum_per_completion(completion_logprobs(model, batch), batch)

    with halved(model, runtime.halves_weights):
        table = per_completion(total_logprob, examples, config, runtime, pad_id=pad_id, shared=shared)
    table = table.view(len(examples), -1)
    if runtime.is_main:
        path.parent.mkdir(exist_ok=True)
        aside = path.with_suffix(".part")
        save_file({"logprobs": table}, aside)
        aside.replace(path)
    return table


def _digest(model, examples: Sequence[Example], runtime: Runtime) -> str:
    digest = hashlib.sha256(str(runtime.bf16).encode())
    for name, tensor in model.state_dict().items():
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().view(torch.uint8).numpy())
    for example in examples:
        digest.update(repr((example.prompt_ids, example.completions)).encode())
    return digest.hexdigest()[:32]
