"""The models of the policy-gradient loop, their optimizer, and where the loop stands: loaded, saved, resumed."""

import dataclasses
import math
from dataclasses import dataclass, field

import torch

from training import checkpoints
from training.batching import Batch
from training.errors import TrainingError
from training.events import EventLog
from training.generators import Generator, LocalGenerator
from training.logprobs import completion_hidden, supports_shared_prefix, trunk_of
from training.loop import Means, learning_rate_at
from training.mixed_precision import halve, in_float32
from training.models import end_ids, load_policy, load_reward_model, load_tokenizer
from training.monitors import Watched
from training.recipes.presets import PolicyGradientConfig
from training.rollouts import PromptStream, Rollout, RunningDeviation
from training.runtime import Runtime
from training.shared_trunk import TrunkWithHead, adapted, reward_model_over, sharing


@dataclass(frozen=True)
class Actors:
    """`policy` and `value` are trained. `value` is None where no value is learned, `reference` where nothing looks at
    the KL to it. All in eval mode: no dropout."""

    policy: torch.nn.Module
    reference: torch.nn.Module | None
    value: torch.nn.Module | None
    eos_id: int | tuple[int, ...]
    """what ends a completion, if several then each"""
    pad_id: int
    shared: bool
    """whether a prompt is computed once for its whole group, by all of them"""

    def trained(self) -> torch.nn.ModuleDict:
        models = {"policy": self.policy} | ({} if self.value is None else {"value": self.value})
        return torch.nn.ModuleDict(models)


@dataclass
class Round:
    """A round whose completions are there and whose update is under way."""

    rollout: Rollout
    means: Means
    """over the tokens of the optimizer steps done"""
    updates: int = 0
    """optimizer steps done"""
    over: bool = False
    """whether stop_kl has ended the update before its last step"""

    def metrics(self, machine: Runtime) -> dict[str, float]:
        return self.means.values(machine) | {"optimizer_steps": self.updates}


@dataclass
class Position:
    """Where the loop stands: all of its state besides weights and optimizer. `round` is None between two rounds."""

    step: int
    beta: float
    prompts: PromptStream
    deviation: RunningDeviation
    ptx: PromptStream
    watched: Watched = field(default_factory=Watched)
    round: Round | None = None


def load_actors(policy, config: PolicyGradientConfig, machine: Runtime, log: EventLog, tokenizer) -> Actors:
    """The models of a run whose policy is this language model; with lora_rank its weights serve all of them."""
    value, ends = None, end_ids(policy, tokenizer)
    reference = _load_reference(policy, config, machine) if config.needs_reference else None
    if config.lora_rank:
        lora = {"rank": config.lora_rank, "alpha": config.lora_alpha}
        if config.baseline == "value":
            value = _value_over(policy, config, lora)
        policy = adapted(policy, **lora)
    elif config.baseline == "value":
        value = _load_value_model(config, machine, log, tokenizer)
    models = [model for model in (policy, reference, value) if model is not None]
    shared = [supports_shared_prefix(model) for model in models]  # asked of each, since asking also prepares it
    return Actors(
        policy,
        reference,
        value,
        eos_id=ends,
        pad_id=tokenizer.pad_token_id,
        shared=all(shared),
    )


def _load_reference(policy, config: PolicyGradientConfig, machine: Runtime):
    """The policy's own weights where it trains low-rank updates beside them, or else a model of its own.

    Where no KL is charged it is there for a curve only, and may round as reward models do.
    """
    if config.lora_rank and config.reference is None:
        return sharing(policy).requires_grad_(False)
    reference = load_policy(config.reference or config.model, device=machine.device).requires_grad_(False)
    if machine.halves_weights and not config.charges_kl:
        halve(reference)
    return reference


def _value_over(policy, config: PolicyGradientConfig, lora: dict) -> TrunkWithHead:
    """Updates of the policy's weights: the reward model's where it is made of such, or else from zero."""
    source = config.value_source()
    value = reward_model_over(policy, source) if source else None
    value = value or TrunkWithHead(sharing(policy), **lora)
    value.forget_head()
    return value


def _load_value_model(config, machine, log, tokenizer):
    """The reward model's trunk with a head of zeros: V starts at 0 everywhere, on features that know what is good."""
    source = config.value_model or config.value_source() or config.model
    if not config.value_model and load_tokenizer(source).get_vocab() != tokenizer.get_vocab():
        log.message("the reward model has another tokenizer, so the value model starts from the policy")
        source = config.model
    value = load_reward_model(source, device=machine.device)
    for parameter in value.score.parameters():
        torch.nn.init.zeros_(parameter)
    return value


def values_of(value_model, batch: Batch) -> torch.Tensor:
    """V(s_t) for each completion token, where s_t is everything before it: (completion tokens,) float32."""
    return in_float32(value_model.score, completion_hidden(trunk_of(value_model), batch)).squeeze(-1)


def make_optimizer(actors: Actors, config: PolicyGradientConfig) -> torch.optim.AdamW:
    """Adam with ε = 1e-5, as PPO's reference implementation has it (Huang et al. 2022, detail 3), for both models."""
    groups = [{"params": _trainable(actors.policy), "peak": config.learning_rate}]
    if actors.value is not None:
        groups.append({"params": _trainable(actors.value), "peak": config.value_learning_rate})
    return torch.optim.AdamW(groups, lr=config.learning_rate, eps=1e-5, weight_decay=0.0, fused=True)


def _trainable(model) -> list[torch.nn.Parameter]:
    return [parameter for parameter in model.parameters() if parameter.requires_grad]


