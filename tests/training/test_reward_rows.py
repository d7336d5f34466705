"""Rows that a source cannot check answers by: refused with file, line and field before anything is loaded."""

import json

import pytest

from tests.training.runs import train, write_lines
from tests.training.tiny import save_tiny
from training.events import EventLog
from training.recipes.sampling_configs import ScoreConfig
from training.records import Prompt, RecordError, read_records
from training.rewards import spec
from training.rewards.rows import check_rows

SOURCES = {"math": {"source": "math"}, "code": {"source": "code"}, "json": {"source": "json"}}


@pytest.mark.parametrize(
    ("source", "reference", "field", "words"),
    [
        (spec.MathAnswer(), {}, "answer", "this field to be present"),
        (spec.MathAnswer(), {"answer": "(1,2)"}, "answer", "one number, and '(1,2)' is none or several"),
        (spec.CodeTests(), {}, "tests", "this field to be present"),
        (spec.CodeTests(), {"tests": ["assert f(1) == 1", "assert f( == 1"]}, "tests[1]", "Python, and this is none"),
        (spec.CodeTests(), {"tests": ["return f(1)"]}, "tests[0]", "'return' outside function"),
        (spec.CodeTests(), {"tests": ["assert f('\\0')\0"]}, "tests[0]", "Python, and this is none"),
        (spec.CodeTests(), {"tests": ["-" * 100_000 + "1"]}, "tests[0]", "Python, and this is none"),
        (spec.CodeTests(), {"tests": ["f(1) == 1"]}, "tests[0]", "a statement that can fail"),
        (spec.CodeTests(), {"tests": ["import math, numpy.linalg\nassert f()"]}, "tests[0]", "imports numpy"),
        (spec.ValidJSON(), {"schema": {"type": "no such type"}}, "schema", "the JSON schema is not one"),
        (spec.ValidJSON(), {"schema": {"$ref": "#"}}, "schema", "refers to itself without end"),
    ],
)
def test_what_is_wrong_with_a_row(source, reference, field, words):
    place, expected = source.wrong_in(reference)
    assert place == field and words in expected


@pytest.mark.parametrize(
    ("source", "reference"),
    [
        (spec.MathAnswer(), {"answer": "0"}),
        (spec.MathAnswer(), {"answer": "so 3 + 4 = 7\n#### 7"}),
        (spec.CodeTests(), {"tests": ["assert f(1) == 1", "f(2)", "import math; assert math.isclose(f(), 1)"]}),
        (spec.CodeTests(), {"tests": ["try:\n    import numpy\nexcept ImportError: pass"]}),
        (spec.ValidJSON(), {}),
        (spec.ValidJSON(), {"schema": {"type": "object"}}),
        (spec.Regex(pattern="a"), {}),
    ],
)
def test_a_row_that_is_fine(source, reference):
    assert source.wrong_in(reference) is None


@pytest.mark.parametrize("recipe", ["grpo", "cgpo", "rejection", "online_dpo", "best_of_n", "evaluate", "score"])
def test_every_recipe_refuses_such_a_row_before_a_model_is_loaded(recipe, tmp_path):
    rows = [{"prompt": f"{n}?", "answer": answer} for n, answer in enumerate(["4", "(1,2)", None])]
    rows = [row | {"responses": ["a", "b"]} for row in rows] if recipe == "score" else rows
    settings = {"prompts": write_lines(tmp_path / "rows.jsonl", rows), "model": "/no/such/model", "rewards": "math"}
    settings["rewards"] = json.dumps(SOURCES["math"])
    if recipe == "cgpo":
        settings |= {"judges": settings["rewards"], "rewards": '{"source": "max_length", "words": 9}'}
    if recipe == "evaluate":  # looks at the model first: what it evaluates depends on its kind
        settings["model"] = save_tiny(tmp_path / "model")
    if recipe == "score":
        settings = {"data": settings["prompts"], "rewards": settings["rewards"]}
    run = train(recipe, tmp_path / "run", **settings)
    place = 'rows.jsonl, line 2, field "answer"'
    words = "expected one number, and '(1,2)' is none or several, for the source math"
    assert (run.code, run.error) == (2, f"{place}: {words}")


def test_a_run_that_masks_failures_says_which_rows_it_cannot_use(tmp_path):
    rows = [{"prompt": "a", "answer": "5"}, {"prompt": "b"}, {"prompt": "c", "answer": "x"}]
    prompts = read_records(write_lines(tmp_path / "rows.jsonl", rows), "prompts")
    config = ScoreConfig(output="-", data="-", rewards=[SOURCES["math"]], on_reward_error="mask")
    log = EventLog(tmp_path)
    check_rows(prompts, config, log)
    (said,) = [json.loads(line)["text"] for line in log.path.read_text().splitlines()]
    assert 'rows.jsonl, line 2, field "answer"' in said and "of 2 of 3 prompts are left out" in said
    with pytest.raises(RecordError, match="line 2"):
        check_rows(prompts[1:], config, log)


def test_where_a_prompt_was_read_is_no_part_of_what_it_is():
    assert Prompt([], {}, ("a.jsonl", 1)) == Prompt([], {}, ("b.jsonl", 2))
