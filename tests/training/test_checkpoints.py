"""Checkpoints: whole or absent, resumed runs equal uninterrupted ones bit for bit, also after kill -9 and SIGTERM."""

import os
import signal
import subprocess
import sys
import threading

import pytest
import torch

from tests.servers import NEVER
from tests.training.runs import Run, arguments, train, write_lines
from tests.training.tiny import make_gpt2, save_tiny
from training import checkpoints, runtime
from training.loop import Trainer


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return save_tiny(tmp_path_factory.mktemp("gpt2"), make_gpt2())


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    rows = [{"prompt": f"Say {n}", "completion": "ab" * (n % 7 + 1)} for n in range(20)]
    return write_lines(tmp_path_factory.mktemp("data") / "rows.jsonl", rows)


SETTINGS = {
    "batch_size": 4, "epochs": 4, "learning_rate": 0.003, "dropout": 0.1, "heldout": 0.1, "sample_prompts": 0,
    "evaluate_every": 3, "checkpoint_every": 2, "log_every": 1,
}  # fmt: skip


def bits(run: Run) -> dict[str, bytes]:
    return {name: weight.numpy().tobytes() for name, weight in run.weights.items()}


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory, model, data):
    """Twenty steps with dropout, so that random numbers matter too."""
    return train("sft", tmp_path_factory.mktemp("whole"), model=model, data=data, **SETTINGS)


def test_save_keeps_the_newest_and_the_best(tmp_path):
    for step in range(1, 6):
        checkpoints.save(tmp_path, step, {"w": torch.full((2,), float(step))}, {"best_step": 2}, keep=2)
    assert sorted(os.listdir(tmp_path / "checkpoints")) == ["step-2", "step-4", "step-5"]
    tensors, state = checkpoints.load_newest(tmp_path)
    assert tensors["w"].tolist() == [5.0, 5.0]
    assert state["step"] == 5


@pytest.mark.parametrize("moment", ["save_file", "write_json", "fsync_tree", "replace_directory"])
def test_a_run_cut_off_while_writing_leaves_the_checkpoint_before(tmp_path, monkeypatch, moment):
    """As kill -9 would: nothing after the point of death runs, clean-up included."""
    checkpoints.save(tmp_path, 1, {"w": torch.ones(2)}, {}, keep=2)

    def killed(*args, **kwargs):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(checkpoints, moment, killed)
        patch.setattr(checkpoints.shutil, "rmtree", lambda *args, **kwargs: None)
        with pytest.raises(KeyboardInterrupt):
            checkpoints.save(tmp_path, 2, {"w": torch.zeros(2)}, {}, keep=2)
    assert sorted(os.listdir(tmp_path / "checkpoints")) == [".step-2.part", "step-1"]
    assert checkpoints.load_newest(tmp_path)[0]["w"].tolist() == [1.0, 1.0]
    checkpoints.save(tmp_path, 3, {"w": torch.zeros(2)}, {}, keep=2)
    assert checkpoints.load_newest(tmp_path)[1]["step"] == 3
    assert sorted(os.listdir(tmp_path / "checkpoints")) == ["step-1", "step-3"]


def test_a_full_disk_leaves_no_half_checkpoint(tmp_path):
    """/dev/full refuses every write, as a full disk does."""
    (tmp_path / "checkpoints").mkdir()
    checkpoints.save(tmp_path, 1, {"w": torch.ones(2)}, {}, keep=2)
    original = checkpoints.save_file

    def onto_full_disk(tensors, path):
        path.symlink_to("/dev/full")
        with open(path, "wb") as file:
            file.write(b"x" * 100_000)
        original(tensors, path)

    checkpoints.save_file = onto_full_disk
    try:
        with pytest.raises(OSError, match="No space left"):
            checkpoints.save(tmp_path, 2, {"w": torch.zeros(2)}, {}, keep=2)
    finally:
        checkpoints.save_file = original
    assert os.listdir(tmp_path / "checkpoints") == ["step-1"]


@pytest.mark.parametrize("stop_after", [6, 7])
def test_a_resumed_run_equals_an_uninterrupted_one(tmp_path, model, data, uninterrupted, stop_after, monkeypatch):
    """Killed after step 6 (with a checkpoint of that step) or 7 (one step lost, and done again)."""
    evaluate_or_save = Trainer._evaluate_or_save

    def die(self):
        evaluate_or_save(self)
        if self.step == stop_after:
            raise RuntimeError("killed")

    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "_evaluate_or_save", die)
        assert train("sft", tmp_path, model=model, data=data, **SETTINGS).code == 1
    assert not (tmp_path / "model").exists()
    resumed = train("sft", tmp_path, model=model, data=data, **SETTINGS)
    assert [event["resumed_from"] for event in resumed.of_kind("start")] == [None, 6]
    assert bits(resumed) == bits(uninterrupted)
    assert resumed.metrics["loss_heldout"] == uninterrupted.metrics["loss_heldout"]


