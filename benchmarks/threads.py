"""Tokens a second of the starter model's training, by threads, by how long they spin, and beside busy programs.

    python -m benchmarks.threads [--seconds 5] [--busy 0 1 8] [--threads 1 2] [--spins 10000 3000 1000 0]

Each figure is a process of its own, since GNU OpenMP reads GOMP_SPINCOUNT when it is loaded. Texts are random tokens of
about the length that the starter reads. Run it with the machine to itself: it makes its own busy programs.
"""

import argparse
import contextlib
import os
import random
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
VOCABULARY = 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=5)
    parser.add_argument("--busy", type=int, nargs="+", default=[0, 1, 8], help="programs that compute all the time")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--spins", type=int, nargs="+", default=[10_000, 3_000, 1_000, 0])
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        print(tokens_per_second(options.seconds))
        return
    # One thread waits for nobody, so it has no spinning to vary.
    arrangements = [(1, options.spins[0])] if 1 in options.threads else []
    arrangements += [(threads, spins) for threads in options.threads if threads > 1 for spins in options.spins]
    print("| threads | looks before sleeping | " + " | ".join(f"beside {busy}" for busy in options.busy) + " |")
    print("| ---: | ---: |" + " ---: |" * len(options.busy))
    for threads, spins in arrangements:
        rates = [rate(threads, spins, busy, options.seconds) for busy in options.busy]
        print(f"| {threads} | {spins:,} | " + " | ".join(f"{rate:,.0f}" for rate in rates) + " |", flush=True)


def rate(threads: int, spins: int, busy: int, seconds: float) -> float:
    """Of a process with so many threads beside so many busy programs."""
    environment = os.environ | {"OMP_NUM_THREADS": str(threads), "GOMP_SPINCOUNT": str(spins)}
    command = [sys.executable, "-m", "benchmarks.threads", "--child", "--seconds", str(seconds)]
    with busy_programs(busy):
        done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True)
    return float(done.stdout)


@contextlib.contextmanager
def busy_programs(count: int):
    programs = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(count)]
    try:
        yield
    finally:
        for program in programs:
            program.kill()
            program.wait()


def tokens_per_second(seconds: float) -> float:
    import torch

    from training.batching import Example, collate, token_cost
    from training.logprobs import supports_shared_prefix
    from training.recipes.sft import SFTObjective
    from training.recipes.starter import new_model
    from training.recipes.starter_config import StarterConfig

    class Tokenizer:
        bos_token_id, eos_token_id, pad_token_id = 1, 2, 0

        def __len__(self):
            return VOCABULARY

    config = StarterConfig(output="")
    model, draw = new_model(config, Tokenizer()), random.Random(0)
    shared = supports_shared_prefix(model)
    objective, optimizer = SFTObjective(model), torch.optim.AdamW(model.parameters(), fused=True)

    def text(length: int) -> tuple[int, ...]:
        return tuple(draw.randrange(VOCABULARY) for _ in range(length))

    def step() -> int:
        examples = [Example(text(20), (text(draw.randrange(5, 30)),), i) for i in range(config.batch_size)]
        loss, _ = objective(collate(examples, 0, shared=shared, device="cpu"))
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        return sum(token_cost(example, shared) for example in examples)

    step()
    started, tokens = time.perf_counter(), 0
    while time.perf_counter() - started < seconds:
        tokens += step()
    return tokens / (time.perf_counter() - started)


if __name__ == "__main__":
    main()
