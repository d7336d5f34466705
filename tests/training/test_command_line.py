"""`python -m training`: exit codes, what a run directory holds at each end, and nothing half written."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.training.runs import train, write_lines
from tests.training.tiny import save_tiny
from training import models
from training.__main__ import main
from training.events import EventLog

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return save_tiny(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    rows = [{"prompt": f"Say {n}", "completion": "yes"} for n in range(8)]
    return write_lines(tmp_path_factory.mktemp("data") / "rows.jsonl", rows)


def test_a_run_from_a_shell(tmp_path, model, data):
    config = tmp_path / "config.json"
    config.write_text(json.dumps({"recipe": "sft", "model": model, "data": data, "batch_size": 4, "device": "cpu"}))
    command = [sys.executable, "-m", "training", "sft", "--config", str(config), "--output", str(tmp_path / "run")]
    done = subprocess.run(
        [*command, "epochs=2"], cwd=ROOT, capture_output=True, text=True, env=os.environ | {"OMP_NUM_THREADS": "1"}
    )
    assert done.returncode == 0, done.stderr
    run = tmp_path / "run"
    assert sorted(os.listdir(run)) == ["config.json", "events.jsonl", "metrics.json", "model"]
    assert {"config.json", "model.safetensors", "tokenizer.json"} <= set(os.listdir(run / "model"))
    resolved = json.loads((run / "config.json").read_text())
    assert (resolved["epochs"], resolved["batch_size"], resolved["learning_rate"]) == (2, 4, 1e-5)
    events = [json.loads(line) for line in (run / "events.jsonl").read_text().splitlines()]
    kinds = [event["kind"] for event in events]
    assert kinds[-1] == "end"
    assert kinds.index("start") < kinds.index("metrics") < kinds.index("samples")
    assert all({"time", "kind", "step"} <= event.keys() for event in events)
    end = events[-1]
    assert (end["status"], end["error"], end["step"]) == ("succeeded", None, 4)
    assert end["metrics"] == json.loads((run / "metrics.json").read_text())


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"model": "/no/such/model"}, "model /no/such/model is not there: no such directory"),
        ({"model": "some/hub-model"}, "some/hub-model is not a local directory, and the model hub does not give it"),
        ({"modle": "x"}, "sft has no setting modle (did you mean model?)"),
        ({"data": "/no/data.jsonl"}, "data.jsonl: expected a file, and there is none of this name"),
    ],
)
def test_wrong_input_ends_with_2_and_one_sentence(tmp_path, model, data, capsys, settings, sentence):
    run = train("sft", tmp_path, **{"model": model, "data": data} | settings)
    assert run.code == 2
    assert sentence in run.error
    assert run.events[-1]["status"] == "failed"
    error = capsys.readouterr().err.strip()
    assert error.splitlines()[-1] == run.error
    assert "Traceback" not in error
    assert not (tmp_path / "model").exists()


def test_empty_and_malformed_data(tmp_path, model):
    empty = tmp_path / "empty.jsonl"
    empty.write_text("\n")
    run = train("sft", tmp_path / "a", model=model, data=empty)
    assert (run.code, run.error) == (2, f"{empty} holds no rows: there is nothing to train on")
    bad = write_lines(tmp_path / "bad.jsonl", [{"prompt": "a", "completion": "b"}, {"prompt": "a", "completion": ""}])
    run = train("sft", tmp_path / "b", model=model, data=bad)
    assert (run.code, run.error) == (2, 'bad.jsonl, line 2, field "completion": expected a text that is not empty')


def test_a_directory_without_a_model_and_a_broken_model(tmp_path, model, data):
    (tmp_path / "hollow").mkdir()
    run = train("sft", tmp_path / "a", model=tmp_path / "hollow", data=data)
    assert run.code == 2
    assert "holds no model" in run.error
    broken = save_tiny(tmp_path / "broken")
    weights = Path(broken) / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    run = train("sft", tmp_path / "b", model=broken, data=data)
    assert run.code == 2
    assert f"the model in {broken} cannot be loaded" in run.error


def test_a_full_disk_while_the_model_is_written(tmp_path, model, data, monkeypatch):
    def full(*args, **kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(models, "fsync_tree", full)
    run = train("sft", tmp_path, model=model, data=data)
    assert run.code == 1
    assert run.error == f"the disk that holds {tmp_path} is full"
    assert not (tmp_path / "model").exists()
    assert not list(tmp_path.glob(".*"))


def test_what_an_earlier_run_left_does_not_pass_for_this_ones(tmp_path, model, data):
    assert train("sft", tmp_path, model=model, data=data).code == 0
    assert train("sft", tmp_path, model="/no/such/model", data=data).code == 2
    assert not (tmp_path / "model").exists()
    assert not (tmp_path / "metrics.json").exists()


def test_words_that_are_no_settings(tmp_path, capsys):
    assert main(["sft", "--output", str(tmp_path), "epochs"]) == 2
    assert "epochs is not a setting: write key=value" in capsys.readouterr().err
    assert main(["sft", "--settings"]) == 0
    assert "learning_rate (float, 1e-05): at its peak" in capsys.readouterr().out


def test_an_output_that_cannot_be_made(tmp_path, capsys):
    (tmp_path / "file").write_text("")
    assert main(["sft", "--output", str(tmp_path / "file" / "run")]) == 2
    assert "cannot be made" in capsys.readouterr().err


def test_a_torn_last_line_does_not_swallow_the_next_event(tmp_path):
    log = EventLog(tmp_path)
    log.message("whole")
    with open(log.path, "a") as file:
        file.write('{"kind": "mess')
    EventLog(tmp_path).message("after")
    lines = log.path.read_text().splitlines()
    assert [json.loads(lines[number])["text"] for number in (0, 2)] == ["whole", "after"]


def test_values_that_are_not_finite_are_left_out_of_curves(tmp_path):
    log = EventLog(tmp_path)
    log.metrics(1, 2, loss=float("nan"), reward=0.5, kl=float("inf"))
    assert json.loads(log.path.read_text())["values"] == {"reward": 0.5}
