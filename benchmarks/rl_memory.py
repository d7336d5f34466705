"""Peak memory of PPO on four full models, and with low-rank updates over one trunk: each in a process of its own.

    python -m benchmarks.rl_memory [--hidden 768] [--layers 8] [--steps 2] [--json FILE]

Policy, reference, value and reward model are Llama-style models of one shape, 88 million parameters unless told
otherwise; the reward model is trained for a step as low-rank updates of the policy. "Four models" takes it merged, and
trains all weights of policy and value. "One trunk" (lora_rank=16) holds all four over one set of weights, the reward
model by the adapter beside the merged one. The weights' column is what the models hold, counted once where they share
it; the peak also has gradients, Adam's moments, activations and the copy of the policy that it is sampled from.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VARIANTS = {"four models": {"lora_rank": 0}, "one trunk": {"lora_rank": 16}}


def child(folder: str, lora_rank: str, steps: str) -> None:
    """One run in this process; prints its figures as JSON."""
    from training.__main__ import main as command
    from training.recipes import policy_gradient

    held: dict[int, int] = {}

    def count(*models) -> None:
        for model in models:
            held.update({p.untyped_storage().data_ptr(): p.untyped_storage().nbytes() for p in model.parameters()})

    def counting(load, models_of):
        def counted(*args, **kwargs):
            loaded = load(*args, **kwargs)
            count(*models_of(loaded))
            return loaded

        return counted

    policy_gradient.load_actors = counting(
        policy_gradient.load_actors, lambda actors: (actors.policy, actors.reference, actors.value)
    )
    policy_gradient.load_rewards = counting(
        policy_gradient.load_rewards, lambda rewards: [one.source.model for one in rewards.sources.values()]
    )
    settings = {
        "model": f"{folder}/policy", "reward_model": f"{folder}/reward/model", "prompts": f"{folder}/prompts.jsonl",
        "steps": steps, "prompts_per_step": 2, "samples": 2, "max_tokens": 16, "lora_rank": lora_rank, "device": "cpu",
        "precision": "fp32", "sample_prompts": 0, "checkpoint_every": 0, "epochs": 2, "tokens_per_batch": 512,
    }  # fmt: skip
    pairs = [f"{key}={value}" for key, value in settings.items()]
    with tempfile.TemporaryDirectory(dir=folder) as output:
        code = command(["ppo", "--output", output, *pairs])
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print(json.dumps({"code": code, "peak": peak, "weights": sum(held.values())}))


def make(folder: Path, hidden: int, layers: int) -> int:
    """A policy of the shape with random weights, a reward model over them, and prompts; the number of parameters."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    from benchmarks.training_material import made_up_rows, make_tokenizer

    rows = made_up_rows(200)
    tokenizer = make_tokenizer(rows, 16384)
    config = LlamaConfig(
        vocab_size=16384, hidden_size=hidden, intermediate_size=4 * hidden, num_hidden_layers=layers,
        num_attention_heads=hidden // 64, num_key_value_heads=hidden // 64, tie_word_embeddings=True, pad_token_id=0,
        eos_token_id=1, bos_token_id=None,
    )  # fmt: skip
    torch.manual_seed(0)
    model = LlamaForCausalLM(config)
    model.save_pretrained(folder / "policy")
    tokenizer.save_pretrained(folder / "policy")
    lines = [json.dumps({"prompt": row["prompt"][0]["content"][:40]}) for row in rows]
    (folder / "prompts.jsonl").write_text("\n".join(lines) + "\n")
    (folder / "preferences.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows[:8]))
    settings = {
        "model": folder / "policy", "data": folder / "preferences.jsonl", "lora_rank": 16, "max_steps": 1,
        "batch_size": 4, "heldout": 0, "device": "cpu", "precision": "fp32", "checkpoint_every": 0,
    }  # fmt: skip
    pairs = [f"{key}={value}" for key, value in settings.items()]
    command = [sys.executable, "-m", "training", "reward", "--output", str(folder / "reward"), *pairs]
    subprocess.run(command, cwd=ROOT, env=os.environ | {"HF_HUB_OFFLINE": "1"}, capture_output=True, check=True)
    return model.num_parameters()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hidden", type=int, default=768)
    parser.add_argument("--layers", type=int, default=8)
    parser.add_argument("--steps", type=int, default=2)
    parser.add_argument("--json", type=Path, help="also write the figures here")
    options = parser.parse_args()
    figures = {}
    with tempfile.TemporaryDirectory(prefix="prefloop-rl-memory-") as folder:
        parameters = make(Path(folder), options.hidden, options.layers)
        print(f"{parameters:,} parameters, {4 * parameters / 2**20:,.0f} MiB in float32\n")
        print("| PPO | weights of policy, reference, value, reward | peak of the process |\n| --- | ---: | ---: |")
        for name, settings in VARIANTS.items():
            arguments = ["--child", folder, str(settings["lora_rank"]), str(options.steps)]
            done = subprocess.run(
                [sys.executable, "-m", "benchmarks.rl_memory", *arguments],
                cwd=ROOT, env=os.environ | {"HF_HUB_OFFLINE": "1"}, capture_output=True, text=True,
            )  # fmt: skip
            result = json.loads(done.stdout.splitlines()[-1]) if done.returncode == 0 else {"code": 1}
            if result["code"]:
                raise SystemExit(f"{name} failed:\n{done.stderr[-3000:]}")
            figures[name] = result
            print(f"| {name} | {result['weights'] / 2**20:,.0f} MiB | {result['peak'] / 2**20:,.0f} MiB |", flush=True)
    if options.json:
        options.json.write_text(json.dumps(figures, indent=1))


if __name__ == "__main__":
    if sys.argv[1:2] == ["--child"]:
        child(*sys.argv[2:])
    else:
        main()
