"""Pairs per second of our trainer and of TRL's on the same rows, in one run, alternating; memory; share of the floor.

    python benchmarks/training_throughput.py [--rows 96] [--rounds 3] [--against fp32/1,bf16/8] [--json FILE]

Ours runs through `training.__main__` as the command line does; every run is a process of its own. TRL's are told
`precision/pairs in a forward pass`, and compute the reference's log-probabilities ahead, which is their faster way. The
floor is the time that 6 × (parameters outside the embedding) × (tokens, prompts counted once) operations take at the
matrix rate, measured between the runs in the precision that ours computes in: it counts neither the vocabulary's matrix
products nor DPO's reference model. "All products" counts those too, each as often as the mathematics asks for it. Both
sides' threads wait as our command line has it: ones that spin for ever measure what else runs on the machine.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import torch  # noqa: E402

from benchmarks import training_material  # noqa: E402
from training.runtime import bf16_pays  # noqa: E402

RECIPES = ("reward", "dpo", "sft")


@dataclass(frozen=True)
class Side:
    """`settings` go to `benchmarks.training_sides`."""

    name: str
    module_side: str
    settings: dict


def sides(tokens_per_batch: int, against: list[str]) -> list[Side]:
    """Ours first, then TRL in each of its ways, given as "fp32/4": precision and pairs at once."""
    theirs = [spec.split("/") for spec in against]
    return [
        Side("ours", "ours", {"tokens_per_batch": tokens_per_batch}),
        *(
            Side(f"TRL, {precision}, {at_once} at once", "trl", {"precision": precision, "at_once": at_once})
            for precision, at_once in theirs
        ),
    ]


def run(side: Side, recipe: str, folder: Path, device: str) -> dict:
    """The result of one run in a child process. Raises SystemExit with the child's last words."""
    with tempfile.TemporaryDirectory(prefix="prefloop-cache-") as cache:
        result = Path(cache) / "result.json"
        settings = {"device": device, **side.settings}
        command = [sys.executable, "-m", "benchmarks.training_sides", side.module_side, recipe, str(folder)]
        child = subprocess.run(
            [*command, str(result), *(f"{key}={value}" for key, value in settings.items())],
            cwd=ROOT,
            env={"GOMP_SPINCOUNT": "10000"} | os.environ | {"HF_HUB_OFFLINE": "1", "HF_DATASETS_CACHE": cache},
            capture_output=True,
            text=True,
        )
        if child.returncode:
            raise SystemExit(f"{side.name}, {recipe} failed:\n{child.stderr[-3000:]}")
        return json.loads(result.read_text())


def matrix_rate(device: str, dtype: torch.dtype) -> float:
    """Operations a second of the best of some products as they occur in training."""
    best = 0.0
    for rows, inner, columns in ((1024, 1024, 1024), (2048, 688, 256), (2048, 256, 688), (8192, 4864, 896)):
        if device == "cpu" and rows * inner * columns > 2e9:
            continue
        a, b = (torch.randn(shape, device=device, dtype=dtype) for shape in ((rows, inner), (inner, columns)))
        for _ in range(6):
            begin = time.perf_counter()
            for _ in range(10):
                product = a @ b
            product[0, 0].item()
            best = max(best, 20 * rows * inner * columns / (time.perf_counter() - begin))
    return best


def measure(folder: Path, recipes: list[str], chosen: list[Side], rounds: int, device: str) -> dict:
    """Every side's runs of every recipe, taking turns, and the matrix rates between them."""
    runs: dict = {recipe: {side.name: [] for side in chosen} for recipe in recipes}
    rates = []
    for number in range(rounds):
        for recipe in recipes:
            rates.append(matrix_rate(device, torch.bfloat16 if bf16_pays(device) else torch.float32))
            for side in chosen:
                result = run(side, recipe, folder, device)
                runs[recipe][side.name].append(result)
                print(f"round {number + 1}  {recipe:6}  {side.name:22} {result['seconds']:8.2f} s", file=sys.stderr)
    return {"runs": runs, "rate": statistics.median(rates)}


def table(measured: dict, material: dict, device: str) -> str:
    """Markdown. Seconds are medians over the rounds; memory is the largest."""
    memory = "gpu_memory" if device == "cuda" else "memory"
    lines = [
        "| recipe | trainer | pairs/s | ours is | share of the floor | all products | peak memory |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for recipe, by_side in measured["runs"].items():
        trunk, head = operations(recipe, material)
        passes = 8 if recipe == "dpo" else 6  # the reference's forward pass is two more
        floor, products = 6 * trunk / measured["rate"], passes * (trunk + head) / measured["rate"]
        ours = statistics.median(result["seconds"] for result in by_side["ours"])
        for name, results in by_side.items():
            seconds = statistics.median(result["seconds"] for result in results)
            ratio = "" if name == "ours" else f"{seconds / ours:.1f}× as fast"
            peak = max(result[memory] for result in results) / 2**20
            lines.append(
                f"| {recipe} | {name} | {material['rows'] / seconds:.2f} | {ratio} | {floor / seconds:.0%} "
                f"| {products / seconds:.0%} | {peak:,.0f} MiB |"
            )
    return "\n".join(lines)


def operations(recipe: str, material: dict) -> tuple[int, int]:
    """Multiplications of one pass through the rows: of the trunk at every token, of the head at response tokens."""
    of = "demonstrations" if recipe == "sft" else "pairs"
    trunk = material["outside the embedding"] * material[f"tokens of {of}"]
    return trunk, 0 if recipe == "reward" else material["in the head"] * material[f"response tokens of {of}"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=96, help="pairs a run trains on, in batches of 32")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--recipes", default=",".join(RECIPES))
    parser.add_argument(
        "--against", default="fp32/1", help="TRL's precision/pairs at once; empty for none"
    )
    parser.add_argument("--shape", default="small", choices=list(training_material.SHAPES))
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
    parser.add_argument("--tokens-per-batch", type=int, default=2048, help="ours")
    parser.add_argument("--made-up", action="store_true", help="random rows where the real ones are absent")
    parser.add_argument("--json", type=Path, help="also write every run's figures here")
    options = parser.parse_args()
    if not training_material.HH.is_file() and not options.made_up:
        print(f"Skipped: this measures on real data that is not part of the project, {training_material.HH}.")
        return
    chosen = sides(options.tokens_per_batch, [spec for spec in options.against.split(",") if spec])
    with tempfile.TemporaryDirectory(prefix="prefloop-throughput-") as folder:
        material = training_material.make(Path(folder), options.shape, options.rows)
        measured = measure(Path(folder), options.recipes.split(","), chosen, options.rounds, options.device)
    print(", ".join(f"{name} {value:,}" for name, value in material.items()))
    print(
        f"matrix rate {measured['rate'] / 1e9:,.0f} GFLOP/s, {'bf16' if bf16_pays(options.device) else 'fp32'}, "
        f"{torch.get_num_threads()} threads, {options.device}\n"
    )
    print(table(measured, material, options.device))
    if options.json:
        options.json.write_text(json.dumps({"material": material, **measured}, indent=1))


if __name__ == "__main__":
    main()
