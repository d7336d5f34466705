"""The policy-gradient recipes against exact optima: `python -m training.verify` prints KL(π‖optimum) for every preset.

The world has 8 tokens and completions of 3, so 512 sequences: every expectation is a sum. A table of logits, one row
for each prefix, can be any policy, so what keeps a run from its optimum is the algorithm and nothing else. The loop,
the sampler, the log-probabilities and the losses are the very ones that train language models.

What an algorithm tends to depends on where it charges the KL:

- in the reward: π*(y) ∝ π_ref(y)·exp(r(y)/β), the KL-regularised optimum;
- in the loss, by k2 or k3: a gradient of the KL at the sampled prefixes only, which does not see that a token also
  leads to dearer prefixes; k3's gradient is moreover that of KL(π_ref‖π), not of KL(π‖π_ref). Both have optima of their
  own, found here by going backwards from the last token. A completion's own share in its group's mean, and the
  division by the group's deviation, scale the reward in it;
- under a bound (cgpo): among the sequences that the judge passes, the policy at which the same is left of every reward;
- nowhere (dapo, dr_grpo as it comes): one sequence ŷ. The best one is the optimum, but any single sequence is a fixed
  point, so which of the good ones it becomes is the luck of what was sampled early. KL(π‖ŷ) is infinite until π is
  nothing else, so the other direction is shown, KL(ŷ‖π) = −log π(ŷ); the mean reward tells how good ŷ is.
"""

import argparse
import multiprocessing
import os
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from types import SimpleNamespace

import torch
from transformers import LlamaConfig

from training import runtime
from training.actors import Actors
from training.config import resolve
from training.events import EventLog
from training.recipes.policy_gradient import improve
from training.rewards.combine import Scores

TOKENS, LENGTH = 8, 3
SEQUENCES = TOKENS**LENGTH
_FIRST_STATE = [0, 1, 1 + TOKENS]  # of prefixes with 0, 1 and 2 tokens
STATES = 1 + TOKENS + TOKENS**2
_PROMPT = TOKENS  # a token that only prompts have
LIMIT = 0.01


@dataclass(frozen=True)
class World:
    """log π_ref(token | prefix), (states, tokens), a reward for each sequence, (sequences,), and whether a judge passes
    it, (sequences,) bool; drawn at random.
    """

    reference: torch.Tensor
    rewards: torch.Tensor
    passes: torch.Tensor

    @classmethod
    def draw(cls, seed: int) -> "World":
        generator = torch.Generator().manual_seed(seed)
        logits = torch.randn(STATES, TOKENS, generator=generator, dtype=torch.float64)
        rewards = torch.randn(SEQUENCES, generator=generator, dtype=torch.float64)
        return cls(logits.log_softmax(-1), rewards, torch.rand(SEQUENCES, generator=generator) < 0.5)


def sequence_logprobs(policy: torch.Tensor) -> torch.Tensor:
    """log π(y) of every sequence (sequences,), from log π(token | prefix) (states, tokens)."""
    total = policy[:1].flatten()
    for level in range(1, LENGTH):
        first = _FIRST_STATE[level]
        total = (total[:, None] + policy[first : first + TOKENS**level]).flatten()
    return total


def kl(policy: torch.Tensor, other: torch.Tensor) -> float:
    """KL(policy‖other) in nats, of log-probabilities (sequences,)."""
    return float((policy.exp() * (policy - other)).sum())


def optimum(world: World, beta: float) -> torch.Tensor:
    """log π* (sequences,): proportional to π_ref·exp(r/β)."""
    return (sequence_logprobs(world.reference) + world.rewards / beta).log_softmax(0)


