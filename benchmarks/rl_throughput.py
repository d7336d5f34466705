"""Completions per second of our policy-gradient loop and of TRL's, and how soon each reaches a mean reward.

    python -m benchmarks.rl_throughput [--steps 4] [--rounds 2] [--recipes grpo,rloo] [--to-reward 1.0 --limit 150]
        [--material DIR] [--shape small] [--json FILE]

A step samples 8 completions of up to 64 tokens for each of 16 prompts (as the grpo preset does), scores them with a
reward model of the policy's size and updates the policy once: 128 completions. Both sides start from the same policy (9
million parameters, taught to write film-review snippets), take the same prompts and reward model, charge the same KL,
and run in turn, each in a process of its own. TRL runs in the precision that is faster for it here: both are measured
in the first round. The first step of every run is left out of the rate, as each side prepares itself in it.

With --to-reward both train on until the mean reward of the last five steps is that high. Without --material the policy
and the reward model are trained first, which takes longer than the measurement; with it they are kept in DIR.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from benchmarks import rl_material
from benchmarks.rl_sides import GROUP, NEW_TOKENS

ROOT = Path(__file__).resolve().parent.parent
WINDOW = 5


@dataclass(frozen=True)
class Side:
    name: str
    side: str
    settings: dict


OURS = Side("ours", "ours", {})
THEIRS = (
    Side("TRL, fp32", "trl", {"precision": "fp32"}),
    Side("TRL, bf16", "trl", {"precision": "bf16"}),
)


def run(side: Side, recipe: str, material: rl_material.Material, options, *, steps: int, seed: int) -> dict:
    """One run in a child process: {"curve": [(seconds, reward) a step], "memory"}."""
    with tempfile.TemporaryDirectory(prefix="prefloop-rl-") as folder:
        result = Path(folder) / "result.json"
        settings = {
            "policy": material.policy, "reward_model": material.reward_model, "prompts": material.prompts,
            "steps": steps, "seed": seed, "prompts_per_step": options.prompts_per_step,
            "learning_rate": options.learning_rate, **side.settings,
        }  # fmt: skip
        if side.side == "trl":
            settings["at_once"] = options.trl_at_once
        command = [sys.executable, "-m", "benchmarks.rl_sides", side.side, recipe, str(result)]
        child = subprocess.run(
            [*command, *(f"{key}={value}" for key, value in settings.items())],
            cwd=ROOT,
            env={"GOMP_SPINCOUNT": "10000"} | os.environ | {"HF_HUB_OFFLINE": "1", "HF_DATASETS_CACHE": folder},
            capture_output=True,
            text=True,
        )
        if child.returncode:
            raise SystemExit(f"{side.name}, {recipe} failed:\n{child.stderr[-3000:]}")
        return json.loads(result.read_text())


def rate(result: dict, completions: int) -> float:
    """Completions per second, without the first step."""
    curve = result["curve"]
    return (len(curve) - 1) * completions / (curve[-1][0] - curve[0][0])


def throughput(recipe: str, material, options) -> tuple[dict[str, list[float]], dict[str, int], Side]:
    """Rates and peak memory by side, runs taking turns; and the side of TRL that was fastest."""
    rates: dict[str, list[float]] = {}
    memory: dict[str, int] = {}
    sides = [OURS, *THEIRS]
    for number in range(options.rounds):
        for side in sides:
            result = run(side, recipe, material, options, steps=options.steps, seed=number)
            rates.setdefault(side.name, []).append(rate(result, options.prompts_per_step * GROUP))
            memory[side.name] = max(memory.get(side.name, 0), result["memory"])
            print(f"round {number + 1}  {recipe:5} {side.name:10} {rates[side.name][-1]:7.1f}/s", file=sys.stderr)
        if number == 0:
            best = max(THEIRS, key=lambda side: rates[side.name][0])
            sides = [OURS, best]
    return rates, memory, best


def seconds_to(curve: list[tuple[float, float]], reward: float) -> float | None:
    """When the mean reward of the last WINDOW steps first was that high; None if it never was."""
    for last in range(WINDOW, len(curve) + 1):
        if statistics.fmean(value for _, value in curve[last - WINDOW : last]) >= reward:
            return curve[last - 1][0]
    return None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=5, help="steps of a run that is timed")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--recipes", default="grpo,rloo")
    parser.add_argument("--prompts-per-step", type=int, default=16)
    parser.add_argument("--learning-rate", type=float, default=3e-4)
    parser.add_argument("--trl-at-once", type=int, default=64, help="completions in a forward pass of TRL's update")
    parser.add_argument("--to-reward", type=float, help="also train grpo until this mean reward")
    parser.add_argument("--limit", type=int, default=60, help="steps of that at most")
    parser.add_argument("--material", type=Path, help="where the policy and the reward model are, or are to be kept")
    parser.add_argument("--snippets", type=int, default=3000, help="that they learn from")
    parser.add_argument("--shape", default="small")
    parser.add_argument("--json", type=Path, help="also write all figures here")
    options = parser.parse_args()
    if not rl_material.POLARITY.is_file():
        print(f"Skipped: this measures on real data that is not part of the project, {rl_material.POLARITY}.")
        return
    with tempfile.TemporaryDirectory(prefix="prefloop-rl-material-") as folder:
        material = rl_material.find(options.material) if options.material else None
        material = material or rl_material.make(
            options.material or Path(folder), shape=options.shape, snippets=options.snippets
        )
        report(material, options)


def report(material: rl_material.Material, options) -> None:
    completions = options.prompts_per_step * GROUP
    print(
        f"{completions} completions a step ({options.prompts_per_step} prompts × {GROUP}) of up to {NEW_TOKENS} "
        f"tokens; the scorer has {material.accuracy:.0%} of held-out pairs right.\n"
    )
    print("| recipe | trainer | completions/s | ours is | peak memory |\n| --- | --- | ---: | ---: | ---: |")
    figures: dict = {}
    for recipe in options.recipes.split(","):
        rates, memory, best = throughput(recipe, material, options)
        figures[recipe] = {"rates": rates, "memory": memory}
        ours = statistics.median(rates[OURS.name])
        for name, values in rates.items():
            ratio = "" if name == OURS.name else f"{ours / statistics.median(values):.1f}×"
            print(
                f"| {recipe} | {name} | {statistics.median(values):.1f} | {ratio} | {memory[name] / 2**20:,.0f} MiB |",
                flush=True,
            )
    if options.to_reward is not None:
        print(f"\n| GRPO to a mean reward of {options.to_reward} | seconds | reward of the last {WINDOW} steps |")
        print("| --- | ---: | ---: |")
        for side in (OURS, best):
            curve = run(side, "grpo", material, options, steps=options.limit, seed=0)["curve"]
            figures[f"curve of {side.name}"] = curve
            seconds = seconds_to(curve, options.to_reward)
            final = statistics.fmean(reward for _, reward in curve[-WINDOW:])
            reached = f"{seconds:.0f}" if seconds is not None else f"not in {curve[-1][0]:.0f}"
            print(f"| {side.name} | {reached} | {final:.2f} |", flush=True)
    if options.json:
        options.json.write_text(json.dumps(figures, indent=1))


if __name__ == "__main__":
    main()
