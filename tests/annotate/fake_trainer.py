"""A stand-in for `python -m training` that keeps the contract of the run directory in a few milliseconds.

Called as `fake_trainer.py -m training RECIPE --config FILE --output DIR`; what it does is the JSON in FAKE_TRAINER:
`steps`, `pause` (seconds a step), `hold` ([step, path]: after that step it waits while the path is there), `then` (how
it ends) and `ignore_term`. It resumes from its newest checkpoint.
"""

import json
import os
import signal
import sys
import time
from pathlib import Path

plan = {"steps": 4, "pause": 0.0, "hold": [0, ""], "then": "succeed", "ignore_term": False}
plan |= json.loads(os.environ["FAKE_TRAINER"])
output = Path(sys.argv[sys.argv.index("--output") + 1])
config = json.loads(Path(sys.argv[sys.argv.index("--config") + 1]).read_text())
recipe = sys.argv[3]
checkpoints = output / "checkpoints"
step = 0


def say(kind, **fields):
    with open(output / "events.jsonl", "a") as file:
        file.write(json.dumps({"time": time.time(), "kind": kind, "step": step, **fields}) + "\n")


def checkpoint():
    (checkpoints / f"step-{step}").mkdir(parents=True, exist_ok=True)
    say("checkpoint", path=f"checkpoints/step-{step}")


def on_term(number, frame):
    if plan["ignore_term"]:
        return
    checkpoint()
    say("end", status="cancelled", error=None, metrics={})
    os._exit(143)


signal.signal(signal.SIGTERM, on_term)
resumed = max((int(p.name.removeprefix("step-")) for p in checkpoints.glob("step-*")), default=None)
say("start", recipe=recipe, device="cpu", total=plan["steps"], resumed_from=resumed)
for step in range((resumed or 0) + 1, plan["steps"] + 1):
    time.sleep(plan["pause"])
    say("progress", total=plan["steps"], phase="training")
    say("metrics", total=plan["steps"], values={"loss": 1.0 / step})
    print(f"step {step} of {plan['steps']}", flush=True)
    while step == plan["hold"][0] and os.path.exists(plan["hold"][1]):
        time.sleep(0.02)

then = plan["then"]
if then == "succeed":
    if recipe == "generate":
        with open(output / "responses.jsonl", "w") as responses:
            for line in Path(config["prompts"]).read_text().splitlines():
                prompt = json.loads(line)["prompt"]
                texts = plan["answers"].get(prompt[-1]["content"], plan["answers"].get("*"))
                row = {"prompt": prompt, "responses": [{"text": text} for text in texts]}
                responses.write(json.dumps(row) + "\n")
    else:
        (output / "model").mkdir(exist_ok=True)
        (output / "model" / "config.json").write_text(json.dumps({"made_from": config["model"]}))
        (output / "model" / "model.safetensors").write_bytes(b"weights")
    say("end", status="succeeded", error=None, metrics={"loss": 0.25})
elif then == "refuse":
    print("data.jsonl, line 3: expected valid JSON", file=sys.stderr)
    say("end", status="failed", error="data.jsonl, line 3: expected valid JSON", metrics={})
    sys.exit(2)
elif then == "refuse before any event":
    print("unknown recipe", file=sys.stderr)
    sys.exit(2)
elif then == "killed":
    os.kill(os.getpid(), signal.SIGKILL)
elif then == "segfault":
    os.kill(os.getpid(), signal.SIGSEGV)
elif then == "raise":
    raise RuntimeError("the loss is not finite")
elif then == "fill the disk":
    with open("/dev/full", "w") as full:
        full.write("x" * 100_000)
elif then == "no model":
    say("end", status="succeeded", error=None, metrics={})
elif then == "silent":
    pass
elif then == "half a line":
    with open(output / "events.jsonl", "a") as file:
        file.write('{"time": 1.0, "kind": "end", "status": "succ')