def optimum_in_loss(world: World, beta: float, estimator: str, scale: float) -> torch.Tensor:
    """log π (sequences,) where scale·∇E[r] equals β times the gradient of the per-prefix KL by k2 or k3.

    At a prefix with Q(a) the expected reward after token a, going backwards: k2 gives π(a) ∝ π_ref(a)·exp(Q(a)/β), and
    k3 the solution of π(a)·(Q(a) − V) = β·(π(a) − π_ref(a)) with V = Σ π Q.
    """
    reference = world.reference.exp()
    policy = torch.zeros_like(world.reference)
    q = scale * world.rewards.view(-1, TOKENS)
    for level in reversed(range(LENGTH)):
        states = slice(_FIRST_STATE[level], _FIRST_STATE[level] + TOKENS**level)
        if estimator == "k2":
            probabilities = (world.reference[states] + q / beta).softmax(-1)
        else:
            probabilities = _k3_probabilities(reference[states], q, beta)
        policy[states] = probabilities.log()
        q = (probabilities * q).sum(-1).view(-1, TOKENS) if level else q
    return sequence_logprobs(policy)


def optimum_constrained(world: World, kl_max: float, mean_reward: float) -> torch.Tensor:
    """log π (sequences,) where cgpo's gradient vanishes, −∞ for sequences that fail.

    What is left of the reward, (1 − log(π/π_ref)/KL_max)·R with R = σ(r − r̄), is then the same number c for every
    sequence that passes (and so more than the 0 of those that fail): π = π_ref·exp(KL_max·(1 − c/R)), c by bisection
    such that they sum to one.
    """
    reference = sequence_logprobs(world.reference).masked_fill(~world.passes, -torch.inf)
    calibrated = torch.sigmoid(world.rewards - mean_reward)
    low, high = 0.0, 1.0
    for _ in range(100):
        c = (low + high) / 2
        total = (reference + kl_max * (1 - c / calibrated)).logsumexp(0)
        low, high = (c, high) if total > 0 else (low, c)
    return reference + kl_max * (1 - high / calibrated)


def _k3_probabilities(reference: torch.Tensor, q: torch.Tensor, beta: float) -> torch.Tensor:
    """π(a) = β π_ref(a) / (β + V − Q(a)), V by bisection such that they sum to one: (states, tokens)."""
    low, high = q.amax(-1, keepdim=True) - beta, q.amax(-1, keepdim=True)
    for _ in range(100):
        middle = (low + high) / 2
        total = (beta * reference / (beta + middle - q)).sum(-1, keepdim=True)
        low, high = torch.where(total > 1, middle, low), torch.where(total > 1, high, middle)
    probabilities = beta * reference / (beta + high - q)
    return probabilities / probabilities.sum(-1, keepdim=True)


class _Trunk(torch.nn.Module):
    """Looks up a row of numbers for the prefix at each position, where a transformer would compute hidden states."""

    def __init__(self, table: torch.Tensor):
        super().__init__()
        self.table = torch.nn.Parameter(table)
        self.config = LlamaConfig(num_hidden_layers=1)

    def forward(self, input_ids, attention_mask=None, position_ids=None, use_cache=False):
        state, value = [torch.zeros_like(input_ids[:, 0])], torch.zeros_like(input_ids[:, 0])
        for position in range(1, input_ids.shape[1]):
            value = value * TOKENS + input_ids[:, position]
            # After the last token nothing follows, so any row will do.
            state.append(_FIRST_STATE[position] + value if position < LENGTH else torch.zeros_like(value))
        return SimpleNamespace(last_hidden_state=self.table[torch.stack(state, 1)])


class TablePolicy(torch.nn.Module):
    """What the loop asks of a language model, over a table of logits (states, tokens)."""

    base_model_prefix = "trunk"

    def __init__(self, logits: torch.Tensor):
        super().__init__()
        self.trunk = _Trunk(logits.float().clone())
        self.config = self.trunk.config
        self.head = torch.nn.Linear(TOKENS, TOKENS, bias=False).requires_grad_(False)
        self.head.weight.copy_(torch.eye(TOKENS))

    def get_input_embeddings(self):
        return SimpleNamespace(weight=self.trunk.table)

    def get_output_embeddings(self):
        return self.head

    def forward(self, input_ids, past_key_values, **_):
        ids = input_ids[:, None, :, None].float()
        prefix = past_key_values.update(ids, ids, 0)[0][:, 0, :, 0].long()  # the cache remembers the tokens themselves
        return SimpleNamespace(logits=self.trunk(prefix).last_hidden_state[:, -1:])

    def sequence_logprobs(self) -> torch.Tensor:
        return sequence_logprobs(self.trunk.table.detach().double().log_softmax(-1))


