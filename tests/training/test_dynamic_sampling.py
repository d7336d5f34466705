"""DAPO draws groups again that teach nothing: all rewards equal, or no reward at all because a source failed."""

import math

import pytest
import torch

from tests.training.policies import PROMPTS, first_round, learn, make_actors, quiet, scored, settings_of
from training.advantages import groups_differ
from training.errors import TrainingError
from training.events import EventLog
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
    settings = settings_of("dapo", output, **{"overlong_cache": 0} | options)
    _, position, rollout = first_round(settings, make_actors(value=False), script)
    return position, rollout


def test_groups_of_equal_rewards_are_replaced_by_other_prompts(tmp_path):
    script = Script([SPREAD, EQUAL, SPREAD, EQUAL], [SPREAD])
    position, rollout = round_of(script, tmp_path)
    assert [len(asked) for asked in script.asked] == [4, 2]
    assert position.prompts.position == 6
    kept = [script.asked[0][0], script.asked[0][2], *script.asked[1]]
    assert [list(example.prompt_ids) for example in rollout.batches.examples] == [PROMPTS[i] for i in kept]
    assert (rollout.rewards.view(4, 4) == torch.tensor(SPREAD)).all()


def test_without_it_they_stay(tmp_path):
    script = Script([SPREAD, EQUAL])
    round_of(script, tmp_path, dynamic_sampling=False)
    assert [len(asked) for asked in script.asked] == [4]


def test_the_last_draw_takes_what_comes(tmp_path):
    script = Script([SPREAD, EQUAL], [EQUAL])
    _, rollout = round_of(script, tmp_path)
    assert [len(asked) for asked in script.asked] == [4, 2, 2, 2]
    assert len(rollout.rewards) == 16
    assert float(rollout.discarded) == pytest.approx(0.6)  # of ten groups, two in each draw but the last


def test_how_often_is_a_setting_and_how_many_gave_way_a_curve(tmp_path):
    script = Script([SPREAD, EQUAL], [EQUAL])
    settings = settings_of("dapo", tmp_path, draws=2, steps=1, overlong_cache=0)
    metrics = learn(settings, make_actors(value=False), script)
    assert [len(asked) for asked in script.asked] == [4, 2]
    assert metrics["discarded_groups"] == pytest.approx(1 / 3) and metrics["equal_groups"] == 0.5


def test_groups_without_any_reward_are_drawn_again(tmp_path):
    script = Script([SPREAD, FAILED], [FAILED], [SPREAD])
    _, rollout = round_of(script, tmp_path)
    assert [len(asked) for asked in script.asked] == [4, 2, 2]
    assert rollout.counted.all()


def test_groups_that_go_on_failing_are_left_out(tmp_path):
    _, rollout = round_of(Script([SPREAD, FAILED], [FAILED]), tmp_path)
    assert rollout.counted.view(4, 4).all(1).tolist() == [True, True, False, False]
    assert not rollout.rewards.isnan().any()


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
    settings = settings_of("dapo", tmp_path, steps=2, overlong_cache=0)
    machine = start(settings, quiet(settings))
    script = Script([SPREAD, FAILED], [FAILED], [SPREAD])
    metrics = improve(make_actors(value=False), PROMPTS, scored(script), settings, machine, quiet(settings))
    assert math.isfinite(metrics["loss"]) and metrics["reward"] == 1.5


def test_groups_are_judged_by_the_rewards_that_the_policy_learns_from(tmp_path):
    clipped = Script([[2.0, 3.0, 4.0, 5.0], SPREAD], [SPREAD])
    round_of(clipped, tmp_path, reward_clip=1.0)  # to [1, 1, 1, 1] and [0, 1, 1, 1]
    assert [len(asked) for asked in clipped.asked] == [4, 2]
    penalized = Script([EQUAL])
    _, rollout = round_of(penalized, tmp_path, overlong_cache=7)  # from the second token on, each costs 1/7
    differ = groups_differ(rollout.counted.view(4, 4), rollout.rewards.view(4, 4))
    assert differ.any() and sum(map(len, penalized.asked)) < 16


@pytest.mark.parametrize("preset", ["grpo", "dr_grpo", "rloo"])
@pytest.mark.parametrize("told", [{}, {"reward_clip": 1.0}])
def test_a_run_of_equal_rewards_leaves_the_policy_as_it_is(preset, told, tmp_path):
    """Also where it is the clip that makes them equal; and it is said."""
    settings = settings_of(preset, tmp_path, steps=3, samples=8, beta=0.0, learning_rate=1e-2, warmup=0, **told)
    log, actors = EventLog(tmp_path), make_actors(value=False)
    scores = 17.3 + (torch.arange(8.0) if told else torch.zeros(8))
    score = scored(lambda indices, groups: scores.expand(len(indices), -1))
    metrics = improve(actors, PROMPTS, score, settings, start(settings, quiet(settings)), log)
    reference = actors.reference.state_dict()
    assert all(torch.equal(tensor, reference[name]) for name, tensor in actors.policy.state_dict().items())
    assert metrics["equal_groups"] == 1 and metrics["grad_norm"] == 0
    assert "earned the same" in log.path.read_text()