@pytest.mark.parametrize("began_in", ["bf16", "fp32"])
def test_a_run_goes_on_in_the_precision_that_it_began_in(tmp_path, model, data, monkeypatch, began_in):
    """Which of the two is faster is measured, and may come out differently the next time."""
    monkeypatch.setattr(runtime, "bf16_pays", lambda device: began_in == "bf16")
    settings = SETTINGS | {"precision": "auto"}
    train("sft", tmp_path, model=model, data=data, **settings)
    monkeypatch.setattr(runtime, "bf16_pays", lambda device: began_in != "bf16")
    again = train("sft", tmp_path, model=model, data=data, **settings)
    told = [event["text"] for event in again.of_kind("message") if "computing in" in event["text"]]
    assert told[0] == told[1]


def test_a_run_begun_differently_is_not_gone_on_with(tmp_path, model, data, capsys):
    train("sft", tmp_path, model=model, data=data, **SETTINGS)
    other = train("sft", tmp_path, model=model, data=data, **SETTINGS | {"learning_rate": 0.5})
    assert other.code == 2
    assert "made with learning_rate=0.003, not 0.5" in capsys.readouterr().err
    afresh = train("sft", tmp_path, model=model, data=data, **SETTINGS | {"learning_rate": 0.001, "resume": False})
    assert afresh.of_kind("start")[-1]["resumed_from"] is None


def test_a_run_goes_on_with_less_memory_and_after_an_upgrade(tmp_path, model, data, capsys):
    """Told to lower tokens_per_batch when memory ran out; and with a setting that its checkpoint knows nothing of."""
    stopped = SETTINGS | {"max_steps": 6}
    train("sft", tmp_path, model=model, data=data, **stopped)
    tensors, state = checkpoints.load_newest(tmp_path)
    del state["config"]["lora_dropout"]
    checkpoints.save(tmp_path, state.pop("step"), tensors, state, keep=2)
    told = stopped | {"tokens_per_batch": 64, "sample_prompts": 1}
    assert train("sft", tmp_path, model=model, data=data, **told).code == 0
    assert train("sft", tmp_path, model=model, data=data, **told | {"lora_dropout": 0.1}).code == 2
    assert "made with lora_dropout=0.0, not 0.1" in capsys.readouterr().err


def start_in_background(output, model, data, **settings) -> subprocess.Popen:
    command = [sys.executable, "-m", "training", *arguments("sft", output, model=model, data=data, **settings)]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment)


def wait_for_line(process: subprocess.Popen, words: str) -> None:
    """Read its output until a line holds these words; the process is killed if they do not come."""
    watchdog = threading.Timer(5 * NEVER, process.kill)
    watchdog.start()
    try:
        assert any(words in line for line in process.stdout), f"the run ended before it said {words!r}"
    finally:
        watchdog.cancel()


LONG = SETTINGS | {"epochs": 100_000, "schedule": "constant", "warmup": 0, "evaluate_every": "none"}


def test_sigterm_writes_a_checkpoint_and_exits_143(tmp_path, model, data):
    process = start_in_background(tmp_path, model, data, **LONG | {"checkpoint_every": 0})
    wait_for_line(process, "step 3/")
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=NEVER)
    run = Run(process.returncode, tmp_path)
    assert run.code == 143
    assert run.events[-1]["status"] == "cancelled"
    (checkpoint,) = run.of_kind("checkpoint")
    assert checkpoints.load_newest(tmp_path)[1]["step"] == checkpoint["step"] >= 3


def test_kill_9_at_any_moment_leaves_a_checkpoint_that_loads(tmp_path, model, data):
    process = start_in_background(tmp_path, model, data, **LONG | {"checkpoint_every": 1})
    wait_for_line(process, "step 5/")
    process.kill()
    process.communicate(timeout=NEVER)
    tensors, state = checkpoints.load_newest(tmp_path)
    assert state["step"] >= 4
    assert all(torch.isfinite(tensor).all() for name, tensor in tensors.items() if name.startswith("weights/"))
