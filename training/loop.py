"""The optimizer loop that sft, reward and preference share: batches, gradients, curves, checkpoints, stopping.

An optimizer batch is `batch_size` examples drawn at random, whatever fits into memory at once: it is computed in parts
of at most `tokens_per_batch` tokens, spread over the processes, and every part's loss is divided by the weight of the
whole batch. So the gradient is the batch's own, however it was split.
"""

import contextlib
import dataclasses
import math
import random
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch.distributed.tensor import DTensor

from training import checkpoints, stopping
from training.batching import Batch, Example, collate, plan_batches, token_cost
from training.config import TrainingConfig
from training.errors import TrainingError, is_out_of_memory
from training.events import EventLog
from training.mixed_precision import MasterWeights, halved
from training.runtime import Runtime
from training.sharding import sharded

FAST_RATE = 0.02
"""Peak learning rate of single numbers, which at a network's rate would stay where they began."""


class Objective(torch.nn.Module, ABC):
    """What the loop minimises: Σ loss / Σ weight over the examples of an optimizer batch.

    Parameters named in `fast` are single numbers on a scale of their own, learned at `FAST_RATE`.
    """

    fast: tuple[str, ...] = ()

    @abstractmethod
    def weight(self, example: Example) -> float:
        """The example's share of the denominator: its tokens, or its weight as a pair."""

    @abstractmethod
    def forward(self, batch: Batch) -> tuple[torch.Tensor, dict[str, tuple[torch.Tensor, torch.Tensor | float]]]:
        """The weighted sum of losses, and per further curve a sum and what to divide it by."""


class Means:
    """Averages over steps and processes, kept on the device as sums and weights until somebody looks."""

    def __init__(self, device: torch.device):
        self.device = device
        self.sums: dict[str, torch.Tensor] = {}

    def add(self, name: str, total: torch.Tensor, weight: torch.Tensor | float, factor: float = 1.0) -> None:
        pair = torch.stack([total.detach().double(), torch.as_tensor(weight, device=self.device).double()])
        self.sums[name] = self.sums.get(name, 0) + factor * pair

    def over_processes(self, runtime: Runtime) -> tuple[list[str], torch.Tensor]:
        """The names, the same in every process, and of each its sum and weight over all processes: (names, 2)."""
        names = sorted(self.sums)
        if not names:
            return [], torch.zeros(0, 2)
        return names, runtime.summed(torch.stack([self.sums[name] for name in names]))

    def values(self, runtime: Runtime) -> dict[str, float]:
        """The one place where the device is waited for. A mean over nothing is left out."""
        names, sums = self.over_processes(runtime)
        return {name: total / weight for name, (total, weight) in zip(names, sums.tolist(), strict=True) if weight}


