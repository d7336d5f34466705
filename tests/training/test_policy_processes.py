"""Policy-gradient runs of two processes (gloo, on the CPU) end where those of one process do, also after a stop."""

import json
import random
import shutil

import pytest
import torch

from tests.training.failing_reward import ROWS
from tests.training.runs import Run, arguments, in_two_processes, train, write_lines
from tests.training.tiny import save_tiny
from training.actors import _add_up_gradients
from training.models import load_reward_model, load_tokenizer, save_model

# Two processes start once for all runs, since starting takes most of the time. "stopped" is told to stop after its
# second optimizer step, one process only, and begun again; "left" is told the same, and left.
SCRIPT = """
import contextlib, io, json, os, shutil, sys
from pathlib import Path

import torch

from training import runtime, stopping
from training.__main__ import main
from training.config import ConfigError, resolve
from training.events import EventLog

def stop_after(asked):
    number = 0
    def requested():
        nonlocal number
        number += 1
        return number > asked and torch.distributed.get_rank() == 1
    return requested

root, runs = Path(sys.argv[1]), json.loads(sys.argv[2])
never = stopping.requested
for name, arguments in runs.items():
    if name in ("stopped", "left"):
        stopping.requested = stop_after(2)
        assert main(arguments) == 143, name
        stopping.requested = never
        torch.distributed.barrier()
    if name != "left":
        assert main(arguments) == 0, name
    torch.distributed.barrier()

assert main(json.loads(sys.argv[3])) == 2

settings = resolve("generate", None, {"model": "m", "prompts": "p", "output": str(root), "device": "cpu"})
machine = runtime.start(settings, EventLog(root, enabled=False))

def fails_at_one_place(places):
    return [1 / (place - 3) for place in places]

try:
    machine.dealt(5, fails_at_one_place)
except Exception as error:
    (root / f"said-by-{machine.rank}.txt").write_text(f"{type(error).__name__}: {error}")
def finds_wrong(places):
    if 3 in places:
        raise ConfigError("place 3 is wrong")
    return places

try:
    machine.dealt(5, finds_wrong)
except ConfigError as error:
    (root / f"wrong-by-{machine.rank}.txt").write_text(str(error))
(root / f"dealt-to-{machine.rank}.json").write_text(json.dumps(machine.dealt(5, lambda places: [-p for p in places])))

# Too much for one message, and of unlike shapes.
tensors = [torch.full((3, 2_000_000), machine.rank + 1.0) for _ in range(2)]
tensors.append(torch.full((2, 3), machine.rank + 1.0).T)
machine.add_up(tensors)
assert all((tensor == 3).all() for tensor in tensors)
tensors = [tensor + machine.rank for tensor in tensors]
machine.take_from_main(tensors)
assert all((tensor == 3).all() for tensor in tensors)

# As on a second machine that lacks a file: the second process finds it out alone and ends; the first has to learn why.
if machine.is_main:
    shutil.copytree(root / "grpo", root / "lacks", dirs_exist_ok=True)
with contextlib.redirect_stderr(io.StringIO()) as said:
    code = main(json.loads(sys.argv[4])[machine.rank])
(root / f"lacks-{machine.rank}.json").write_text(json.dumps({"code": code, "said": said.getvalue()}))
os._exit(0)
"""

COMMON = {
    "steps": 3, "prompts_per_step": 5, "samples": 3, "max_tokens": 12, "tokens_per_batch": 200, "warmup": 0,
    "learning_rate": 1e-3, "sample_prompts": 1, "sample_every": 2, "checkpoint_every": 0,
}  # fmt: skip
SOMETIMES = json.dumps([{"source": "regex", "pattern": "[a-f]"}])
FAILING = json.dumps([{"source": "function", "path": "tests.training.failing_reward:fails_there"}])


