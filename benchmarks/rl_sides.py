"""One policy-gradient run, timed in a process of its own: by our command line's code, or by TRL's trainer.

    python -m benchmarks.rl_sides ours|trl grpo|rloo RESULT policy=… reward_model=… prompts=… steps=… key=value …

RESULT gets a JSON object: for each optimizer step the seconds since the first one began (sampling, scoring and the
update) and the mean reward of its completions; and the peak memory of the process in bytes. Both sides score by the
reward model in the way they have for it, and take one optimizer step a round, without gradient clipping differences:
both clip to norm 1, warm up over no step and keep the learning rate constant.
"""

import json
import resource
import sys
import time
from pathlib import Path

GROUP, NEW_TOKENS = 8, 64
# TRL's trainers charge no KL unless told to. Both do here, by the paper's coefficient (GRPO) and TRL's own (RLOO).
BETA = {"grpo": 0.04, "rloo": 0.05}


def main() -> None:
    side, recipe, result, *pairs = sys.argv[1:]
    settings = dict(pair.split("=", 1) for pair in pairs)
    numbers = {name: int(settings.pop(name)) for name in ("steps", "prompts_per_step", "seed")}
    curve = {"ours": ours, "trl": trl}[side](
        recipe, Path(result).parent, **numbers, learning_rate=float(settings.pop("learning_rate")), **settings
    )
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    Path(result).write_text(json.dumps({"curve": curve, "memory": peak}))


def ours(
    recipe, folder, *, steps, prompts_per_step, seed, learning_rate, policy, reward_model, prompts, precision="auto",
    tokens_per_batch="2048",
) -> list[tuple[float, float]]:  # fmt: skip
    """(seconds, mean reward) of every step, from the run's own events."""
    from training.__main__ import main as command

    settings = {
        "model": policy, "reward_model": reward_model, "prompts": prompts, "steps": steps, "samples": GROUP,
        "prompts_per_step": prompts_per_step, "max_tokens": NEW_TOKENS, "beta": BETA[recipe], "seed": seed,
        "learning_rate": learning_rate, "warmup": 0, "sample_prompts": 0, "checkpoint_every": 0, "device": "cpu",
        "precision": precision, "tokens_per_batch": tokens_per_batch,
    }  # fmt: skip
    output = folder / f"run-{recipe}-{time.time_ns()}"
    if code := command([recipe, "--output", str(output), *(f"{key}={value}" for key, value in settings.items())]):
        raise SystemExit(code)
    events = [json.loads(line) for line in (output / "events.jsonl").read_text().splitlines()]
    begin = next(event["time"] for event in events if event["kind"] == "progress")
    return [(event["time"] - begin, event["values"]["reward"]) for event in events if event["kind"] == "metrics"]


def trl(
    recipe, folder, *, steps, prompts_per_step, seed, learning_rate, policy, reward_model, prompts, precision="fp32",
    at_once="16",
) -> list[tuple[float, float]]:  # fmt: skip
    """The same of TRL's trainer. `at_once`: completions in a forward pass of the update."""
    import trl as library
    from datasets import Dataset
    from transformers import AutoTokenizer, TrainerCallback

    from training.models import load_reward_model

    seconds: list[float] = []
    began = 0.0

    class Clock(TrainerCallback):
        def on_train_begin(self, *args, **kwargs):
            nonlocal began
            began = time.perf_counter()

        def on_step_end(self, *args, **kwargs):
            seconds.append(time.perf_counter() - began)

    trainer_class, config_class = {
        "grpo": (library.GRPOTrainer, library.GRPOConfig),
        "rloo": (library.RLOOTrainer, library.RLOOConfig),
    }[recipe]
    at_once = min(int(at_once), prompts_per_step * GROUP)
    config = config_class(
        output_dir=str(folder / "trl"), max_steps=steps, num_generations=GROUP, max_completion_length=NEW_TOKENS,
        per_device_train_batch_size=at_once, gradient_accumulation_steps=prompts_per_step * GROUP // at_once,
        learning_rate=learning_rate, lr_scheduler_type="constant", beta=BETA[recipe], temperature=1.0,
        bf16=precision == "bf16", use_cpu=True, gradient_checkpointing=False, seed=seed, logging_steps=1,
        save_strategy="no", report_to="none", disable_tqdm=True, dataloader_pin_memory=False,
    )  # fmt: skip
    rows = [json.loads(line) for line in Path(prompts).read_text().splitlines()]
    scorer = load_reward_model(reward_model)
    shift = scorer.config.reward_shift
    tokenizer = AutoTokenizer.from_pretrained(policy, padding_side="left")
    trainer = trainer_class(
        model=policy,
        args=config,
        train_dataset=Dataset.from_list([{"prompt": [{"role": "user", "content": row["prompt"]}]} for row in rows]),
        processing_class=tokenizer,
        reward_funcs=scorer,
        reward_processing_classes=AutoTokenizer.from_pretrained(reward_model, padding_side="right"),
        callbacks=[Clock()],
    )
    trainer.train()
    rewards = [entry["reward"] - shift for entry in trainer.state.log_history if "reward" in entry]
    return list(zip(seconds, rewards, strict=True))


if __name__ == "__main__":
    main()