class TableValue(torch.nn.Module):
    """V of each prefix, as the loop asks a value model for it."""

    base_model_prefix = "trunk"

    def __init__(self):
        super().__init__()
        self.trunk = _Trunk(torch.zeros(STATES, 1))
        self.score = torch.nn.Linear(1, 1, bias=False).requires_grad_(False)
        self.score.weight.fill_(1.0)


@dataclass(frozen=True)
class Case:
    """A preset with what is told it beyond its defaults. Without `gate` its figures are shown but not held to LIMIT."""

    preset: str
    note: str = ""
    settings: dict = field(default_factory=dict)
    gate: bool = True

    @property
    def charged(self) -> bool:
        """Whether a KL is charged, so that there is a β to choose."""
        return "beta" not in self.settings


CASES = [
    Case("reinforce"),
    Case("a2c"),
    Case("a2c", "one step", {"gae_lambda": 0.0}),
    Case("rloo"),
    Case("ppo"),
    Case("ppo", "KL penalty", {"policy_loss": "penalized_ratio", "learning_rate": 0.1}),
    Case("grpo"),
    Case("grpo", "KL in the reward", {"kl_in": "reward", "kl_estimator": "k1"}),
    Case("dr_grpo", "k3, β > 0"),
    Case("dr_grpo", "k2, β > 0, 600 steps", {"kl_estimator": "k2", "steps": 600}),
    Case("dr_grpo", "KL in the reward", {"kl_in": "reward", "kl_estimator": "k1"}),
    Case("cgpo", "kl_max 2", {"kl_max": 2.0, "beta": 0.0}),
    Case("cgpo", "600 steps", {"beta": 0.0, "steps": 600}),
    # Near its optimum log π(y) settles at the rate π*(y)·R(y)/KL_max. The wider the bound, the slower that is, and the
    # rarer the last sequences to settle: this one, wider than the world (log 512 = 6.2 nats), is still on its way.
    Case("cgpo", "kl_max 10, 600 steps", {"kl_max": 10.0, "beta": 0.0, "steps": 600}, gate=False),
    Case("dr_grpo", "as it comes: no KL", {"beta": 0.0}),
    Case("dapo", "as it comes: no KL", {"beta": 0.0}),
]


@dataclass(frozen=True)
class Result:
    case: Case
    kl_to_optimum: float
    """KL(π‖π*), π* the KL-regularised optimum"""
    kl_to_own: float
    """KL(π‖·) to what this algorithm's gradient tends to, of cgpo among the sequences that pass; without a KL it is
    −log π(ŷ), ŷ the likeliest sequence"""
    reward: float
    seconds: float
    violations: float = 0.0
    """probability of the sequences that the judge fails, for cgpo"""


def run(case: Case, world: World, beta: float, *, steps: int = 600, seed: int = 0) -> Result:
    """Train a table from π_ref by the recipe's own loop, and measure where it ended."""
    with tempfile.TemporaryDirectory() as output:
        unused = {"model": "-", "reward_model": "-", "prompts": "-", "device": "cpu", "precision": "fp32"}
        if case.preset == "cgpo":
            unused["judges"] = [{"source": "max_length", "tokens": LENGTH}]  # the world's own judge takes its place
        config = resolve(
            case.preset,
            None,
            {
                **unused, "output": output, "seed": seed, "steps": steps, "prompts_per_step": 16, "samples": 64,
                "max_tokens": LENGTH, "temperature": 1.0, "beta": beta, "no_eos_penalty": 0.0, "overlong_cache": 0,
                "learning_rate": 0.2, "value_learning_rate": 0.2, "schedule": "cosine", "warmup": 0.0,
                "max_grad_norm": 0.0, "value_clip": 0.0, "checkpoint_every": 0, "tokens_per_batch": 1 << 20,
                **case.settings,
            },
        )  # fmt: skip
        log = EventLog(output, enabled=False)
        policy = TablePolicy(world.reference)
        reference = TablePolicy(world.reference).requires_grad_(False)
        value = TableValue() if config.baseline == "value" else None
        actors = Actors(policy, reference, value, eos_id=-1, pad_id=0, shared=False)
        started = time.perf_counter()
        improve(actors, [[_PROMPT]] * config.prompts_per_step, _scorer(world), config, runtime.start(config, log), log)
        seconds = time.perf_counter() - started
    reached = policy.sequence_logprobs()
    if config.baseline == "constrained":
        return _constrained_result(case, world, config, reached, seconds)
    own = own_optimum(world, config, reached)
    return Result(
        case,
        kl(reached, optimum(world, beta)) if beta else float("nan"),
        kl(reached, own) if own is not None else -float(reached.max()),
        float((reached.exp() * world.rewards).sum()),
        seconds,
    )


