"""Checkpoints that are whole or absent: written aside, fsynced, renamed to OUTPUT/checkpoints/step-N.

One is a flat dictionary of tensors (weights, optimizer, random numbers) and a JSON object (position, settings, best).
"""

import dataclasses
import json
import os
import random
import shutil
from pathlib import Path

import numpy
import torch
from accelerate.utils import gather_object
from safetensors.torch import load_file, save_file

from training.config import BaseConfig, TrainingConfig
from training.events import EventLog
from training.files import fsync_tree, replace_directory, write_json
from training.run_directory import OutputTaken

TENSORS, STATE = "tensors.safetensors", "state.json"


def save(output: str | os.PathLike, step: int, tensors: dict[str, torch.Tensor], state: dict, *, keep: int) -> Path:
    """Write step-N, then delete all but the newest `keep` and the one that `state["best_step"]` names."""
    root = Path(output) / "checkpoints"
    root.mkdir(exist_ok=True)
    target, aside = root / f"step-{step}", root / f".step-{step}.part"
    for left_by_a_killed_run in root.glob(".step-*"):
        shutil.rmtree(left_by_a_killed_run, ignore_errors=True)
    try:
        aside.mkdir()
        save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, aside / TENSORS)
        write_json(aside / STATE, {"step": step, **state})
        fsync_tree(aside)
        replace_directory(aside, target)
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    steps = _steps(root)
    for old in set(steps[:-keep]) - {state.get("best_step")}:
        shutil.rmtree(root / f"step-{old}")
    return target


def load_newest(output: str | os.PathLike) -> tuple[dict[str, torch.Tensor], dict] | None:
    """(tensors on the CPU, state) of the newest checkpoint, or None where there is none."""
    state = newest_state(output)
    if not state:
        return None
    return load_file(Path(output) / "checkpoints" / f"step-{state['step']}" / TENSORS), state


def newest_state(output: str | os.PathLike) -> dict:
    """The state alone of the newest checkpoint; empty where there is none."""
    root = Path(output) / "checkpoints"
    steps = _steps(root)
    return json.loads((root / f"step-{steps[-1]}" / STATE).read_text(encoding="utf-8")) if steps else {}


def training_tensors(model, optimizer: torch.optim.Optimizer) -> dict[str, torch.Tensor]:
    """Trained weights, optimizer state and random number generators, whole (also of sharded parameters), on the CPU.

    `model`: whatever has the `named_parameters` that the optimizer changes.
    """
    tensors = {}
    for name, parameter in _trained(model):
        tensors[f"weights/{name}"] = _whole(parameter)
        for key, value in optimizer.state.get(parameter, {}).items():
            tensors[f"optimizer/{name}/{key}"] = _whole(torch.as_tensor(value))
    return tensors | {f"random/{name}": state for name, state in _random_states().items()}


def random_tensors_of_others(processes: int) -> dict[str, torch.Tensor]:
    """Random number generators of every process but the first, to go with its `training_tensors`. All must call it."""
    if processes == 1:
        return {}
    states = gather_object([_random_states()])
    return {f"random/{rank}/{name}": state for rank in range(1, len(states)) for name, state in states[rank].items()}


def _random_states() -> dict[str, torch.Tensor]:
    states = {"torch": torch.get_rng_state()}
    if torch.cuda.is_available():
        states["cuda"] = torch.cuda.get_rng_state()
    _, keys, position, *_ = numpy.random.get_state()
    states["numpy"] = torch.from_numpy(keys.astype(numpy.int64))
    states["numpy_position"] = torch.tensor(position)
    states["python"] = torch.tensor(random.getstate()[1])
    return states