@dataclass
class Trainer:
    """Minimises an objective over examples. `run` may be called once.

    With `recipe` it is a run of its own: it writes the `start` event and checkpoints, and goes on from one. Without, it
    is a piece of another recipe's run, whose curves it continues from step `first_step` of `run_total`.
    """

    objective: Objective
    examples: Sequence[Example]
    config: TrainingConfig
    runtime: Runtime
    log: EventLog
    pad_id: int
    shared: bool
    heldout: Sequence[Example] = ()
    recipe: str | None = None
    first_step: int = 0
    run_total: int | None = None

    def run(self) -> dict[str, float]:
        """The last metrics, held-out ones included.

        Raises TrainingError (loss not finite, out of memory) and Cancelled (SIGTERM, after a checkpoint).
        """
        config, runtime = self.config, self.runtime
        self.costs = [token_cost(example, self.shared) for example in self.examples]
        self.total = total_steps(len(self.examples), config)
        with contextlib.ExitStack() as arrangement:
            # `model` computes, `weights` names what the optimizer changes and checkpoints keep.
            self.model = self.weights = self.evaluated = self.objective
            if config.sharding == "fsdp":
                self.model = self.weights = self.evaluated = arrangement.enter_context(sharded(self.objective, runtime))
            elif runtime.processes > 1:
                self.model = runtime.accelerator.prepare_model(self.objective)
            else:
                self.weights = arrangement.enter_context(halved(self.objective, runtime.halves_weights))
            latest = self._optimize()
            if self.heldout:
                latest |= self._evaluate()
        self.objective.eval()
        return latest

    def _optimize(self) -> dict[str, float]:
        """All steps; the last metrics."""
        config, runtime = self.config, self.runtime
        self.optimizer = make_optimizer(self.weights, config, fast=self.objective.fast)
        self.best: dict = {}
        self.step = self._resume() if self.recipe else 0
        self.model.train()
        window, tokens, started, latest = Means(runtime.device), 0, time.monotonic(), {}
        with stopping.deferred():
            for indices in batches_of_run(self.costs, config, self.step):
                learning_rate = self._set_learning_rate()
                grad_norm = self._accumulate_gradients(indices, window)
                self._update()
                self.step += 1
                self.log.step = self.first_step + self.step
                tokens += sum(self.costs[index] for index in indices)

                if self.step % config.log_every == 0 or self.step == self.total:
                    latest = window.values(runtime)
                    speed, started = tokens / (time.monotonic() - started), time.monotonic()
                    latest |= {"learning_rate": learning_rate, "grad_norm": grad_norm, "tokens_per_second": speed}
                    self._log(latest)
                    window, tokens = Means(runtime.device), 0
                if self._due_to_save() or self.step == self.total:
                    self._refuse_ruined_weights(indices)
                self._evaluate_or_save()
                if runtime.any(stopping.requested()):
                    if self.recipe:
                        self._save()
                    raise stopping.Cancelled
        return latest

    def _update(self) -> None:
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        self._spread()

    def _spread(self) -> None:
        if isinstance(self.weights, MasterWeights):
            self.weights.spread()

    def _resume(self) -> int:
        resumed = checkpoints.load_newest(self.config.output) if self.config.resume else None
        step = 0
        if resumed is not None:
            tensors, state = resumed
            checkpoints.restore_training(self.weights, self.optimizer, tensors, rank=self.runtime.rank)
            self._spread()
            step, self.best = state["step"], state["best"]
        self.log.start(self.recipe, device=str(self.runtime.device), total=self.total, resumed_from=step or None)
        return step

    def _set_learning_rate(self) -> float:
        learning_rate = learning_rate_at(self.step, self.total, self.config)
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate * group["scale"]
        return learning_rate

    def _accumulate_gradients(self, indices: list[int], window: Means) -> float:
        """Gradients of one optimizer batch, clipped; their norm before that. Raises TrainingError if not finite."""
        runtime, config = self.runtime, self.config
        batch_weight = sum(self.objective.weight(self.examples[index]) for index in indices)
        if batch_weight == 0:
            return 0.0
        parts = split(indices, self.costs, config.tokens_per_batch, runtime.processes, self.shared)
        losses: list[tuple[torch.Tensor, Batch]] = []
        for part, counts, last in own_turns(parts, runtime):
            batch = self._collate(self.examples, part)
            with self._exchange_gradients(last), self._memory_errors(batch, f"step {self.step + 1}"):
                with self._arithmetic():
                    loss, metrics = self.model(batch)
                # Gradients are averaged over the processes, and each holds only its share of the sum.
                (loss * (counts * runtime.processes / batch_weight)).backward()
            losses.append((loss.detach(), batch))
            self._count(window, self.examples, part, loss, metrics, counts)
        trained = [parameter for parameter in self.weights.parameters() if parameter.requires_grad]
        norm = torch.nn.utils.clip_grad_norm_(trained, config.max_grad_norm or math.inf)
        norm = float(norm.full_tensor() if isinstance(norm, DTensor) else norm)
        if not math.isfinite(norm):
            self._refuse_not_finite(losses)
        return norm

    def _arithmetic(self):
        """Where the weights are bfloat16 copies nothing is left to cast."""
        return contextlib.nullcontext() if isinstance(self.weights, MasterWeights) else self.runtime.autocast()

    def _exchange_gradients(self, now: bool):
        """Gradients of a batch's parts stay with their process until the last part."""
        if self.config.sharding == "fsdp":
            self.model.set_requires_gradient_sync(now)
        elif self.runtime.processes > 1 and not now:
            return self.runtime.accelerator.no_sync(self.model)
        return contextlib.nullcontext()

    def _evaluate_or_save(self) -> None:
        config, last = self.config, self.step == self.total
        better = False
        if config.evaluate_every and self.step % config.evaluate_every == 0 and self.heldout and not last:
            loss = self._evaluate()["loss_heldout"]
            better = loss < self.best.get("loss_heldout", math.inf)
            if better:
                self.best = {"step": self.step, "loss_heldout": loss}
        if self.recipe and (self._due_to_save() or better):
            self._save()

    def _due_to_save(self) -> bool:
        return bool(self.config.checkpoint_every) and self.step % self.config.checkpoint_every == 0

    def _evaluate(self) -> dict[str, float]:
        """Means over the held-out examples, without gradients."""
        costs = [token_cost(example, self.shared) for example in self.heldout]
        means = Means(self.runtime.device)
        self.evaluated.eval()
        with torch.no_grad():
            for part, counts, _ in own_turns(plan_batches(costs, self.config.tokens_per_batch), self.runtime):
                batch = self._collate(self.heldout, part)
                with self._memory_errors(batch, "the evaluation"), self._arithmetic():
                    loss, metrics = self.evaluated(batch)
                self._count(means, self.heldout, part, loss, metrics, counts)
        self.evaluated.train()
        values = {f"{name}_heldout": value for name, value in means.values(self.runtime).items()}
        if not math.isfinite(values["loss_heldout"]):
            raise TrainingError(
                f"the held-out loss is not finite after step {self.step}; earlier checkpoints are kept. "
                "A lower learning_rate may help"
            )
        self._log(values)
        return values

    def _count(self, means: Means, examples, part: list[int], loss, metrics, counts: int) -> None:
        means.add("loss", loss, sum(self.objective.weight(examples[index]) for index in part), counts)
        for name, (total, weight) in metrics.items():
            means.add(name, total, weight, counts)

    def _save(self) -> None:
        tensors = checkpoints.training_tensors(self.weights, self.optimizer)
        tensors |= checkpoints.random_tensors_of_others(self.runtime.processes)
        if self.runtime.is_main:
            state = {
                "config": dataclasses.asdict(self.config),
                "best": self.best,
                "best_step": self.best.get("step"),
                "bf16": self.runtime.bf16,
            }
            path = checkpoints.save(self.config.output, self.step, tensors, state, keep=self.config.keep_checkpoints)
            self.log.checkpoint(path)

    def _log(self, values: dict[str, float]) -> None:
        self.log.metrics(self.first_step + self.step, self.run_total or self.total, **values)

    def _collate(self, examples: Sequence[Example], part: list[int]) -> Batch:
        chosen = [examples[index] for index in part]
        return collate(chosen, self.pad_id, shared=self.shared, device=self.runtime.device)

    def _refuse_not_finite(self, losses: list[tuple[torch.Tensor, Batch]]) -> None:
        bad = [batch for loss, batch in losses if not math.isfinite(float(loss))]
        of_loss = [index for batch in bad or [batch for _, batch in losses] for index in batch.indices]
        raise TrainingError(
            f"the {'loss' if bad else 'gradient'} is not finite at step {self.step + 1}, in a batch of the data's rows "
            f"{_named_rows(of_loss)}; earlier checkpoints are kept. A lower learning_rate may help"
        )

    def _refuse_ruined_weights(self, indices: list[int]) -> None:
        """Where nothing more is computed with the weights: else the next step's loss and gradient would tell.

        A norm that float32 cannot hold counts too: norm layers turn weights of 1e30 into a finite loss again.
        """
        norm = torch.nn.utils.get_total_norm([parameter.detach() for parameter in self.weights.parameters()])
        if not math.isfinite(float(norm.full_tensor() if isinstance(norm, DTensor) else norm)):
            raise TrainingError(
                f"the weights are not finite after step {self.step}, on a batch of the data's rows "
                f"{_named_rows([self.examples[index].index for index in indices])}; earlier checkpoints are kept. "
                "A lower learning_rate may help"
            )

    @contextlib.contextmanager
    def _memory_errors(self, batch: Batch, where: str):
        try:
            yield
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            raise TrainingError(
                f"out of memory at {where} on a batch of {batch.tokens} tokens: lower "
                f"tokens_per_batch={self.config.tokens_per_batch} (or max_length={self.config.max_length})"
            ) from error


