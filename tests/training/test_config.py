"""Settings: defaults, file, words; every wrong one refused in one sentence that names it."""

import json

import pytest

from training.__main__ import main
from training.config import RECIPES, ConfigError, about, describe, resolve, to_json

NEEDED = {"output": "out", "model": "m", "data": "d"}


def test_words_win_over_the_file_and_the_file_over_defaults(tmp_path):
    path = tmp_path / "config.json"
    path.write_text(json.dumps({**NEEDED, "epochs": 3, "batch_size": 7}))
    config = resolve("sft", path, {"epochs": "5", "learning_rate": "1e-3", "max_steps": "none", "resume": "false"})
    assert (config.epochs, config.batch_size, config.learning_rate) == (5, 7, 1e-3)
    assert (config.max_steps, config.resume, config.seed) == (None, False, 0)


def test_the_resolved_config_reads_back_as_itself(tmp_path):
    config = resolve("dpo", None, {**NEEDED, "beta": "0.3", "max_steps": "9"})
    path = tmp_path / "config.json"
    path.write_text(json.dumps(to_json("dpo", config)))
    assert resolve("dpo", path) == config


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"modle": "x"}, "sft has no setting modle (did you mean model?)"),
        ({"epochs": "two"}, "epochs=two must be a whole number"),
        ({"epochs": "1.5"}, "epochs=1.5 must be a whole number"),
        ({"epochs": "0"}, "epochs=0 must be at least 1"),
        ({"epochs": True}, "epochs=True must be a whole number"),
        ({"warmup": "2"}, "warmup=2 must be from 0 to 1"),
        ({"learning_rate": "nan"}, "learning_rate=nan must be a number"),
        ({"resume": "perhaps"}, "resume=perhaps must be true or false"),
        ({"max_steps": "soon"}, "max_steps=soon must be a whole number or none"),
        ({"precision": "fp8"}, "precision=fp8 must be one of auto, fp32, bf16"),
        ({"heldout": "no/file"}, "heldout=no/file is neither a share from 0 to 0.9 nor a file"),
        ({"heldout": "0.95"}, "heldout=0.95 must be a share from 0 to 0.9, or a file"),
        ({"model": ["a"]}, "model=['a'] must be a text"),
    ],
)
def test_a_wrong_setting_is_named(wrong, sentence):
    with pytest.raises(ConfigError) as caught:
        resolve("sft", None, {**NEEDED, **wrong})
    assert str(caught.value) == sentence


def test_a_needed_setting_is_named():
    with pytest.raises(ConfigError, match=r"^sft needs data=… \(a file"):
        resolve("sft", None, {"output": "out", "model": "m"})


@pytest.mark.parametrize(
    ("text", "sentence"),
    [("{", "not readable as JSON"), ("[]", "one JSON object"), ('{"recipe": "dpo"}', "for the recipe dpo, not sft")],
)
def test_a_wrong_config_file_is_named(tmp_path, text, sentence):
    path = tmp_path / "config.json"
    path.write_text(text)
    with pytest.raises(ConfigError, match=sentence) as caught:
        resolve("sft", path)
    assert str(path) in str(caught.value)


def test_an_unknown_recipe_is_named():
    with pytest.raises(ConfigError, match=r"unknown recipe stf \(did you mean sft\?\)"):
        resolve("stf")


def test_every_recipe_tells_what_it_can_be_told():
    for recipe in RECIPES:
        settings = describe(recipe)
        assert {"output", "seed", "device"} <= {setting["name"] for setting in settings}
        assert all(setting["help"] for setting in settings), recipe
        assert {setting["type"] for setting in settings} <= {"int", "float", "bool", "str", "list"}


def test_every_recipe_tells_what_it_is_in_a_sentence(capsys):
    with pytest.raises(SystemExit):
        main(["--help"])
    shown = capsys.readouterr().out
    for recipe in RECIPES:
        sentence = about(recipe).splitlines()[0]
        assert sentence.endswith(".") and f"  {recipe:12} {sentence}" in shown
    assert main(["dapo", "--settings"]) == 0
    told, settings = capsys.readouterr().out.split("\n\noutput (str, needed)")
    assert "Yu et al. 2025" in told and "It deviates" in told and "draws (int, 4)" in settings
