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
