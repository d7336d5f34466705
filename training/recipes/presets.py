"""The policy-gradient family as a table: every algorithm is a row of choices in one loop. No torch.

What a row leaves out it has from `PolicyGradientConfig`; every choice can still be told otherwise on the command line.
"""

import dataclasses
from dataclasses import dataclass

from training.config import ConfigError, setting
from training.rewards.settings import RewardSettings
from training.rewards.spec import Source, parse_sources, sources_of


@dataclass(frozen=True, kw_only=True)
class PolicyGradientConfig(RewardSettings):
    model: str = setting(help="the policy to start from: a local directory or a hub id")
    prompts: str = setting(help="a file of prompts")
    reference: str | None = setting(None, "the frozen model to stay close to; none takes the policy as it starts")

    steps: int = setting(100, "rounds of sampling, scoring and updating", low=1)
    prompts_per_step: int = setting(32, "prompts answered in a round", low=1)
    samples: int = setting(4, "completions of each prompt: the group", low=1)
    max_tokens: int = setting(64, "longest completion, in tokens", low=1)
    max_prompt_length: int = setting(512, "longest prompt, in tokens; prompts lose their start", low=1)
    temperature: float = setting(1.0, "of sampling; all log-probabilities are divided by it too", low=0.01)

    generator: str = setting(
        "transformers", "what draws completions; vllm where it is installed", choices=("transformers", "vllm")
    )
    vllm_memory: float = setting(0.3, "share of the GPU's memory for generator=vllm", low=0.01, high=1)

    baseline: str = setting(
        help="what a reward is compared with: the batch's mean, the mean of the prompt's other completions, the "
        "group's mean (group_std: in units of its deviation), a learned value with GAE, or (constrained) the "
        "batch's mean of what is left of rewards under judges and kl_max",
        choices=("batch", "leave_one_out", "group", "group_std", "value", "constrained"),
    )
    policy_loss: str = setting(
        help="−A log π, PPO's clipped ratio, or a ratio with a KL penalty to the old policy",
        choices=("log_prob", "clipped_ratio", "penalized_ratio"),
    )
    summed: str = setting(
        help="how token losses add up: sum within a completion, mean within a completion, mean over all tokens, or "
        "sum over a constant (max_tokens)",
        choices=("sequence", "sequence_mean", "token", "constant"),
    )
    kl_in: str = setting("reward", "where the KL to the reference is charged", choices=("reward", "loss"))
    kl_estimator: str = setting("k1", "Schulman's estimators of the KL", choices=("k1", "k2", "k3"))
    beta: float = setting(0.05, "how dear it is to leave the reference; 0 makes it free", low=0)
    kl_target: float | None = setting(None, "KL a completion, in nats, to which beta adapts; none keeps it", low=1e-3)
    watch_kl: bool = setting(
        True, "compute the KL to the reference where none is charged, for its curve; false loads no reference then"
    )
    judges: list[dict] | None = setting(
        None, "for baseline=constrained: sources that must all pass a completion, as in rewards", parse=parse_sources
    )
    kl_max: float = setting(5.0, "for baseline=constrained: nats at which nothing is left of a reward", low=0.01)
    kl_horizon: int = setting(10_000, "completions over which beta adapts (Ziegler et al. 2019)", low=1)

    gamma: float = setting(1.0, "discount of later rewards, for baseline=value", low=0, high=1)
    gae_lambda: float = setting(0.95, "GAE: 0 is one step (TD), 1 is Monte Carlo, for baseline=value", low=0, high=1)
    whiten: bool = setting(False, "advantages to mean 0 and variance 1 over the round's tokens")
    value_model: str | None = setting(
        None, "what the value model starts from; none takes the first reward model, or else the policy"
    )
    value_learning_rate: float = setting(1e-5, "of the value model, at its peak", low=0)
    value_clip: float = setting(0.2, "how far a value may profit from leaving its old one; 0 for no limit", low=0)

    epochs: int = setting(1, "passes over a round's completions", low=1)
    minibatches: int = setting(1, "optimizer steps a pass", low=1)
    clip_low: float = setting(0.2, "the probability ratio is clipped at 1 − this", low=0, high=1)
    clip_high: float = setting(0.2, "the probability ratio is clipped at 1 + this", low=0)
    penalty: float = setting(1.0, "weight of the KL to the old policy, for policy_loss=penalized_ratio", low=0)
    entropy_bonus: float = setting(0.0, "weight of the policy's entropy in its objective", low=0)
    stop_kl: float | None = setting(None, "leave a round's passes once the KL to the old policy passes this", low=0)

    ptx_data: str | None = setting(None, "demonstrations that the policy is not to forget (PPO-ptx)")
    ptx_coefficient: float = setting(1.0, "γ: weight of their loss per token beside the policy's", low=0)
    ptx_batch: int = setting(32, "demonstrations mixed into each optimizer step", low=1)
    ptx_max_length: int = setting(1024, "longest of them, in tokens; prompts lose their start", low=8)

    no_eos_penalty: float = setting(0.0, "taken off the score of a completion that was cut off", low=0)
    overlong_cache: int | None = setting(
        0, "last tokens of max_tokens in which a penalty rises to 1; none for a quarter, 0 for no penalty", low=0
    )
    reward_scale: str = setting(
        "none", "divide scores by their running standard deviation", choices=("none", "running")
    )
    reward_clip: float | None = setting(None, "scores are cut to ± this, after scaling; none leaves them", low=0)
    dynamic_sampling: bool = setting(False, "draw other prompts for groups whose completions all earned the same")
    draws: int = setting(4, "times at most that dynamic_sampling draws for a round; the last one's groups stay", low=1)

    lora_rank: int = setting(
        0,
        "train low-rank updates of this rank, over one trunk for policy, reference, value and a reward model that is "
        "such updates too; 0 trains all weights",
        low=0,
    )
    lora_alpha: float = setting(32.0, "the low-rank update is scaled by lora_alpha / lora_rank", low=0)
    learning_rate: float = setting(1e-5, "of the policy, at its peak", low=0)
    schedule: str = setting("constant", "of the learning rates after warm-up", choices=("cosine", "linear", "constant"))
    warmup: float = setting(0.05, "share of the steps in which the learning rates rise", low=0, high=1)
    max_grad_norm: float = setting(1.0, "gradients are scaled down to this norm; 0 leaves them", low=0)
    tokens_per_batch: int = setting(
        8192, "tokens computed at once; lower it when memory runs out: the result stays the same", low=1
    )
    sampling_tokens: int = setting(
        65_536, "tokens of prompts and completions sampled at once; lower it when memory runs out in sampling", low=1
    )
    sample_prompts: int = setting(4, "prompts answered before and during training, to look at", low=0)
    sample_every: int = setting(10, "steps between those answers", low=1)
    checkpoint_every: int = setting(25, "steps between checkpoints; 0 for none but on SIGTERM", low=0)
    keep_checkpoints: int = setting(2, "newest checkpoints kept", low=1)

    def check(self) -> None:
        super().check()
        if self.baseline in ("leave_one_out", "group", "group_std") and self.samples < 2:
            given = {"baseline": self.baseline, "setting": "samples"}
            raise ConfigError("baseline=%(baseline)s needs samples of at least 2", **given)
        if self.baseline == "constrained" and not self.judges:
            raise ConfigError("baseline=constrained needs judges=… (sources that must all pass a completion)")
        if self.baseline != "constrained" and self.judges:
            raise ConfigError("judges are for baseline=constrained (cgpo): elsewhere name them as rewards")
        if self.baseline == "batch" and self.prompts_per_step * self.samples < 2:
            raise ConfigError("baseline=batch needs at least 2 completions a step")
        if self.minibatches > self.prompts_per_step:
            raise ConfigError(
                f"minibatches={self.minibatches} is more than prompts_per_step={self.prompts_per_step}: "
                "the completions of one prompt stay together"
            )
        if self.policy_loss == "log_prob" and self.epochs * self.minibatches > 1:
            raise ConfigError("policy_loss=log_prob is for fresh completions only: use epochs=1 minibatches=1")
        if self.kl_in == "loss" and self.kl_estimator == "k1" and self.beta > 0:
            raise ConfigError("kl_in=loss with kl_estimator=k1 has a gradient of zero on average: use k2 or k3")
        if self.reward_clip == 0:
            raise ConfigError("reward_clip=0 would leave nothing of any reward: none leaves them as they are")
        if self.kl_target and not self.beta:
            raise ConfigError("kl_target adapts beta in proportion, and leaves beta=0 at 0: give a beta to begin with")
        if self.overlong_tokens >= self.max_tokens:
            given = {"setting": "overlong_cache", "value": self.overlong_cache, "most": self.max_tokens}
            raise ConfigError("%(setting)s=%(value)s must be less than max_tokens=%(most)s", **given)
        if self.lora_rank and self.generator == "vllm":
            raise ConfigError("generator=vllm takes whole weights over: use generator=transformers with lora_rank")
        if self.lora_rank and self.value_model:
            raise ConfigError("with lora_rank the value model is an update of the policy's weights: leave value_model")
        if self.dynamic_sampling and self.samples < 2:
            raise ConfigError("dynamic_sampling needs samples of at least 2")

    def judge_sources(self) -> dict[str, Source]:
        return sources_of("judges", self.judges or [])

    @property
    def charges_kl(self) -> bool:
        return self.beta > 0 or self.baseline == "constrained"

    @property
    def needs_reference(self) -> bool:
        return self.charges_kl or self.watch_kl

    @property
    def optimizer_steps(self) -> int:
        return self.epochs * self.minibatches

    @property
    def overlong_tokens(self) -> int:
        return self.max_tokens // 4 if self.overlong_cache is None else self.overlong_cache


