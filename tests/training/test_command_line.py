"""`python -m training`: exit codes, what a run directory holds at each end, and nothing half written."""

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.training.runs import arguments, train, write_lines
from tests.training.tiny import save_tiny
from training import loop, models, run_directory, stopping
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
    modes = {path.stat().st_mode for path in (run / "model").iterdir()}
    assert modes == {(run / "config.json").stat().st_mode}, "read by whoever may read the rest"
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


def test_a_model_of_another_kind_or_with_a_part_missing(tmp_path, model, data):
    """The sentence says what is wrong and not only that something is."""

    def error(source) -> str:
        run = train("sft", tmp_path / "run", model=source, data=data)
        assert run.code == 2
        return run.error

    without_tokenizer = tmp_path / "without_tokenizer"
    shutil.copytree(model, without_tokenizer, ignore=shutil.ignore_patterns("tokenizer*"))
    assert error(without_tokenizer) == (
        f"the tokenizer in {without_tokenizer} cannot be loaded: there is no tokenizer.json in it"
    )
    pickled = tmp_path / "pickled"
    shutil.copytree(model, pickled, ignore=shutil.ignore_patterns("*.safetensors"))
    (pickled / "pytorch_model.bin").write_bytes(b"x")
    assert error(pickled) == (
        f"the model in {pickled} cannot be loaded: there is no model.safetensors in it, "
        "and pickled weights are never loaded"
    )
    a_run = tmp_path / "a_run"
    shutil.copytree(model, a_run / "model")
    (a_run / "config.json").write_text('{"recipe": "sft"}')
    assert error(a_run) == f"{a_run} is a run directory: its model is {a_run / 'model'}"
    assert error("") == "no model is named: give a local directory or a hub id"

    scores = str(tmp_path / "reward")
    models.save_model(models.load_reward_model(model), models.load_tokenizer(model), scores)
    assert error(scores) == f"{scores} is a reward model, which gives scores: a policy, which answers, is needed here"
    run = train("best_of_n", tmp_path / "n", model=model, prompts=data, reward_model=model)
    assert run.code == 2
    assert f"{model} is no reward model: it has no head that was trained to give a score" in run.error


