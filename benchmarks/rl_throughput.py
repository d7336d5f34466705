"""Completions per second of our policy-gradient loop and of TRL's, and how soon each reaches a mean reward.

    python -m benchmarks.rl_throughput [--steps 4] [--rounds 2] [--recipes grpo,rloo] [--material DIR] [--json FILE]
    python -m benchmarks.rl_throughput --recipes "" --to-reward REWARD [--limit 35] [--material DIR]

A step samples 8 completions of up to 64 tokens for each of 16 prompts (as the grpo preset does), scores them with a
reward model of the policy's size and updates the policy once: 128 completions. Both sides start from the same policy (9
million parameters, taught to write film-review snippets), take the same prompts and reward model, charge the same KL,
and run in turn, each in a process of its own. TRL runs in the precision that is faster for it here: both are measured
in the first round. The first step of every run is left out of the rate, as each side prepares itself in it. The
learning rate is so small that the policy stays what it was: completions are then equally long on both sides.

With --to-reward both train with GRPO for `sentiment.gold` until the mean reward of the last five steps is that high;
all of the time counts from the first step's beginning on. Without --material the policy and the reward model are
trained first, which takes longer than the measurement; with it they are kept in DIR.
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

from benchmarks import rl_material, sentiment
from benchmarks.rl_sides import GROUP, NEW_TOKENS, WINDOW, reached

ROOT = Path(__file__).resolve().parent.parent
STANDING = 1e-6
"""Learning rate at which the policy stays what it was."""


@dataclass(frozen=True)
class Side:
    name: str
    side: str
    settings: dict


OURS = Side("ours, bf16", "ours", {"precision": "bf16"})
THEIRS = (
    Side("TRL, fp32", "trl", {"precision": "fp32"}),
    Side("TRL, bf16", "trl", {"precision": "bf16"}),
)


def run(side: Side, recipe: str, material: rl_material.Material, options, *, seed: int, **settings) -> dict:
    """One run in a child process: {"curve": [(seconds, reward, length) a step], "memory"}."""
    with tempfile.TemporaryDirectory(prefix="prefloop-rl-") as folder:
        result = Path(folder) / "result.json"
        settings = {
            "policy": material.policy, "prompts": material.prompts, "seed": seed,
            "prompts_per_step": options.prompts_per_step, **settings, **side.settings,
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


def throughput(recipe: str, material, options) -> dict[str, dict]:
    """By side its rates, mean length of completions and peak memory; runs take turns."""
    figures: dict[str, dict] = {}
    sides = [OURS, *THEIRS]
    for number in range(options.rounds):
        for side in sides:
            result = run(
                side, recipe, material, options, seed=number,
                steps=options.steps, learning_rate=STANDING, reward_model=material.reward_model,
            )  # fmt: skip
            of_side = figures.setdefault(side.name, {"rates": [], "lengths": [], "memory": 0})
            of_side["rates"].append(rate(result, options.prompts_per_step * GROUP))
            of_side["lengths"] += [length for _, _, length in result["curve"][1:]]
            of_side["memory"] = max(of_side["memory"], result["memory"])
            print(f"round {number + 1}  {recipe:5} {side.name:10} {of_side['rates'][-1]:7.1f}/s", file=sys.stderr)
        if number == 0:
            sides = [OURS, max(THEIRS, key=lambda side: figures[side.name]["rates"][0])]
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=5, help="steps of a run that is timed")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--recipes", default="grpo,rloo")
    parser.add_argument("--prompts-per-step", type=int, default=16)
    parser.add_argument("--learning-rate", type=float, default=3e-4, help="of --to-reward, for both sides")
    parser.add_argument("--precision", default="bf16", choices=("fp32", "bf16"), help="of TRL's side of --to-reward")
    parser.add_argument("--trl-at-once", type=int, default=64, help="completions in a forward pass of TRL's update")
    parser.add_argument("--to-reward", type=float, help="also train grpo until this mean reward")
    parser.add_argument("--limit", type=int, default=35, help="steps of that at most")
    parser.add_argument("--material", type=Path, help="where the policy and the reward model are, or are to be kept")
    parser.add_argument("--snippets", type=int, default=3000, help="that they learn from")
    parser.add_argument("--shape", default="small")
    parser.add_argument("--json", type=Path, help="also write all figures here")
    options = parser.parse_args()
    if not sentiment.POLARITY.is_file():
        print(f"Skipped: this measures on real data that is not part of the project, {sentiment.POLARITY}.")
        return
    with tempfile.TemporaryDirectory(prefix="prefloop-rl-material-") as folder:
        material = rl_material.find(options.material) if options.material else None
        material = material or rl_material.make(
            options.material or Path(folder), shape=options.shape, snippets=options.snippets
        )
        figures = report_throughput(material, options) if options.recipes else {}
        if options.to_reward is not None:
            figures |= report_time_to_reward(material, options)
    if options.json:
        options.json.write_text(json.dumps(figures, indent=1))


def report_throughput(material: rl_material.Material, options) -> dict:
    completions = options.prompts_per_step * GROUP
    prompts = f"{options.prompts_per_step} prompts × {GROUP}"
    print(f"{completions} completions a step ({prompts}) of up to {NEW_TOKENS} tokens")
    print("\n| recipe | trainer | completions/s | ours is | mean tokens | peak memory |")
    print("| --- | --- | ---: | ---: | ---: | ---: |")
    figures: dict = {}
    for recipe in options.recipes.split(","):
        figures[recipe] = throughput(recipe, material, options)
        ours = statistics.median(figures[recipe][OURS.name]["rates"])
        for name, of_side in figures[recipe].items():
            median, length = statistics.median(of_side["rates"]), statistics.fmean(of_side["lengths"])
            ratio = "" if name == OURS.name else f"{ours / median:.1f}×"
            memory = f"{of_side['memory'] / 2**20:,.0f} MiB"
            print(f"| {recipe} | {name} | {median:.1f} | {ratio} | {length:.1f} | {memory} |", flush=True)
    return figures


def report_time_to_reward(material: rl_material.Material, options) -> dict:
    print(
        f"\nGRPO for the gold scorer, which has {sentiment.accuracy():.0%} of held-out snippets right, with a learning "
        f"rate of {options.learning_rate:g}, until the last {WINDOW} steps' mean is {options.to_reward}\n"
    )
    print("| trainer | seconds | steps | first reward | last rewards |\n| --- | ---: | ---: | ---: | ---: |")
    figures: dict = {}
    for side in (OURS, next(side for side in THEIRS if side.settings["precision"] == options.precision)):
        curve = run(
            side, "grpo", material, options, seed=0, steps=options.limit, learning_rate=options.learning_rate,
            until=options.to_reward,
        )["curve"]  # fmt: skip
        figures[f"curve of {side.name}"] = curve
        seconds = reached(curve, options.to_reward)
        shown = f"{seconds:.0f}" if seconds is not None else f"not in {curve[-1][0]:.0f}"
        last = statistics.fmean(point[1] for point in curve[-WINDOW:])
        print(f"| {side.name} | {shown} | {len(curve)} | {curve[0][1]:.2f} | {last:.2f} |", flush=True)
    return figures


if __name__ == "__main__":
    main()