def total_steps(n_examples: int, config: TrainingConfig) -> int:
    steps = config.epochs * math.ceil(n_examples / config.batch_size)
    return min(steps, config.max_steps or steps)


def batches_of_run(costs: Sequence[int], config: TrainingConfig, first_step: int = 0) -> Iterator[list[int]]:
    """The examples' indices of every optimizer batch from `first_step` on, in an order that seed and epoch decide.

    The very first batch is the one with the dearest example, so that running out of memory shows at once.
    """
    size = config.batch_size
    steps_per_epoch = math.ceil(len(costs) / size)
    order, epoch_of_order = [], None
    for step in range(first_step, total_steps(len(costs), config)):
        epoch, number = divmod(step, steps_per_epoch)
        if epoch != epoch_of_order:
            order, epoch_of_order = list(range(len(costs))), epoch
            random.Random(f"{config.seed}/{epoch}").shuffle(order)
            if epoch == 0:
                start = order.index(costs.index(max(costs))) // size * size
                order[:size], order[start : start + size] = order[start : start + size], order[:size]
        yield order[number * size : (number + 1) * size]


def split(indices: Sequence[int], costs: Sequence[int], budget: int, processes: int, shared: bool) -> list[list[int]]:
    """An optimizer batch in parts within the token budget: packed rows evenly filled, padded rows of like lengths."""
    if not shared:
        chosen = [costs[index] for index in indices]
        if processes > 1:  # what one process could compute at once may be spread over them
            budget = min(budget, math.ceil(sum(chosen) / processes))
        return [[indices[place] for place in part] for part in plan_batches(chosen, budget)]
    number = processes * math.ceil(sum(costs[index] for index in indices) / (budget * processes))
    while True:
        parts: list[list[int]] = [[] for _ in range(min(number, len(indices)))]
        loads = [0] * len(parts)
        for index in sorted(indices, key=lambda index: -costs[index]):
            lightest = loads.index(min(loads))
            parts[lightest].append(index)
            loads[lightest] += costs[index]
        if max(loads) <= budget or number >= len(indices):
            return parts
        number += processes