def set_learning_rates(optimizer, step: int, config: PolicyGradientConfig) -> float:
    """Both models' rates for this round, by one schedule; the policy's."""
    share = learning_rate_at(step, config.steps, dataclasses.replace(config, learning_rate=1.0))
    for group in optimizer.param_groups:
        group["lr"] = group["peak"] * share
    return optimizer.param_groups[0]["lr"]


def take_step(actors: Actors, optimizer, config: PolicyGradientConfig, machine: Runtime, step: int) -> float:
    """One optimizer step on the gradient of all processes together; the policy's norm before it is clipped.

    Each model's gradient is clipped by its own norm.
    """
    if machine.processes > 1:
        _add_up_gradients(_trainable(actors.trained()), machine)
    limit = config.max_grad_norm or math.inf
    norms = {
        name: float(torch.nn.utils.clip_grad_norm_(model.parameters(), limit))
        for name, model in actors.trained().items()
    }
    for name, norm in norms.items():
        if not math.isfinite(norm):
            raise TrainingError(
                f"the gradient of the {name} is not finite in step {step + 1}; earlier checkpoints are kept. "
                "A lower learning_rate or a reward_clip may help"
            )
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    return norms["policy"]


def _add_up_gradients(parameters: list[torch.nn.Parameter], machine: Runtime) -> None:
    """What no token reached in one process only (an expert, say) counts nothing there, and is exchanged like all."""
    reached = machine.summed(torch.tensor([float(p.grad is not None) for p in parameters], device=machine.device))
    parameters = [parameter for parameter, times in zip(parameters, reached.tolist(), strict=True) if times]
    for parameter in parameters:
        if parameter.grad is None:
            parameter.grad = torch.zeros_like(parameter)
    machine.add_up(parameter.grad for parameter in parameters)


def make_generator(actors: Actors, config: PolicyGradientConfig, machine: Runtime) -> Generator:
    if config.generator == "vllm":
        from training.vllm_generator import VLLMGenerator

        return VLLMGenerator(
            actors.policy,
            config.model,
            eos_id=actors.eos_id,
            max_length=config.max_prompt_length + config.max_tokens,
            share=config.vllm_memory,
            seed=config.seed,
        )
    return LocalGenerator(
        actors.policy, machine, eos_id=actors.eos_id, pad_id=actors.pad_id, tokens_at_once=config.sampling_tokens
    )


def resume(
    actors: Actors,
    optimizer,
    prompts: int,
    config: PolicyGradientConfig,
    machine: Runtime,
    log: EventLog,
    *,
    demonstrations: int = 0,
) -> Position:
    """The newest checkpoint's position, its weights and optimizer restored; or the beginning. Writes `start`."""
    found = checkpoints.load_newest(config.output) if config.resume else None
    tensors, state = found or ({}, {})
    position = Position(
        state.get("step", 0),
        state.get("beta", config.beta),
        PromptStream(prompts, config.seed, state.get("prompts", 0)),
        RunningDeviation(state.get("deviation")),
        PromptStream(demonstrations, config.seed, state.get("ptx", 0)),
        Watched(**state.get("watched", {})),
    )
    if found is not None:
        checkpoints.restore_training(actors.trained(), optimizer, tensors, rank=machine.rank)
        if "updates" in state:
            position.round = _restored_round(tensors, state, actors, machine)
    machine.take_from_main(_trainable(actors.trained()))
    name = type(config).__name__.lower()
    log.start(name, device=str(machine.device), total=config.steps, resumed_from=position.step or None)
    return position


def save(
    actors: Actors, optimizer, position: Position, config: PolicyGradientConfig, machine: Runtime, log: EventLog
) -> None:
    """A checkpoint; in the middle of a round with its completions and all that the rest of its update needs.

    Every process calls this, and the first writes what all have in common: the number of those that go on from it is
    free.
    """
    state = {
        "config": dataclasses.asdict(config),
        "beta": position.beta,
        "prompts": position.prompts.position,
        "deviation": position.deviation.state,
        "ptx": position.ptx.position,
        "watched": dataclasses.asdict(position.watched),
        "bf16": machine.bf16,
    }
    tensors = checkpoints.training_tensors(actors.trained(), optimizer)
    tensors |= checkpoints.random_tensors_of_others(machine.processes)
    if position.round is not None:
        state |= {"updates": position.round.updates, "over": position.round.over}
        tensors |= {f"rollout/{name}": tensor for name, tensor in position.round.rollout.state().items()}
        names, sums = position.round.means.over_processes(machine)
        tensors |= {f"means/{name}": pair for name, pair in zip(names, sums.cpu(), strict=True)}
    if machine.is_main:
        path = checkpoints.save(config.output, position.step, tensors, state, keep=config.keep_checkpoints)
        log.checkpoint(path)
    machine.wait_for_others()  # who is told to stop ends only when it is written


def _restored_round(tensors: dict, state: dict, actors: Actors, machine: Runtime) -> Round:
    def under(prefix: str) -> dict:
        return {name.removeprefix(prefix): t for name, t in tensors.items() if name.startswith(prefix)}

    rollout = Rollout.restored(under("rollout/"), pad_id=actors.pad_id, shared=actors.shared, device=machine.device)
    means = Means(machine.device)
    # They are sums over all processes, of which the first may hold all.
    means.sums = {name: machine.is_main * tensor.to(machine.device) for name, tensor in under("means/").items()}
    return Round(rollout, means, state["updates"], state["over"])
