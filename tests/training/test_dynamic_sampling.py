"""DAPO draws groups again that teach nothing: all rewards equal, or no reward at all because a source failed."""

import math

import pytest
import torch

from tests.training.policies import PROMPTS, first_round, make_actors, quiet, scored, settings_of
from training.errors import TrainingError
from training.recipes.policy_gradient import improve
from training.rewards.combine import Rewards, Scores, Weighted
from training.runtime import start

SPREAD, EQUAL, FAILED = [0.0, 1.0, 2.0, 3.0], [1.0] * 4, [math.nan] * 4


class Script:
    """Gives each draw's groups their rewards as told, the last ones for ever, and keeps what it was asked."""

    def __init__(self, *draws):
        self.draws, self.asked = list(draws), []

    def __call__(self, indices, groups):
        draw = self.draws[min(len(self.asked), len(self.draws) - 1)]
        self.asked.append(list(indices))
        return torch.tensor([draw[place % len(draw)] for place in range(len(indices))])


def round_of(script, output, **options):
    settings = settings_of("dapo", output, **options)
    _, position, rollout = first_round(settings, make_actors(value=False), script)
    return position, rollout


def test_groups_of_equal_rewards_are_replaced_by_other_prompts(tmp_path):
    script = Script([SPREAD, EQUAL, SPREAD, EQUAL], [SPREAD])
    position, rollout = round_of(script, tmp_path)
    assert [len(asked) for asked in script.asked] == [4, 2]
    assert position.prompts.position == 6
    kept = [script.asked[0][0], script.asked[0][2], *script.asked[1]]
    assert [list(example.prompt_ids) for example in rollout.batches.examples] == [PROMPTS[i] for i in kept]
    assert (rollout.scores.view(4, 4) == torch.tensor(SPREAD)).all()


def test_without_it_they_stay(tmp_path):
    script = Script([SPREAD, EQUAL])
    round_of(script, tmp_path, dynamic_sampling=False)
    assert [len(asked) for asked in script.asked] == [4]


def test_the_last_draw_takes_what_comes(tmp_path):
    script = Script([SPREAD, EQUAL], [EQUAL])
    _, rollout = round_of(script, tmp_path)
    assert [len(asked) for asked in script.asked] == [4, 2, 2, 2]
    assert len(rollout.scores) == 16


def test_groups_without_any_reward_are_drawn_again(tmp_path):
    script = Script([SPREAD, FAILED], [FAILED], [SPREAD])
    _, rollout = round_of(script, tmp_path)
    assert [len(asked) for asked in script.asked] == [4, 2, 2]
    assert rollout.counted.all()


def test_groups_that_go_on_failing_are_left_out(tmp_path):
    _, rollout = round_of(Script([SPREAD, FAILED], [FAILED]), tmp_path)
    assert rollout.counted.view(4, 4).all(1).tolist() == [True, True, False, False]
    assert not rollout.scores.isnan().any()


@pytest.mark.parametrize("dynamic", [True, False])
def test_a_round_without_any_reward_ends_the_run_with_the_sources_words(dynamic, tmp_path):
    class Broken:
        name = "my rule"

        def score(self, prompts, completions):
            raise OSError("is away")

    settings = settings_of("dapo", tmp_path, dynamic_sampling=dynamic)
    machine = start(settings, quiet(settings))
    rewards = Rewards({"rule": Weighted(Broken())}, machine, log=quiet(settings), on_error="mask")

    def score(indices, groups) -> Scores:
        return rewards.groups(indices, [[str(c.ids) for c in group] for group in groups], whole=False)

    with pytest.raises(TrainingError, match="no completion has a reward: my rule failed with OSError: is away"):
        improve(make_actors(value=False), PROMPTS, score, settings, machine, quiet(settings))


def test_a_draw_that_fails_does_not_end_a_run_that_has_others(tmp_path):
    settings = settings_of("dapo", tmp_path, steps=2)
    machine = start(settings, quiet(settings))
    script = Script([SPREAD, FAILED], [FAILED], [SPREAD])
    metrics = improve(make_actors(value=False), PROMPTS, scored(script), settings, machine, quiet(settings))
    assert math.isfinite(metrics["loss"]) and metrics["reward"] == 1.5
