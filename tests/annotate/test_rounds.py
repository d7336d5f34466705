"""A round: prompts frozen at its start, pairs of different answers in the queue exactly once at its end."""

import json
import shutil

import pytest
from django.conf import settings as django_settings

from annotate.errors import UserError
from annotate.labeling.comparisons import add_prompts
from annotate.models import Comparison, Response, Round, Run, Slot
from annotate.runs import follow
from annotate.runs.rounds import open_round, start_round
from tests.annotate.runs_kit import claimed, make_model, make_project, use_fake_trainer

pytestmark = pytest.mark.django_db


@pytest.fixture
def loop(monkeypatch):
    monkeypatch.setattr(follow, "LOOK_EVERY", 0.02)
    project = make_project()
    project.policy = make_model(project)
    project.save()
    add_prompts(project, [[{"role": "user", "content": f"Question {n}"}] for n in range(5)], in_pool=True)
    add_prompts(project, [[{"role": "user", "content": "Judged, not in the pool"}]])
    yield project
    shutil.rmtree(django_settings.RUNS_DIR, ignore_errors=True)


def answer(monkeypatch, settings, opened: Round, answers: dict) -> Run:
    use_fake_trainer(monkeypatch, settings, answers=answers)
    follow.supervise(claimed(opened.run))
    opened.refresh_from_db()
    return opened.run


def frozen_prompts(opened):
    path = django_settings.RUNS_DIR / str(opened.run_id) / "data" / "prompts.jsonl"
    return [json.loads(line)["prompt"][-1]["content"] for line in path.read_text().splitlines()]


def test_the_prompts_are_drawn_from_the_pool_and_frozen(loop):
    opened = start_round(loop, None, user=None, prompts=3, params={"temperature": "0.7"})
    drawn = frozen_prompts(opened)
    assert len(set(drawn)) == 3 and all(text.startswith("Question") for text in drawn)
    assert (opened.number, opened.policy, opened.run.state) == (1, loop.policy, "queued")
    assert opened.run.params["samples"] == 2 and opened.run.params["temperature"] == 0.7
    everything = start_round(loop, None, user=None, prompts=1000)
    assert everything.number == 2
    assert sorted(frozen_prompts(everything)) == [f"Question {n}" for n in range(5)]


def test_pairs_of_different_answers_reach_the_queue_once(loop, monkeypatch, settings):
    opened = start_round(loop, None, user=None, responses_per_prompt=3)
    answers = {"*": ["red", "blue", "red"], "Question 0": ["same", "same", "same"], "Question 1": ["a", "b", "c"],
               "Question 2": ["only this", "  ", ""]}
    run = answer(monkeypatch, settings, opened, answers)
    assert run.state == "succeeded"
    assert opened.opened_at and opened.prompts_without_pair == 2
    pairs = {}
    for comparison in Comparison.objects.filter(round=opened).select_related("prompt", "first", "second"):
        texts = frozenset({comparison.first.text, comparison.second.text})
        pairs.setdefault(comparison.prompt.messages[0]["content"], set()).add(texts)
    two = {frozenset({"red", "blue"})}
    assert pairs == {
        "Question 1": {frozenset("ab"), frozenset("ac"), frozenset("bc")}, "Question 3": two, "Question 4": two,
    }  # fmt: skip
    assert Slot.objects.filter(holder=None).count() == 5
    assert set(Response.objects.values_list("generator", "model")) == {("starter", loop.policy.pk)}

    assert open_round(opened) == 0
    Run.objects.filter(pk=run.pk).update(state="queued", finished_at=None)
    follow.supervise(claimed(run))
    assert Comparison.objects.count() == 5 and Slot.objects.count() == 5


def test_answers_that_cannot_be_read_fail_the_run_and_open_nothing(loop, monkeypatch, settings):
    opened = start_round(loop, None, user=None)
    use_fake_trainer(monkeypatch, settings, answers={"*": ["fine", {"not": "a text"}]})
    follow.supervise(claimed(opened.run))
    opened.refresh_from_db()
    assert opened.run.state == "failed"
    assert 'responses.jsonl, line 1, field "responses"' in opened.run.error
    assert opened.opened_at is None and not Comparison.objects.exists() and not Response.objects.exists()


@pytest.mark.parametrize(
    ("arguments", "field"),
    [({"prompts": 0}, "prompts"), ({"responses_per_prompt": 1}, "responses_per_prompt"),
     ({"responses_per_prompt": 10}, "responses_per_prompt"), ({"params": {"temprature": 1}}, "temprature")],
)  # fmt: skip
def test_a_wrong_round_is_refused(loop, arguments, field):
    with pytest.raises(UserError) as refusal:
        start_round(loop, None, user=None, **arguments)
    assert refusal.value.field == field
    assert not Run.objects.exists()


def test_a_round_needs_a_policy_of_the_project_and_prompts(loop):
    with pytest.raises(UserError, match="only a policy can write"):
        start_round(loop, make_model(loop, "reward", "scores"), user=None)
    other = make_project("other")
    with pytest.raises(UserError, match="another project"):
        start_round(loop, make_model(other), user=None)
    with pytest.raises(UserError, match="needs a policy"):
        start_round(other, None, user=None)
    with pytest.raises(UserError, match="no prompts yet"):
        start_round(other, make_model(other, name="second"), user=None)


def test_a_round_of_rankings_opens_one_a_prompt_and_pairs_where_answers_are_few(loop, monkeypatch, settings):
    with pytest.raises(UserError, match="at least 4"):
        start_round(loop, None, user=None, responses_per_prompt=3, rankings=True)
    opened = start_round(loop, None, user=None, responses_per_prompt=4, rankings=True)
    answers = {"*": ["a", "b", "c", "d"], "Question 0": ["x", "y", "x", "y"], "Question 1": ["same"] * 4}
    answer(monkeypatch, settings, opened, answers)
    kinds = [comparison.kind for comparison in Comparison.objects.filter(round=opened)]
    assert sorted(kinds) == ["pair", "ranking", "ranking", "ranking"]
    assert (opened.prompts_without_pair, Slot.objects.count()) == (1, 4)
    assert open_round(opened) == 0