def restore_training(model, optimizer: torch.optim.Optimizer, tensors: dict, *, rank: int = 0) -> None:
    """The inverse of `training_tensors`, in place; random numbers are those of the process `rank`, if it had some."""
    states: dict[str, dict] = {}
    for key, value in tensors.items():
        if key.startswith("optimizer/"):
            name, _, field = key.removeprefix("optimizer/").rpartition("/")
            states.setdefault(name, {})[field] = value
    with torch.no_grad():
        for name, parameter in _trained(model):
            parameter.copy_(_placed_like(tensors[f"weights/{name}"], parameter))
            # Steps are counted on the CPU except by fused kernels; the optimizer moves them where it wants them.
            optimizer.state[parameter] = {
                field: _placed_like(value, parameter) if value.dim() else value.clone()
                for field, value in states.get(name, {}).items()
            }
    if any(group.get("fused") for group in optimizer.param_groups):
        for parameter, state in optimizer.state.items():
            if "step" in state:
                state["step"] = state["step"].to(parameter.device)
    own = f"random/{rank}/"
    prefix = own if f"{own}torch" in tensors else "random/"
    torch.set_rng_state(tensors[f"{prefix}torch"])
    if torch.cuda.is_available() and f"{prefix}cuda" in tensors:
        torch.cuda.set_rng_state(tensors[f"{prefix}cuda"])
    keys = tensors[f"{prefix}numpy"].numpy().astype(numpy.uint32)
    numpy.random.set_state(("MT19937", keys, int(tensors[f"{prefix}numpy_position"])))
    random.setstate((3, tuple(tensors[f"{prefix}python"].tolist()), None))


def save_round(policy: torch.nn.Module, rounds_done: int, metrics: dict, config: TrainingConfig, log: EventLog) -> None:
    """The policy between two rounds of a recipe that samples, learns and samples again; `step` counts rounds."""
    tensors = {name: parameter.detach().cpu() for name, parameter in policy.named_parameters()}
    state = {"config": dataclasses.asdict(config), "metrics": metrics}
    log.checkpoint(save(config.output, rounds_done, tensors, state, keep=config.keep_checkpoints))


def resume_rounds(policy: torch.nn.Module, config: TrainingConfig) -> tuple[int, dict]:
    """(rounds done, their last metrics), the policy's weights restored from the newest checkpoint if there is one."""
    found = load_newest(config.output) if config.resume else None
    if found is None:
        return 0, {}
    tensors, state = found
    with torch.no_grad():
        for name, parameter in policy.named_parameters():
            parameter.copy_(tensors[name])
    return state["step"], state["metrics"]


# Settings that may differ between the run that wrote a checkpoint and the one that goes on from it: what is learned is
# the same whatever they are, and those of memory are what to change after it ran out.
_FREE = {
    "output", "resume", "device", "log_every", "evaluate_every", "checkpoint_every", "keep_checkpoints",
    "sample_prompts", "sample_every", "tokens_per_batch", "sampling_tokens", "vllm_memory",
}  # fmt: skip


def check_goes_on(config: BaseConfig) -> None:
    """Raise OutputTaken where the run that goes on from the newest checkpoint would not be the run that was begun.

    A setting that there was none of then (the checkpoint is of an earlier version) was what is now its default.
    """
    saved = newest_state(config.output).get("config") if config.resume else None
    if not saved:
        return
    current = dataclasses.asdict(config)
    saved = {field.name: field.default for field in dataclasses.fields(config)} | saved
    for name in sorted(saved.keys() - _FREE):
        if saved[name] != current.get(name):
            raise OutputTaken(
                f"the checkpoint here was made with {name}={saved[name]}, not {current.get(name)}: "
                "give the same setting, another --output, or resume=false to start afresh"
            )


def _steps(root: Path) -> list[int]:
    names = [path.name for path in root.glob("step-*")] if root.is_dir() else []
    return sorted(int(name.removeprefix("step-")) for name in names)


def _trained(model):
    """Names as the bare model has them, whatever wraps it for several processes."""
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            yield name.removeprefix("module."), parameter


def _whole(tensor: torch.Tensor) -> torch.Tensor:
    if hasattr(tensor, "full_tensor"):
        tensor = tensor.full_tensor()
    return tensor.detach().to("cpu", copy=True)


def _placed_like(whole: torch.Tensor, parameter: torch.Tensor) -> torch.Tensor:
    """On the parameter's device, and cut into its shards where it has some."""
    if hasattr(parameter, "full_tensor"):
        from torch.distributed.tensor import distribute_tensor

        return distribute_tensor(whole.to(parameter.device), parameter.device_mesh, parameter.placements)
    return whole.to(parameter.device)
