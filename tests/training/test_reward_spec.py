"""What `rewards=` can be told, and that a mistake in it is one sentence before anything is loaded."""

import json

import pytest

from training.config import ConfigError, resolve, to_json
from training.rewards.spec import LengthPenalty, MaxLength, ModelReward, parse_sources, sources_of

NEEDED = {"output": "o", "model": "m", "prompts": "p"}


def best_of_n(**settings):
    return resolve("best_of_n", None, {**NEEDED, **settings})


def test_a_list_on_the_command_line_in_a_file_and_in_a_config_is_the_same(tmp_path):
    rows = [
        {"source": "model", "path": "r", "weight": 2},
        {"source": "max_length", "tokens": "64"},
        {"source": "max_length", "words": 5, "name": "short"},
        {"source": "length_penalty", "characters": 0, "name": "short"},
    ]
    (tmp_path / "rewards.json").write_text(json.dumps(rows))
    (tmp_path / "config.json").write_text(json.dumps({**NEEDED, "rewards": rows}))
    configs = [
        best_of_n(rewards=json.dumps(rows)),
        best_of_n(rewards=str(tmp_path / "rewards.json")),
        resolve("best_of_n", tmp_path / "config.json"),
    ]
    assert configs[0] == configs[1] == configs[2]
    (tmp_path / "again.json").write_text(json.dumps(to_json("best_of_n", configs[0])))
    assert resolve("best_of_n", tmp_path / "again.json") == configs[0]
    assert configs[0].reward_sources() == {
        "model": ModelReward(path="r", weight=2.0),
        "max_length": MaxLength(tokens=64),
        "short": MaxLength(words=5, name="short"),
        "short_2": LengthPenalty(characters=0, name="short"),
    }


def test_a_reward_model_is_one_more_source_and_the_short_form_of_one():
    assert best_of_n(reward_model="r").reward_sources() == {"model": ModelReward(path="r")}
    both = best_of_n(reward_model="r", rewards='{"source": "model", "path": "s"}').reward_sources()
    assert [source.path for source in both.values()] == ["r", "s"] and list(both) == ["model", "model_2"]
    assert resolve("score", None, {"output": "o", "data": "d", "model": "r"}).reward_sources() == {
        "model": ModelReward(path="r")
    }


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('[{"source": "max_lenght", "tokens": 3}]', "rewards[0]: there is no source max_lenght (did you mean max_l"),
        ('[{"source": "max_length", "token": 3}]', "(max_length) has no setting token (did you mean tokens"),
        ('[{"source": "json"}, {"source": "max_length"}]', "rewards[1] (max_length): needs a limit in exactly one of"),
        ('[{"source": "max_length", "tokens": 3, "words": 3}]', "exactly one of tokens, words, characters"),
        ('[{"source": "max_length", "tokens": "many"}]', "rewards[0] (max_length): tokens=many must be a whole number"),
        ('[{"source": "json", "weight": "heavy"}]', "rewards[0] (json): weight=heavy must be a number"),
        ('[{"source": "model"}]', "rewards[0] (model) needs path=…"),
        ('[{"source": "json", "schema": [1]}]', "rewards[0] (json): schema must be a JSON schema"),
        ('[{"source": "json", "weight": NaN}]', "rewards[0] (json): weight=nan must be a number"),
        ('[{"source": "regex", "pattern": "(a"}]', "(regex): the pattern (a is no regular expression: missing )"),
        ('[{"source": "regex", "pattern": "(((a{99}){99}){99}){99}"}]', "a{99}){99}){99}){99} is too large"),
        ('[{"source": "regex", "pattern": "(b){0,0}(((a{99}){99}){99}){99}"}]', "a{99}){99}){99}){99} is too large"),
        ('[{"source": "regex", "pattern": "a{' + "9" * 5000 + '}"}]', "99 is too large"),
        ('[{"source": "json", "schema": {"type": 7}}]', "(json): the JSON schema is not one: 7 is not valid"),
        ('[{"source": "json", "schema": {"pattern": "(a"}}]', "the JSON schema is not one: '(a' is not a 'regex'"),
        ('[{"source": "json", "name": "a b"}]', "name=a b must be a word"),
        ('[{"path": "x"}]', 'rewards[0] must be an object with a "source", one of model, max_length'),
        ("[3]", "rewards[0] must be an object"),
        ("[]", "rewards must be a list of sources"),
        ("[{", "rewards is not readable as JSON"),
        ("nowhere.json", "rewards=nowhere.json is neither a JSON list of sources nor a file"),
    ],
)
def test_a_mistake_is_named_with_its_place(text, words):
    with pytest.raises(ConfigError) as error:
        best_of_n(rewards=text)
    assert words in str(error.value)


@pytest.mark.parametrize("recipe", ["best_of_n", "rejection", "online_dpo", "ppo", "grpo"])
def test_a_recipe_that_scores_needs_a_reward(recipe):
    with pytest.raises(ConfigError, match=r"give reward_model=… or rewards=…"):
        resolve(recipe, None, NEEDED)


def test_judges_are_for_cgpo_which_needs_them():
    judges = '[{"source": "max_length", "tokens": 5, "threshold": 1}]'
    config = resolve("cgpo", None, {**NEEDED, "reward_model": "r", "judges": judges})
    assert config.judge_sources() == {"max_length": MaxLength(tokens=5, threshold=1.0)}
    with pytest.raises(ConfigError, match="needs judges"):
        resolve("cgpo", None, {**NEEDED, "reward_model": "r"})
    with pytest.raises(ConfigError, match="judges are for baseline=constrained"):
        resolve("ppo", None, {**NEEDED, "reward_model": "r", "judges": judges})


def test_the_rows_given_are_not_changed():
    row = {"source": "json", "weight": 2}
    rows = parse_sources("rewards", row)
    assert rows == [row] and rows[0] is not row
    assert sources_of("rewards", rows)["json"].weight == 2.0
