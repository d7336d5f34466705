"""The site and the trainer themselves, a tiny model between them: both sides mean the same by the run directory."""

import json
import shutil
import threading

import pytest
from django.conf import settings as django_settings

from annotate.labeling.comparisons import add_prompts
from annotate.models import ModelVersion, Run
from annotate.runs import events, follow
from annotate.runs.launch import create_run
from annotate.runs.rounds import start_round
from annotate.runs.selectors import run_view
from tests.annotate.runs_kit import claimed, make_dataset, make_model, make_project
from tests.training.tiny import save_tiny

pytestmark = [pytest.mark.django_db, pytest.mark.slow]
ON_CPU = {"device": "cpu", "precision": "fp32"}


@pytest.fixture
def project():
    """A project whose promoted policy is a real one, of a few thousand weights."""
    made = make_project()
    made.policy = make_model(made)
    made.save()
    save_tiny(django_settings.VAR_DIR / made.policy.source)
    yield made
    shutil.rmtree(django_settings.RUNS_DIR, ignore_errors=True)
    shutil.rmtree(django_settings.MODELS_DIR, ignore_errors=True)


@pytest.fixture
def preferences(project):
    lines = [{"prompt": f"Say {n}.", "chosen": f"{n}", "rejected": "no"} for n in range(16)]
    return make_dataset(project, "preferences", text="".join(json.dumps(line) + "\n" for line in lines))


def attempt(run: Run, stopping=follow.NEVER) -> Run:
    follow.supervise(claimed(run), stopping)
    return Run.objects.get(pk=run.pk)


def test_reward_model_then_ppo_then_a_round(project, preferences):
    params = {"epochs": 1, "batch_size": 4, **ON_CPU}
    run = attempt(create_run(project, "reward", user=None, params=params, dataset=preferences))
    assert (run.state, run.error) == ("succeeded", "")
    project.refresh_from_db()
    assert project.reward_model == run.model_made and "accuracy_heldout" in run.model_made.metrics
    curves = run_view(run).series
    assert len(curves["loss"]["values"]) == run.total_steps == run.step

    params = {"steps": 2, "prompts_per_step": 4, "samples": 2, "max_tokens": 8, **ON_CPU}
    run = attempt(create_run(project, "ppo", user=None, params=params, dataset=preferences))
    assert (run.state, run.error) == ("succeeded", "")
    assert run.model_made.parent == project.policy
    view = run_view(run)
    assert {"reward", "kl", "length"} <= view.series.keys() and view.samples[0]["prompt"][0]["role"] == "user"

    add_prompts(project, [[{"role": "user", "content": f"Question {n}"}] for n in range(3)], in_pool=True)
    opened = start_round(project, run.model_made, user=None, params={"max_tokens": 8, **ON_CPU})
    run = attempt(opened.run)
    assert (run.state, run.error) == ("succeeded", "")
    opened.refresh_from_db()
    assert opened.comparisons.count() + opened.prompts_without_pair == 3
    assert opened.comparisons.exists(), "a model of random weights hardly says the same twice"


def test_a_stopped_worker_and_the_next_one_make_one_run(project, preferences, monkeypatch):
    stopping, store = threading.Event(), events.store

    def store_and_stop(rows):
        store(rows)
        if any(row.kind == "metrics" for row in rows):
            stopping.set()

    monkeypatch.setattr(events, "store", store_and_stop)
    monkeypatch.setattr(follow, "LOOK_EVERY", 0.01)
    params = {"epochs": 100, "batch_size": 4, **ON_CPU}
    run = attempt(create_run(project, "reward", user=None, params=params, dataset=preferences), stopping)
    assert (run.state, run.attempt) == ("queued", 0)
    stopped_at = run.step
    assert 0 < stopped_at < run.total_steps

    monkeypatch.setattr(events, "store", store)
    run = attempt(run)
    assert (run.state, run.step) == ("succeeded", run.total_steps)
    assert [event.data["resumed_from"] for event in run.events.filter(kind="start")][1] >= stopped_at


def test_rows_that_are_no_rows_end_as_failed_with_their_place(project):
    text = '{"prompt": "Q", "chosen": "a", "rejected": "b"}\n{"prompt": "Q", "chosen": "a"}\n'
    malformed = make_dataset(project, "preferences", text=text)
    run = attempt(create_run(project, "reward", user=None, params=ON_CPU, dataset=malformed))
    assert run.state == "failed"
    assert run.error.startswith('preferences.jsonl, line 2, field "rejected"')
    assert not ModelVersion.objects.filter(run=run).exists()


def test_a_model_that_is_none_ends_as_failed_with_its_name(project, preferences):
    junk = make_model(project, name="junk")
    run = attempt(create_run(project, "reward", user=None, params=ON_CPU, dataset=preferences, base_model=junk))
    assert run.state == "failed"
    assert "loop-junk" in run.error and len(run.error.splitlines()) == 1
    assert not ModelVersion.objects.filter(run=run).exists()