def own_turns(parts: list[list[int]], runtime: Runtime) -> Iterator[tuple[list[int], int, bool]]:
    """(part, whether it counts: 1 or 0, whether it is the last) for each of this process's turns.

    A process without a part left goes along with one that counts nothing, since all exchange gradients and sums.
    """
    turns = math.ceil(len(parts) / runtime.processes)
    for turn in range(turns):
        mine = turn * runtime.processes + runtime.rank
        counts = mine < len(parts)
        yield parts[mine if counts else 0], int(counts), turn == turns - 1


def make_optimizer(weights, config: TrainingConfig, *, fast: Sequence[str] = ()) -> torch.optim.AdamW:
    """AdamW on what is trained; weight decay on matrices only (norms, biases and single numbers keep their size)."""
    trained = [(name, parameter) for name, parameter in weights.named_parameters() if parameter.requires_grad]
    slow = [parameter for name, parameter in trained if name not in fast]
    groups = [
        {"params": [p for p in slow if p.dim() >= 2], "weight_decay": config.weight_decay, "scale": 1.0},
        {"params": [p for p in slow if p.dim() < 2], "weight_decay": 0.0, "scale": 1.0},
        {
            "params": [parameter for name, parameter in trained if name in fast],
            "weight_decay": 0.0,
            "scale": FAST_RATE / config.learning_rate if config.learning_rate else 0.0,
        },
    ]
    return torch.optim.AdamW(
        [group for group in groups if group["params"]],
        lr=config.learning_rate,
        betas=(0.9, config.adam_beta2),
        fused=True,
    )


def learning_rate_at(step: int, total: int, config: TrainingConfig) -> float:
    """At the step numbered from 0: a straight rise over the warm-up, then constant, a line or half a cosine to zero."""
    warmup = math.ceil(config.warmup * total) if config.warmup else 0
    if step < warmup:
        return config.learning_rate * (step + 1) / warmup
    done = (step - warmup) / max(1, total - warmup)
    factor = {"constant": 1.0, "linear": 1 - done, "cosine": (1 + math.cos(math.pi * done)) / 2}[config.schedule]
    return config.learning_rate * factor


def _named_rows(indices: Sequence[int]) -> str:
    """Numbers of lines of the data, from 1; the first twenty."""
    rows = sorted(index + 1 for index in indices)
    return ", ".join(map(str, rows[:20])) + (f" and {len(rows) - 20} more" if len(rows) > 20 else "")
