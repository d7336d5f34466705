"""Where a run computes: device, precision, number of processes and random numbers, by accelerate."""

import functools
import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import numpy
import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from accelerate.utils import broadcast_object_list

from training import checkpoints
from training.config import BaseConfig, ConfigError
from training.events import EventLog

T = TypeVar("T")


@dataclass(frozen=True)
class Runtime:
    accelerator: Accelerator
    bf16: bool

    @property
    def device(self) -> torch.device:
        return self.accelerator.device

    @property
    def rank(self) -> int:
        return self.accelerator.process_index

    @property
    def processes(self) -> int:
        return self.accelerator.num_processes

    @property
    def is_main(self) -> bool:
        return self.accelerator.is_main_process

    @property
    def halves_weights(self) -> bool:
        """Whether training computes with bfloat16 copies of the weights (`training.mixed_precision`).

        Several processes exchange float32 gradients, and compute in bfloat16 by autocast instead.
        """
        return self.bf16 and self.processes == 1

    def by_main(self, compute: Callable[[], T]) -> T:
        """What the first process computes, for all of them: scores that a source might give differently each time."""
        values = [compute() if self.is_main else None]
        if self.processes > 1:
            broadcast_object_list(values)
        return values[0]

    def autocast(self):
        """Matrix products in bfloat16 where this run does so; the weights stay in float32."""
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.bf16)


def start(config: BaseConfig, log: EventLog) -> Runtime:
    """Seed everything and find the device. Safe to call again in one process."""
    if config.device == "cuda" and not torch.cuda.is_available():
        raise ConfigError("device=cuda, but torch finds no CUDA device here")
    seed_everything(config.seed)
    AcceleratorState._reset_state()
    use_cpu = config.device == "cpu" or not torch.cuda.is_available()
    accelerator = Accelerator(cpu=use_cpu)
    if getattr(config, "sharding", "none") == "fsdp" and accelerator.num_processes == 1:
        raise ConfigError("sharding=fsdp spreads a model over processes, and this is one: use accelerate launch")
    bf16 = config.precision == "bf16"
    if config.precision == "auto":
        # A run that goes on must round as it did before, however fast the machine happens to be today.
        begun = checkpoints.newest_state(config.output).get("bf16") if config.resume else None
        bf16 = bf16_pays(accelerator.device.type) if begun is None else begun
        log.message(f"computing in {'bfloat16' if bf16 else 'float32'} on {accelerator.device}")
    return Runtime(accelerator, bf16)


def seed_everything(seed: int) -> None:
    random.seed(seed)
    numpy.random.seed(seed % 2**32)
    torch.manual_seed(seed)


@functools.cache
def bf16_pays(device_type: str) -> bool:
    """Measured: bfloat16 must multiply matrices 1.5 times as fast as float32 to be worth its casts and its rounding."""
    times = {torch.float32: [], torch.bfloat16: []}
    for _ in range(3):  # alternating, so that another program's load meets both
        for dtype, seconds in times.items():
            seconds.append(_matmul_seconds(device_type, dtype))
    return min(times[torch.float32]) > 1.5 * min(times[torch.bfloat16])


def _matmul_seconds(device_type: str, dtype: torch.dtype) -> float:
    # Small on a CPU: one without bfloat16 units takes fifty times as long for it as for float32, here some 60 ms.
    size = 512 if device_type == "cpu" else 4096
    a, b = (torch.ones(size, size, dtype=dtype, device=device_type) for _ in range(2))
    (a @ b)[0, 0].item()  # reading a number waits for a GPU to finish
    begin = time.perf_counter()
    (a @ b)[0, 0].item()
    return time.perf_counter() - begin
