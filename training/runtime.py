"""Where a run computes: device, precision, number of processes and random numbers, by accelerate."""

import functools
import random
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import TypeVar

import numpy
import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from accelerate.utils import InitProcessGroupKwargs, broadcast_object_list, gather_object

from training import checkpoints, failures
from training.config import BaseConfig, ConfigError
from training.events import EventLog

T = TypeVar("T")

# Tensors are exchanged together up to about this many bytes, since a small message costs as much as a larger one.
_BUCKET = 32 << 20

# How long a process waits for the others, whose share of a round may take long: judges that are asked, programs that
# are run. One that fails is noticed at once, since whoever launched them then ends them all.
_PATIENCE = timedelta(hours=6)


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

    def dealt(self, count: int, compute: Callable[[list[int]], list[T]]) -> list[T]:
        """What `compute` gives for the places 0 … count − 1: each process does its share of them, and all get all.

        It takes some of the places and gives a result for each. An error in one process is raised in all of them: the
        others would wait for its share for ever.
        """
        if self.processes == 1:
            return compute(list(range(count)))
        places = list(range(count)[self.rank :: self.processes])
        share: list[T] = []
        own_error = told = None
        try:
            share = compute(places) if places else []
        except Exception as error:
            own_error, told = error, failures.that_can_be_sent(error)
        results: list = [None] * count
        for rank, (of_process, error) in enumerate(gather_object([(share, told)])):
            if error:
                raise own_error or error
            results[rank :: self.processes] = of_process
        return results

    def any(self, flag: bool) -> bool:
        """Whether it is so in one of the processes: each may be told to stop a step sooner than the others."""
        return flag if self.processes == 1 else bool(self.summed(torch.tensor(float(flag), device=self.device)))

    def summed(self, tensor: torch.Tensor) -> torch.Tensor:
        """Its sum over the processes, in each of which it is something else."""
        return self.accelerator.reduce(tensor, "sum") if self.processes > 1 else tensor

    @torch.no_grad()
    def add_up(self, tensors: Iterable[torch.Tensor]) -> None:
        """Each tensor becomes, in place, its sum over the processes."""
        if self.processes > 1:
            for bucket in _buckets(tensors):
                _exchange(bucket, torch.distributed.all_reduce)

    @torch.no_grad()
    def take_from_main(self, tensors: Iterable[torch.Tensor]) -> None:
        """Each tensor becomes, in place, what it is in the first process."""
        if self.processes > 1:
            for bucket in _buckets(tensors):
                _exchange(bucket, functools.partial(torch.distributed.broadcast, src=0))

    def wait_for_others(self) -> None:
        self.accelerator.wait_for_everyone()

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
    accelerator = Accelerator(cpu=use_cpu, kwargs_handlers=[InitProcessGroupKwargs(timeout=_PATIENCE)])
    if getattr(config, "sharding", "none") == "fsdp" and accelerator.num_processes == 1:
        raise ConfigError("sharding=fsdp spreads a model over processes, and this is one: use accelerate launch")
    bf16 = config.precision == "bf16"
    if config.precision == "auto":
        # A run that goes on must round as it did before, however fast the machine happens to be today.
        begun = checkpoints.newest_state(config.output).get("bf16") if config.resume else None
        # Several processes, perhaps on unlike machines, have to agree.
        bf16 = Runtime(accelerator, False).by_main(
            lambda: bf16_pays(accelerator.device.type) if begun is None else begun
        )
        log.message(f"computing in {'bfloat16' if bf16 else 'float32'} on {accelerator.device}")
    return Runtime(accelerator, bf16)


def _buckets(tensors: Iterable[torch.Tensor]) -> Iterator[list[torch.Tensor]]:
    """The tensors in order, as many together as are exchanged at once."""
    bucket: list[torch.Tensor] = []
    for tensor in tensors:
        if bucket and sum(one.nbytes for one in bucket) + tensor.nbytes > _BUCKET:
            yield bucket
            bucket = []
        bucket.append(tensor)
    if bucket:
        yield bucket


def _exchange(bucket: list[torch.Tensor], collective: Callable[[torch.Tensor], object]) -> None:
    """The collective's work on all tensors of the bucket at once, in place."""
    flat = torch.cat([tensor.flatten() for tensor in bucket]) if len(bucket) > 1 else bucket[0].flatten()
    collective(flat)
    for tensor, exchanged in zip(bucket, flat.split([tensor.numel() for tensor in bucket]), strict=True):
        tensor.copy_(exchanged.view_as(tensor))


def seed_everything(seed: int) -> None:
    random.seed(seed)
    numpy.random.seed(seed % 2**32)
    torch.manual_seed(seed)


@functools.cache
def bf16_pays(device_type: str) -> bool:
    """Measured: bfloat16 must multiply matrices 1.5 times as fast as float32 to be worth its casts and its rounding."""
    times = {torch.float32: [], torch.bfloat16: []}
    for _ in range(8):  # alternating, and the best of many, so that another program's load meets both alike
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