def runs(model, data) -> dict:
    """name: (recipe, settings). Rounds of five prompts, so that the processes never have equal shares."""
    common = COMMON | {"model": model, "prompts": data}
    scored = common | {"reward_model": f"{model}-reward"}
    ppo = scored | {
        "value_learning_rate": 1e-3, "epochs": 2, "minibatches": 2, "kl_target": 1.0, "reward_scale": "running",
        "ptx_data": data, "ptx_batch": 3,
    }  # fmt: skip
    return {
        "grpo": ("grpo", scored | {"epochs": 2, "stop_kl": 0.05}),
        "ppo": ("ppo", ppo),
        # Rewards of 0 and 1, so that many groups are all equal and prompts are drawn again for them.
        "dapo": ("dapo", common | {"rewards": SOMETIMES, "overlong_cache": 4, "samples": 2, "checkpoint_every": 2}),
        "cgpo": ("cgpo", scored | {"judges": SOMETIMES}),
        "masked": ("grpo", common | {"rewards": FAILING, "on_reward_error": "mask"}),
        # Fewer prompts than processes, and only low-rank updates to exchange.
        "rloo": ("rloo", scored | {"prompts_per_step": 1, "lora_rank": 4}),
        "stopped": ("ppo", ppo),
        "left": ("ppo", ppo),
    }


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A policy, and beside it a reward model."""
    policy = save_tiny(tmp_path_factory.mktemp("models") / "llama")
    save_model(load_reward_model(policy, seed=1), load_tokenizer(policy), f"{policy}-reward")
    return policy


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    rng = random.Random(0)
    rows = [
        {"prompt": f"Say {n}" * rng.randrange(1, 4), "completion": "yes " * rng.randrange(1, 9)} for n in range(ROWS)
    ]
    return write_lines(tmp_path_factory.mktemp("data") / "rows.jsonl", rows)


@pytest.fixture(scope="module", autouse=True)
def allowed_function():
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PREFLOOP_REWARD_FUNCTIONS", "tests.training.failing_reward:fails_there")
        yield


@pytest.fixture(scope="module")
def two_processes(tmp_path_factory, model, data):
    root = tmp_path_factory.mktemp("two")
    told = {name: arguments(recipe, root / name, **given) for name, (recipe, given) in runs(model, data).items()}
    refused = arguments("grpo", root / "refused", model=model, prompts=data, rewards=SOMETIMES, generator="vllm")
    again = [arguments("grpo", root / "lacks", **runs(given, data)["grpo"][1]) for given in (model, "/not/here")]
    in_two_processes(SCRIPT, root, str(root), json.dumps(told), json.dumps(refused), json.dumps(again))
    return root


@pytest.fixture(scope="module")
def alone(tmp_path_factory, model, data):
    """The same runs of one process, each made when it is asked for."""
    root, made = tmp_path_factory.mktemp("alone"), {}

    def run(name):
        if name not in made:
            recipe, given = runs(model, data)[name]
            made[name] = train(recipe, root / name, **given)
            assert made[name].code == 0
        return made[name]

    return run


def assert_same(two: Run, one: Run):
    """Curves and weights, up to the order in which floating-point numbers were added."""
    unsteady = {"completions_per_second", "tokens_per_second", "sampler_gap"}
    for mine, theirs in zip(two.of_kind("metrics"), one.of_kind("metrics"), strict=True):
        mine, theirs = (
            {name: value for name, value in event["values"].items() if name not in unsteady} for event in (mine, theirs)
        )
        assert mine == pytest.approx(theirs, rel=1e-3, abs=1e-4)
    assert two.weights.keys() == one.weights.keys()
    for name, weight in one.weights.items():
        torch.testing.assert_close(two.weights[name], weight, rtol=0, atol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["grpo", "ppo", "dapo", "cgpo", "rloo"])
def test_two_processes_are_one(name, two_processes, alone):
    two = Run(0, two_processes / name)
    assert_same(two, alone(name))
    assert len(two.of_kind("start")) == len(two.of_kind("end")) == 1, "only the first process writes"
    assert two.of_kind("samples") and two.of_kind("samples")[-1]["rows"] == alone(name).of_kind("samples")[-1]["rows"]


@pytest.mark.slow
def test_dapo_draws_the_same_prompts_again(two_processes, alone):
    taken = [
        json.loads((run.output / "checkpoints" / "step-2" / "state.json").read_text())["prompts"]
        for run in (Run(0, two_processes / "dapo"), alone("dapo"))
    ]
    assert taken[0] == taken[1] > 2 * COMMON["prompts_per_step"]


@pytest.mark.slow
def test_stopped_in_the_middle_of_a_round_they_go_on_as_if_nothing_had_been(two_processes):
    whole, stopped = (Run(0, two_processes / name) for name in ("ppo", "stopped"))
    assert [event["status"] for event in stopped.of_kind("end")] == ["cancelled", "succeeded"]
    assert_same(stopped, whole)
    for name, weight in whole.weights.items():
        assert torch.equal(stopped.weights[name], weight), name


@pytest.mark.slow
def test_one_process_goes_on_where_two_were_stopped(two_processes, tmp_path, model, data, alone):
    recipe, given = runs(model, data)["left"]
    shutil.copytree(two_processes / "left", tmp_path / "left")
    assert_same(train(recipe, tmp_path / "left", **given), alone("ppo"))


@pytest.mark.slow
def test_a_source_that_fails_in_the_second_process_only_is_said_as_by_one(two_processes, alone):
    two = Run(0, two_processes / "masked")
    assert two.curve("reward_failures") == alone("masked").curve("reward_failures") == [0.4]
    said, expected = ([e["text"] for e in run.of_kind("message")] for run in (two, alone("masked")))
    assert said == expected
    (failure,) = [text for text in said if "fails_there" in text]
    assert "fails_there gave nan for the completion" in failure and "6 of 15 completions are left out" in failure


@pytest.mark.slow
def test_vllm_is_refused_in_several_processes(two_processes):
    assert "generator=vllm has not been tried in several processes" in Run(2, two_processes / "refused").error


@pytest.mark.slow
def test_an_error_in_one_process_ends_all_with_its_words(two_processes):
    said = [(two_processes / f"said-by-{rank}.txt").read_text() for rank in (0, 1)]
    assert said == ["TrainingError: ZeroDivisionError: division by zero", "ZeroDivisionError: division by zero"]
    wrong = [(two_processes / f"wrong-by-{rank}.txt").read_text() for rank in (0, 1)]
    assert wrong == ["place 3 is wrong"] * 2
    dealt = [json.loads((two_processes / f"dealt-to-{rank}.json").read_text()) for rank in (0, 1)]
    assert dealt == [[0, -1, -2, -3, -4]] * 2


@pytest.mark.slow
def test_what_one_process_finds_wrong_is_the_word_of_all(two_processes):
    """And the exit code; an earlier run in the directory is left as it was, as by a single process."""
    for rank in (0, 1):
        lacks = json.loads((two_processes / f"lacks-{rank}.json").read_text())
        assert lacks == {"code": 2, "said": "model /not/here is not there: no such directory\n"}
    run = Run(2, two_processes / "lacks")
    assert run.error == "model /not/here is not there: no such directory"
    assert run.metrics == Run(0, two_processes / "grpo").metrics and run.weights


class OneOfTwo:
    """A process beside one whose every parameter but the last was reached by a token, with gradients of one."""

    processes, device = 2, torch.device("cpu")

    def summed(self, reached):
        return reached + torch.tensor([1.0] * (len(reached) - 1) + [0.0])

    def add_up(self, gradients):
        for gradient in gradients:
            gradient += 1


def test_what_no_token_reached_in_one_process_is_exchanged_all_the_same():
    """Else the processes would add up different parameters, or wait for each other for ever."""
    here, elsewhere, nowhere = (torch.nn.Parameter(torch.zeros(2)) for _ in range(3))
    here.grad = torch.full((2,), 3.0)
    _add_up_gradients([here, elsewhere, nowhere], OneOfTwo())
    assert (here.grad.tolist(), elsewhere.grad.tolist(), nowhere.grad) == ([4, 4], [1, 1], None)