def _preset(name: str, paper: str, deviations: str, **choices) -> type[PolicyGradientConfig]:
    """A row of the table: the config with these defaults. What it is and how it deviates is told by `config.about`."""
    fields = {field.name: field for field in dataclasses.fields(PolicyGradientConfig)}
    row = dataclasses.make_dataclass(
        name,
        [(key, fields[key].type, setting(value, **fields[key].metadata)) for key, value in choices.items()],
        bases=(PolicyGradientConfig,),
        frozen=True,
        kw_only=True,
    )
    row.__doc__ = f"{paper}\n\n{deviations}"
    return row


# fmt: off
REINFORCE = _preset(
    "REINFORCE", "REINFORCE (Williams 1992) with the batch's mean as the baseline.",
    "The KL to the reference is part of the reward.",
    baseline="batch", policy_loss="log_prob", summed="sequence",
)
A2C = _preset(
    "A2C", "Advantage actor-critic (Mnih et al. 2016), synchronous: a learned value is the baseline of every token.",
    "It deviates: Monte Carlo unless gae_lambda says otherwise, since the paper's n-step returns span a rollout and a "
    "completion is one; no entropy bonus unless entropy_bonus gives one (0.01 there); policy and value are two models, "
    "each clipped by its own gradient's norm, where theirs share a trunk.",
    baseline="value", gae_lambda=1.0, policy_loss="log_prob", summed="token", value_clip=0.0,
)
RLOO = _preset(
    "RLOO", "RLOO (Ahmadian et al. 2024, after Kool et al. 2019): an answer is one action, its prompt's others the "
    "baseline.",
    "One optimizer step a round, on completions of the policy as it is; the KL to the reference is part of the reward.",
    baseline="leave_one_out", policy_loss="log_prob", summed="sequence",
)
PPO = _preset(
    "PPO", "PPO (Schulman et al. 2017) for language models: Ziegler et al. 2019, InstructGPT (Ouyang et al. 2022).",
    "It deviates: a pass is one minibatch unless minibatches says otherwise (several in the papers), so a round has "
    "epochs=4 optimizer steps; policy and value are two models with learning rates of their own, each clipped by its "
    "own gradient's norm, and no weight between their losses; advantages are whitened over the whole round; a "
    "completion that was cut off pays no_eos_penalty=1.",
    baseline="value", whiten=True, policy_loss="clipped_ratio", summed="token", epochs=4, no_eos_penalty=1.0,
)
GRPO = _preset(
    "GRPO", "GRPO (Shao et al. 2024, DeepSeekMath): the group's mean and deviation in place of a value model.",
    "With rewards of whole completions (outcome supervision), and one optimizer step a round as there, so the ratio is "
    "1 and nothing is clipped unless epochs or minibatches say otherwise. It deviates: the deviation has K − 1 below "
    "the line and 1e-4 added to it (the paper says neither); 8 completions of 16 prompts a round (64 of 16 there).",
    baseline="group_std", policy_loss="clipped_ratio", summed="sequence_mean", kl_in="loss", kl_estimator="k3",
    beta=0.04, samples=8, prompts_per_step=16,
)
DR_GRPO = _preset(
    "DR_GRPO", "Dr. GRPO (Liu et al. 2025): GRPO without the division by the group's deviation and by the length.",
    "A completion's sum is divided by max_tokens, the same for all. No KL is charged unless beta says so.",
    baseline="group", policy_loss="clipped_ratio", summed="constant", kl_in="loss", kl_estimator="k3",
    beta=0.0, samples=8, prompts_per_step=16,
)
DAPO = _preset(
    "DAPO", "DAPO (Yu et al. 2025): GRPO clipped higher above, over all tokens, without groups that teach nothing.",
    "It deviates: a round draws groups draws=4 times at most and keeps what the last draw gives, where the paper draws "
    "until the batch is full, and a draw asks only as many prompts as are lacking; the penalty for overlong answers "
    "spans the last quarter of max_tokens (a fifth there); 8 completions of 16 prompts in one optimizer step (16 of "
    "512 in 16 steps there); the deviation has K − 1 below the line and 1e-4 added, as in grpo.",
    baseline="group_std", policy_loss="clipped_ratio", summed="token", clip_high=0.28, kl_in="loss",
    kl_estimator="k3", beta=0.0, dynamic_sampling=True, overlong_cache=None, samples=8,
    prompts_per_step=16,
)
CGPO = _preset(
    "CGPO", "CGPO (Xu et al. 2024, The Perfect Blend): only what all judges pass is reinforced, within a bound of KL.",
    "With the first of their three optimizers: the calibrated-regularised "
    "policy gradient (eqs. 5, 8, 11 and 12). It deviates twice: a reward is calibrated against the mean of the "
    "prompt's completions in this round, theirs against one response of the reference or of the data, drawn before "
    "training; and all prompts are one task with one set of judges and rewards, where theirs has such for each task. "
    "Of KL_max the paper gives no figure: 5 nats are the price of the best of 400 completions.",
    baseline="constrained", policy_loss="log_prob", summed="sequence", beta=0.0, samples=8, prompts_per_step=16,
)
# fmt: on