def own_optimum(world: World, config, reached: torch.Tensor) -> torch.Tensor | None:
    """log-probabilities (sequences,) of what the config's expected gradient tends to; None where there is no KL."""
    if config.beta == 0:
        return None
    if config.kl_in == "reward":
        return optimum(world, config.beta)
    scale = 1 - 1 / config.samples  # a completion's own reward is part of the mean that it is compared with
    if config.baseline == "group_std":
        mean = (reached.exp() * world.rewards).sum()
        scale = scale / float((reached.exp() * (world.rewards - mean).square()).sum().sqrt())
    return optimum_in_loss(world, config.beta, config.kl_estimator, scale)


def _constrained_result(case: Case, world: World, config, reached: torch.Tensor, seconds: float) -> Result:
    """The failing sequences' probability falls for ever, so it is told apart from where the rest settles."""
    mean_reward = float((reached.exp() * world.rewards).sum())
    passing = reached[world.passes].log_softmax(0)
    own = optimum_constrained(world, config.kl_max, mean_reward)[world.passes]
    violations = float(reached[~world.passes].exp().sum())
    return Result(case, float("nan"), kl(passing, own), mean_reward, seconds, violations)


def _scorer(world: World):
    def score(indices, groups):
        ids = torch.tensor([[completion.ids for completion in group] for group in groups])
        places = (ids * torch.tensor([TOKENS**2, TOKENS, 1])).sum(-1)
        return Scores(world.rewards[places].float(), verdicts={"judge": world.passes[places]})

    return score


def _run(task: tuple[Case, float, int, int]) -> Result:
    """`run` in a process of its own, on one thread, so that the cases share the cores."""
    case, beta, steps, seed = task
    torch.set_num_threads(1)
    return run(case, World.draw(seed), beta, steps=steps, seed=seed)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m training.verify", description=__doc__.splitlines()[0])
    parser.add_argument("--beta", type=float, nargs="+", default=[0.5, 1.0])
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="cases computed at once")
    options = parser.parse_args(arguments)
    tasks = [(case, beta) for case in CASES for beta in (options.beta if case.charged else [0.0])]
    print("| preset | told | β | KL to π* | KL to own optimum | mean reward | seconds |")
    print("| --- | --- | ---: | ---: | ---: | ---: | ---: |")
    failed = []
    with ProcessPoolExecutor(options.jobs, mp_context=multiprocessing.get_context("spawn")) as pool:
        results = pool.map(_run, [(case, beta, options.steps, options.seed) for case, beta in tasks])
        for (case, beta), result in zip(tasks, results, strict=True):
            fine = not case.gate or result.kl_to_own < LIMIT
            failed += [] if fine else [case]
            to_pi_star = f"{result.kl_to_optimum:.4f}" if beta else "–"
            verdict = "" if fine and case.gate else " not held to it" if fine else " FAILED"
            print(
                f"| {case.preset} | {case.note} | {beta:g} | {to_pi_star} | {result.kl_to_own:.4f} | "
                f"{result.reward:.3f} | {result.seconds:.0f} |{verdict}",
                flush=True,
            )
    best = float(World.draw(options.seed).rewards.max())
    print(f"\nThe best sequence's reward is {best:.3f}. The KL to the own optimum must be < {LIMIT}.")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
