"""One training run, timed in a process of its own: by our command line's code, or by TRL's trainer on the same rows.

    python -m benchmarks.training_sides ours|trl sft|reward|dpo FOLDER RESULT key=value …

FOLDER holds what `training_material.make` wrote. RESULT gets a JSON object: seconds of training (of DPO with the
reference's log-probabilities), peak memory of the process and of the GPU in bytes.
"""

import json
import resource
import sys
import time
from pathlib import Path

import torch

BATCH = 32
LEARNING_RATE = 1e-5


def main() -> None:
    side, recipe, folder, result, *pairs = sys.argv[1:]
    settings = dict(pair.split("=", 1) for pair in pairs)
    seconds = {"ours": ours, "trl": trl}[side](recipe, Path(folder), **settings)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    on_gpu = torch.cuda.max_memory_allocated() if torch.cuda.is_available() else 0
    Path(result).write_text(json.dumps({"seconds": seconds, "memory": peak, "gpu_memory": on_gpu}))


def data_file(recipe: str, folder: Path) -> Path:
    return folder / ("demonstrations.jsonl" if recipe == "sft" else "preferences.jsonl")


def ours(recipe: str, folder: Path, *, device: str, tokens_per_batch: str, precision: str = "auto") -> float:
    """Seconds between the run's own events: from the first computation to the last optimizer step."""
    from training.__main__ import main as command

    output = folder / f"run-{recipe}-{time.time_ns()}"
    settings = {
        "model": folder / "policy", "data": data_file(recipe, folder), "heldout": 0, "batch_size": BATCH,
        "tokens_per_batch": tokens_per_batch, "learning_rate": LEARNING_RATE, "device": device,
        "precision": precision, "checkpoint_every": 0,
    }  # fmt: skip
    if recipe != "reward":
        settings["sample_prompts"] = 0
    code = command([recipe, "--output", str(output), *(f"{key}={value}" for key, value in settings.items())])
    if code:
        raise SystemExit(code)
    events = [json.loads(line) for line in (output / "events.jsonl").read_text().splitlines()]
    begin = next(event for event in events if event["kind"] in ("progress", "start"))
    end = [event for event in events if event["kind"] == "metrics" and "loss" in event["values"]][-1]
    return end["time"] - begin["time"]


def trl(recipe: str, folder: Path, *, device: str, at_once: str, precision: str) -> float:
    """Seconds from the first computation to the last optimizer step. `at_once`: pairs in a forward pass."""
    import trl
    from datasets import Dataset
    from transformers import AutoTokenizer, TrainerCallback

    clock = {}

    class Clock(TrainerCallback):
        def on_train_begin(self, *args, **kwargs):
            clock["begin"] = time.perf_counter()

        def on_step_end(self, *args, **kwargs):
            if torch.cuda.is_available():
                torch.cuda.synchronize()
            clock["end"] = time.perf_counter()

    trainer_class, config_class = {
        "sft": (trl.SFTTrainer, trl.SFTConfig),
        "reward": (trl.RewardTrainer, trl.RewardConfig),
        "dpo": (trl.DPOTrainer, trl.DPOConfig),
    }[recipe]
    if recipe == "dpo":
        compute = trainer_class._precompute_ref_logps

        def timed(*args, **kwargs):
            began = time.perf_counter()
            result = compute(*args, **kwargs)
            clock["reference"] = time.perf_counter() - began
            return result

        trainer_class._precompute_ref_logps = timed
    config = config_class(
        output_dir=str(folder / "trl"), per_device_train_batch_size=int(at_once), num_train_epochs=1,
        gradient_accumulation_steps=BATCH // int(at_once), learning_rate=LEARNING_RATE, max_length=2048,
        bf16=precision == "bf16", gradient_checkpointing=False, use_cpu=device == "cpu", logging_steps=10,
        save_strategy="no", report_to="none", disable_tqdm=True, dataloader_pin_memory=device != "cpu",
        **({"precompute_ref_log_probs": True} if recipe == "dpo" else {}),
    )  # fmt: skip
    rows = [json.loads(line) for line in data_file(recipe, folder).read_text().splitlines()]
    trainer = trainer_class(
        model=str(folder / "policy"),
        args=config,
        train_dataset=Dataset.from_list(rows),
        processing_class=AutoTokenizer.from_pretrained(folder / "policy"),
        callbacks=[Clock()],
    )
    trainer.train()
    return clock["end"] - clock["begin"] + clock.get("reference", 0.0)


if __name__ == "__main__":
    main()