def test_a_full_disk_while_the_model_is_written(tmp_path, model, data, monkeypatch):
    def full(*args, **kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(models, "fsync_tree", full)
    run = train("sft", tmp_path, model=model, data=data)
    assert run.code == 1
    assert run.error == f"the disk that holds {tmp_path} is full"
    assert not (tmp_path / "model").exists()
    assert not list(tmp_path.glob(".*"))


def everything_in(directory: Path) -> dict[str, bytes]:
    files = [path for path in directory.rglob("*") if path.is_file()]
    return {str(path.relative_to(directory)): path.read_bytes() for path in files}


def all_but_events(directory: Path) -> dict[str, bytes]:
    return {name: content for name, content in everything_in(directory).items() if name != "events.jsonl"}


def test_what_an_earlier_run_left_does_not_pass_for_that_of_one_that_failed(tmp_path, model, data, monkeypatch):
    assert train("sft", tmp_path, model=model, data=data).code == 0
    monkeypatch.setattr(models, "fsync_tree", lambda directory: 1 / 0)
    assert train("sft", tmp_path, model=model, data=data).code == 1
    assert sorted(os.listdir(tmp_path)) == ["config.json", "events.jsonl", "metrics.json"]


@pytest.mark.parametrize(
    ("recipe", "left"),
    [
        ("generate", "responses.jsonl"),
        ("best_of_n", "responses.jsonl"),
        ("score", "scores.jsonl"),
        ("judge", "preferences.jsonl"),
    ],
)
def test_lines_of_an_earlier_run_do_not_pass_for_those_of_one_that_failed(
    recipe, left, tmp_path, model, data, monkeypatch
):
    pairs = write_lines(tmp_path / "pairs.jsonl", [{"prompt": "Say 1", "chosen": "yes", "rejected": "no"}])
    rule = '{"source": "regex", "pattern": "e"}'
    asked = {"model": model, "prompts": data, "max_tokens": 4, "samples": 2}
    settings = {
        "generate": asked,
        "best_of_n": asked | {"rewards": rule},
        "score": {"data": pairs, "rewards": rule},
        "judge": {"data": pairs, "model": model},
    }[recipe]
    run = tmp_path / "run"
    assert train(recipe, run, **settings).code == 0
    assert sorted(os.listdir(run)) == sorted(["config.json", "events.jsonl", "metrics.json", left])
    before = all_but_events(run)
    wrong = "prompts" if "prompts" in settings else "data"
    assert train(recipe, run, **settings | {wrong: "/no/such/file"}).code == 2
    assert all_but_events(run) == before
    (run / "notes").write_text("a person's own")
    monkeypatch.setattr(EventLog, "metrics", lambda self, *args, **values: 1 / 0)
    assert train(recipe, run, **settings).code == 1
    assert sorted(os.listdir(run)) == ["config.json", "events.jsonl", "notes"]


@pytest.mark.parametrize("wrong", [{"data": "/no/such/data.jsonl"}, {"model": "/no/such/model", "resume": False}])
def test_a_wrong_input_leaves_an_earlier_run_as_it_was(tmp_path, model, data, wrong):
    assert train("sft", tmp_path, model=model, data=data, checkpoint_every=1).code == 0
    before = all_but_events(tmp_path)
    assert any(name.startswith("checkpoints/") for name in before)
    assert train("sft", tmp_path, **{"model": model, "data": data, "checkpoint_every": 1} | wrong).code == 2
    assert all_but_events(tmp_path) == before


def test_a_directory_of_something_else_is_left_as_it_is(tmp_path, model, data, capsys):
    """Not even told of the attempt: who follows its events would take the refusal for the end of the run there."""

    def said(recipe, directory, **settings) -> str:
        before = everything_in(directory)
        capsys.readouterr()
        assert main(arguments(recipe, directory, **settings)) == 2
        assert everything_in(directory) == before
        return capsys.readouterr().err.strip()

    run = tmp_path / "run"
    assert train("sft", run, model=model, data=data, checkpoint_every=1).code == 0
    with open(run / "events.jsonl", "a") as events:
        events.write('{"kind": "torn')
    other = f"{run} holds a run of sft, not generate: give another --output"
    assert said("generate", run, model=model, prompts=data) == other
    replaced = f"model={run}/model is what this run would replace: give another --output"
    assert said("sft", run, model=run / "model", data=data) == replaced
    assert "sft has no setting modle" in said("sft", run, modle=model, data=data)
    assert "generate has no setting data" in said("generate", run, model=model, data=data)
    assert "unknown recipe sff" in said("sff", run, model=model, data=data)
    assert "made with batch_size=32, not 4" in said("sft", run, model=model, data=data, batch_size=4)

    copied = tmp_path / "copied"
    shutil.copytree(model, copied)
    foreign = f"{copied} holds a config.json that is not of a run: give another --output"
    assert said("sft", copied, model=model, data=data) == foreign
    assert "sft has no setting modle" in said("sft", copied, modle=model, data=data)

    own = tmp_path / "own"
    shutil.copytree(model, own / "model")
    foreign = f"{own} holds model, which is not of a run: give another --output"
    assert said("sft", own, model=model, data=data) == foreign


def test_a_wrong_setting_is_told_in_the_directory_of_the_run_itself(tmp_path, model, data):
    """As the site prepares it: a config.json, and nothing that a run has left."""
    (tmp_path / "config.json").write_text('{"recipe": "sft"}')
    for attempt in (1, 2):
        run = train("sft", tmp_path, modle=model, data=data)
        assert run.code == 2 and len(run.of_kind("end")) == attempt
        assert "sft has no setting modle" in run.error


def test_two_runs_in_one_directory(tmp_path, model, data, capsys):
    with run_directory.held(tmp_path):
        assert main(arguments("sft", tmp_path, model=model, data=data)) == 2
    assert capsys.readouterr().err.strip() == (
        f"another run is at work in {tmp_path}: wait for its end, or give another --output"
    )
    assert not list(tmp_path.iterdir())
    assert train("sft", tmp_path, model=model, data=data).code == 0


def test_ctrl_c_writes_a_checkpoint(tmp_path, model, data, monkeypatch):
    """As SIGTERM does; the second one does not wait."""
    monkeypatch.setattr(stopping, "_requested", False)
    with monkeypatch.context() as during:
        during.setattr(
            loop.Trainer, "_update", lambda self, update=loop.Trainer._update: (signal.raise_signal(2), update(self))
        )
        stopped = train("sft", tmp_path, model=model, data=data, batch_size=2)
    assert (stopped.code, stopped.events[-1]["status"]) == (143, "cancelled")
    assert [path.name for path in (tmp_path / "checkpoints").iterdir()] == ["step-1"]
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)
    stopping._requested = False
    assert train("sft", tmp_path, model=model, data=data, batch_size=2).of_kind("start")[-1]["resumed_from"] == 1


def test_words_that_are_no_settings(tmp_path, capsys):
    assert main(["sft", "--output", str(tmp_path), "epochs"]) == 2
    assert "epochs is not a setting: write key=value" in capsys.readouterr().err
    assert main(["sft", "--settings"]) == 0
    assert "learning_rate (float, 1e-05): at its peak" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("typed", "told"),
    [
        ([], "which recipe? One of starter, sft, reward"),
        (["--output", "x"], "which recipe?"),
        (["describe"], "unknown recipe describe (did you mean score?); known: starter, sft"),
        (["grop", "steps=3"], "unknown recipe grop (did you mean grpo?)"),
        (["grop", "--settings"], "unknown recipe grop (did you mean grpo?)"),
        (["steps=3", "--output", "x"], "the recipe comes before its settings, and steps=3 is one"),
        (["grpo", "steps=3"], "--output DIR is needed: the run directory"),
    ],
)
def test_what_is_no_command_line_is_told_by_its_first_fault(typed, told, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    try:
        code = main(typed)
    except SystemExit as end:
        code = end.code
    assert code == 2 and told in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


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
