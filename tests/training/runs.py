"""Runs of the trainer's command line inside the test's own process, and what they left in the run directory."""

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from safetensors.torch import load_file

from training.__main__ import main

ROOT = Path(__file__).resolve().parents[2]


@dataclass
class Run:
    code: int
    output: Path

    @property
    def events(self) -> list[dict]:
        return [json.loads(line) for line in (self.output / "events.jsonl").read_text().splitlines()]

    def of_kind(self, kind: str) -> list[dict]:
        return [event for event in self.events if event["kind"] == kind]

    def curve(self, name: str) -> list[float]:
        return [event["values"][name] for event in self.of_kind("metrics") if name in event["values"]]

    @property
    def metrics(self) -> dict:
        return json.loads((self.output / "metrics.json").read_text())

    @property
    def weights(self) -> dict:
        return load_file(self.output / "model" / "model.safetensors")

    @property
    def error(self) -> str | None:
        return self.of_kind("end")[-1]["error"]


def arguments(recipe: str, output, **settings) -> list[str]:
    """Exact arithmetic on the CPU unless told otherwise."""
    settings = {"precision": "fp32", "device": "cpu", **settings}
    return [recipe, "--output", str(output), *[f"{key}={value}" for key, value in settings.items()]]


def train(recipe: str, output, **settings) -> Run:
    return Run(main(arguments(recipe, output, **settings)), Path(output))


def in_two_processes(script: str, directory: Path, *words: str) -> None:
    """Run the script in two processes that exchange by gloo on the CPU; it gets the words as its arguments."""
    (directory / "script.py").write_text(script)
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2"]
    done = subprocess.run(
        [*command, str(directory / "script.py"), *words],
        capture_output=True,
        text=True,
        timeout=600,
        env=os.environ | {"OMP_NUM_THREADS": "1", "ACCELERATE_USE_CPU": "true", "PYTHONPATH": str(ROOT)},
    )
    assert done.returncode == 0, done.stdout[-500:] + done.stderr[-3000:]


def write_lines(path: Path, rows) -> str:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return str(path)
