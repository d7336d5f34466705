"""One policy-gradient run, timed in a process of its own: by our command line's code, or by TRL's trainer.

    python -m benchmarks.rl_sides ours|trl grpo|rloo RESULT policy=… prompts=… steps=… key=value …

RESULT gets a JSON object: for each optimizer step the seconds since the first one began (sampling, scoring and the
update), and the mean reward and length of its completions; and the peak memory of the process in bytes. With
reward_model=… both sides score by that model in the way they have for it, without it by `sentiment.gold`. The run ends
after `steps`, or with until=… once the mean reward of the last WINDOW steps is that high.

Both take one optimizer step a round with the same objective: GRPO's loss is the mean within, then over completions;
gradients are clipped to norm 1; Adam's ε is 1e-5; the learning rate is constant from the first step on.
"""

import json
import os
import resource
import signal
import statistics
import sys
import time
from pathlib import Path

GROUP, NEW_TOKENS = 8, 64
WINDOW = 5
# TRL's trainers charge no KL unless told to. Both do here, by the paper's coefficient (GRPO) and TRL's own (RLOO).
BETA = {"grpo": 0.04, "rloo": 0.05}


class Curve:
    """(seconds, mean reward, mean length in tokens) of every step; `until` is the mean reward to stop at."""

    def __init__(self, until: float | None):
        self.until, self.points = until, []
        self.began = 0.0

    def begin(self) -> None:
        self.began = time.perf_counter()

    def add(self, reward: float, length: float) -> bool:
        """Whether the run has come far enough."""
        self.points.append((time.perf_counter() - self.began, reward, length))
        return self.until is not None and reached(self.points, self.until) is not None


def reached(points: list, reward: float) -> float | None:
    """When the mean reward of the last WINDOW steps first was that high; None if it never was."""
    for last in range(WINDOW, len(points) + 1):
        if statistics.fmean(point[1] for point in points[last - WINDOW : last]) >= reward:
            return points[last - 1][0]
    return None


def main() -> None:
    side, recipe, result, *pairs = sys.argv[1:]
    settings = dict(pair.split("=", 1) for pair in pairs)
    numbers = {name: int(settings.pop(name)) for name in ("steps", "prompts_per_step", "seed")}
    curve = Curve(float(settings.pop("until")) if "until" in settings else None)
    run = {"ours": ours, "trl": trl}[side]
    run(curve, recipe, Path(result).parent, **numbers, learning_rate=float(settings.pop("learning_rate")), **settings)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    Path(result).write_text(json.dumps({"curve": curve.points, "memory": peak}))


def ours(
    curve, recipe, folder, *, steps, prompts_per_step, seed, learning_rate, policy, prompts, reward_model=None,
    precision="bf16", tokens_per_batch="2048",
) -> None:  # fmt: skip
    from training.__main__ import STOPPED, execute
    from training.config import resolve
    from training.events import EventLog

    class Clock(EventLog):
        """The run's own events, of which each step's is timed as it comes."""

        def progress(self, step, total, phase):
            super().progress(step, total, phase)
            if not curve.began:
                curve.begin()

        def metrics(self, step, total, **values):
            super().metrics(step, total, **values)
            if curve.add(values["reward"], values["length"]):
                os.kill(os.getpid(), signal.SIGTERM)  # as a person stops a run

    rewards = {"reward_model": reward_model}
    if reward_model is None:
        os.environ["PREFLOOP_REWARD_FUNCTIONS"] = "benchmarks.sentiment:gold"
        rewards = {"rewards": json.dumps([{"source": "function", "path": "benchmarks.sentiment:gold"}])}
    output = folder / "ours"
    output.mkdir()
    settings = {
        "model": policy, "prompts": prompts, "steps": steps, "samples": GROUP, "output": output,
        "prompts_per_step": prompts_per_step, "max_tokens": NEW_TOKENS, "beta": BETA[recipe], "seed": seed,
        "learning_rate": learning_rate, "warmup": 0, "sample_prompts": 0, "checkpoint_every": 0, "device": "cpu",
        "precision": precision, "tokens_per_batch": tokens_per_batch, **rewards,
    }  # fmt: skip
    config = resolve(recipe, None, {name: str(value) for name, value in settings.items()})
    code = execute(recipe, config, Clock(output))
    if code not in (0, STOPPED):
        raise SystemExit(code)


def trl(
    curve, recipe, folder, *, steps, prompts_per_step, seed, learning_rate, policy, prompts, reward_model=None,
    precision="fp32", at_once="16",
) -> None:  # fmt: skip
    """`at_once`: completions in a forward pass of the update."""
    import trl as library
    from datasets import Dataset
    from transformers import AutoTokenizer, TrainerCallback

    from benchmarks import sentiment
    from training.models import load_reward_model

    shift = 0.0
    scorer = load_reward_model(reward_model) if reward_model else None
    if scorer is not None:
        shift = scorer.config.reward_shift

    def gold(prompts, completions, **rest):
        texts = [completion[0]["content"] for completion in completions]
        return [sentiment.gold(prompt, text, {}) for prompt, text in zip(prompts, texts, strict=True)]

    class Clock(TrainerCallback):
        def on_train_begin(self, *args, **kwargs):
            curve.begin()

        def on_log(self, args, state, control, logs=None, **kwargs):
            if "reward" in logs and curve.add(logs["reward"] - shift, logs["completions/mean_length"]):
                control.should_training_stop = True

    trainer_class, config_class, own = {
        "grpo": (library.GRPOTrainer, library.GRPOConfig, {"loss_type": "grpo"}),
        "rloo": (library.RLOOTrainer, library.RLOOConfig, {}),
    }[recipe]
    at_once = min(int(at_once), prompts_per_step * GROUP)
    config = config_class(
        output_dir=str(folder / "trl"), max_steps=steps, num_generations=GROUP, max_completion_length=NEW_TOKENS,
        per_device_train_batch_size=at_once, gradient_accumulation_steps=prompts_per_step * GROUP // at_once,
        learning_rate=learning_rate, lr_scheduler_type="constant", adam_epsilon=1e-5, max_grad_norm=1.0,
        beta=BETA[recipe], temperature=1.0, bf16=precision == "bf16", use_cpu=True, gradient_checkpointing=False,
        seed=seed, logging_steps=1, save_strategy="no", report_to="none", disable_tqdm=True,
        dataloader_pin_memory=False, **own,
    )  # fmt: skip
    rows = [json.loads(line) for line in Path(prompts).read_text().splitlines()]
    trainer = trainer_class(
        model=policy,
        args=config,
        train_dataset=Dataset.from_list([{"prompt": [{"role": "user", "content": row["prompt"]}]} for row in rows]),
        processing_class=AutoTokenizer.from_pretrained(policy, padding_side="left"),
        reward_funcs=gold if scorer is None else scorer,
        reward_processing_classes=scorer and AutoTokenizer.from_pretrained(reward_model, padding_side="right"),
        callbacks=[Clock()],
    )
    trainer.train()


if __name__ == "__main__":
    main()
