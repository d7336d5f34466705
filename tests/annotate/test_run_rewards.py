"""What a person who may start runs can say about rewards: rules, but nothing that reaches into the worker's machine."""

import pytest

from annotate.errors import UserError
from annotate.runs.recipes import checked_params


def test_rules_may_be_rewards_beside_the_projects_reward_model():
    rows = [{"source": "max_length", "tokens": 40, "weight": 0.5}]
    assert checked_params("ppo", {"rewards": rows})["rewards"] == rows
    assert checked_params("ppo", {"rewards": '{"source": "json"}'})["rewards"] == [{"source": "json"}]


@pytest.mark.parametrize(
    "rewards",
    [
        [{"source": "model", "path": "/etc"}],
        [{"source": "judge", "model": "m", "address": "http://10.0.0.1/v1", "key_variable": "SECRET_KEY"}],
        [{"source": "json", "schema": "/etc/passwd"}],
        [{"source": "model", "registry": "taste", "path": "/etc"}],
        [{"source": "judge", "registry": "starter", "address": "http://10.0.0.1/v1"}],
        [{"source": "judge", "registry": "starter", "rubric": "/etc/passwd"}],
        [{"source": "max_length", "registry": "taste"}],
        [{"source": ["model"], "registry": "taste"}],
        "/etc/rewards.json",
        [7],
    ],
)
def test_sources_that_reach_out_are_refused(rewards):
    with pytest.raises(UserError) as error:
        checked_params("ppo", {"rewards": rewards})
    assert error.value.field == "rewards"


def test_a_mistake_in_a_source_is_told():
    with pytest.raises(UserError, match="has no setting token"):
        checked_params("ppo", {"rewards": [{"source": "max_length", "token": 40}]})


def test_a_run_page_has_a_chart_of_its_sources():
    from annotate.models import Run
    from annotate.runs.reward_sources import reward_names
    from annotate.web.curves import MAIN, main

    rows = [{"source": "max_length", "words": 9}, {"source": "json", "name": "form"}]
    run = Run(reward_model_id=1, params={"rewards": rows, "judges": [{"source": "json"}]})
    assert reward_names(run) == (["model", "max_length", "form"], ["json"])
    assert [curve.names for curve in main(*reward_names(run))[len(MAIN) :]] == [
        "reward_model reward_max_length reward_form",
        "passed passed_json",
    ]
    assert main(*reward_names(Run(reward_model_id=1, params={}))) == MAIN
