"""Starting, cancelling, resuming and retrying runs: what is refused is refused before anything is queued."""

import pytest
from django.core.exceptions import PermissionDenied
from django.utils import timezone

from annotate.errors import UserError
from annotate.labeling.comparisons import add_prompts
from annotate.models import Dataset, Demonstration, ModelVersion, Run, User
from annotate.models.comparison import text_digest
from annotate.runs import claim, registry
from annotate.runs.launch import create_run, request_cancel, resume, retry
from annotate.runs.recipes import RECIPES, form_fields
from tests.annotate.runs_kit import make_dataset, make_model, make_project, make_run

pytestmark = pytest.mark.django_db


@pytest.fixture
def loop():
    """A project with a promoted policy and one demonstration."""
    project = make_project()
    registry.promote(make_model(project))
    project.refresh_from_db()
    prompt = add_prompts(project, [[{"role": "user", "content": "Say one."}]]).rows[0]
    Demonstration.objects.create(prompt=prompt, completion="one", digest=text_digest("one"))
    return project


def test_a_run_takes_the_promoted_model_and_freezes_the_data_of_now(loop, django_capture_on_commit_callbacks):
    with django_capture_on_commit_callbacks() as nudges:
        run = create_run(loop, "sft", user=None, params={"epochs": "2", "seed": 7})
    assert len(nudges) == 1
    assert (run.state, run.base_model, run.dataset.kind, run.dataset.rows) == (
        "queued", loop.policy, "demonstrations", 1,
    )  # fmt: skip
    assert run.params["epochs"] == 2 and run.params["seed"] == 7
    assert run.params["batch_size"] == 32, "the site's default is written down too"


@pytest.mark.parametrize(
    ("recipe", "params", "field", "words"),
    [
        ("sft", {"epoch": 3}, "epoch", "did you mean epochs?"),
        ("sft", {"epochs": "many"}, "epochs", "must be a whole number"),
        ("sft", {"epochs": 0}, "epochs", "at least 1"),
        ("sft", {"schedule": "zigzag"}, "schedule", "one of cosine"),
        ("sft", {"model": "/etc"}, "model", "set by the site"),
        ("sft", {"data": "/etc/passwd"}, "data", "set by the site"),
        ("sft", {"output": "/tmp"}, "output", "set by the site"),
        ("sft", {"heldout": "/etc/passwd"}, "heldout", "a share of the rows"),
        ("starter", {}, "recipe", "does not start a recipe starter"),
        ("reward", {}, "dataset", "There are no preferences yet"),
        ("ppo", {}, "reward_model", "train one first"),
    ],
)
def test_what_cannot_be_is_refused_with_its_field_and_nothing_is_left(loop, recipe, params, field, words):
    with pytest.raises(UserError) as refusal:
        create_run(loop, recipe, user=None, params=params)
    assert refusal.value.field == field
    assert words in refusal.value.message
    assert not Run.objects.exists() and not Dataset.objects.exists()


def test_models_and_data_of_another_project_or_kind_are_refused(loop):
    other = make_project("other")
    strange = make_dataset(other)
    reward = make_model(loop, "reward", "scores")
    empty = make_dataset(loop, rows=0)
    for given, field in (
        ({"base_model": make_model(other)}, "base_model"),
        ({"base_model": reward}, "base_model"),
        ({"reward_model": reward}, "reward_model"),
        ({"dataset": strange}, "dataset"),
        ({"dataset": empty}, "dataset"),
        ({"dataset": Dataset.objects.create(project=loop, kind="prompts", number=1, rows=1, sha256="0")}, "dataset"),
    ):
        with pytest.raises(UserError) as refusal:
            create_run(loop, "sft", user=None, params={}, **given)
        assert refusal.value.field == field, given
    assert not Run.objects.exists()


def test_a_model_whose_files_are_gone_is_refused(loop):
    gone = ModelVersion.objects.create(project=loop, kind="policy", name="gone", source="runs/77/model")
    with pytest.raises(UserError, match="The files of the model gone are missing"):
        create_run(loop, "sft", user=None, params={}, base_model=gone)


def test_only_admins_start_and_stop_runs(loop, django_user_model):
    outsider = django_user_model.objects.create_user("outsider", password="a long password")
    run = make_run(loop)
    for act in (
        lambda: create_run(loop, "sft", user=outsider, params={}),
        lambda: request_cancel(run, outsider),
        lambda: resume(run, outsider),
        lambda: registry.promote(run.base_model, outsider),
        lambda: registry.add_external(loop, "policy", "q", "Qwen/Qwen2.5-0.5B", user=outsider),
    ):
        with pytest.raises(PermissionDenied):
            act()
    create_run(loop, "sft", user=User.objects.create_user("root", is_staff=True), params={})


def test_a_queued_run_is_cancelled_at_once_and_a_running_one_asked(loop):
    queued, running = make_run(loop), make_run(loop)
    claim.claim(running.pk, "a")
    request_cancel(queued)
    request_cancel(running)
    assert (queued.state, queued.cancel_requested) == ("cancelled", False)
    assert (running.state, running.cancel_requested) == ("running", True)
    done = make_run(loop, state="succeeded", finished_at=timezone.now())
    request_cancel(done)
    assert (done.state, done.cancel_requested) == ("succeeded", False)


def test_a_failed_run_is_resumed_with_all_its_attempts(loop, django_capture_on_commit_callbacks):
    run = make_run(loop, state="failed", error="no memory", attempt=3, finished_at=timezone.now())
    with django_capture_on_commit_callbacks() as nudges:
        resume(run)
    assert (run.state, run.attempt, run.error, run.finished_at) == ("queued", 0, "", None)
    assert len(nudges) == 1
    with pytest.raises(UserError):
        resume(run)


def test_a_retry_is_a_new_run_with_the_same_settings(loop):
    first = create_run(loop, "sft", user=None, params={"epochs": 2}, title="one")
    with pytest.raises(UserError, match="has not finished"):
        retry(first)
    request_cancel(first)
    second = retry(first)
    assert second.pk != first.pk and second.state == "queued"
    for field in ("params", "dataset", "base_model", "recipe", "title"):
        assert getattr(second, field) == getattr(first, field)


@pytest.mark.parametrize("name", RECIPES)
def test_every_form_offers_settings_that_the_trainer_knows(name):
    for field in form_fields(name):
        assert field.help and field.kind in {"int", "float", "str", "bool"}


def test_an_external_model_is_a_hub_id_or_a_whole_directory(loop, tmp_path):
    assert registry.add_external(loop, "policy", "qwen", " Qwen/Qwen2.5-0.5B-Instruct ").source.startswith("Qwen/")
    with pytest.raises(UserError) as refusal:
        registry.add_external(loop, "policy", "half", str(tmp_path))
    assert refusal.value.field == "source"
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "model.safetensors").write_bytes(b"w")
    model = registry.add_external(loop, "reward", "whole", str(tmp_path))
    loop.refresh_from_db()
    assert (model.source, loop.reward_model) == (str(tmp_path), model), "the first of its kind is promoted"
    with pytest.raises(UserError, match="already a model whole"):
        registry.add_external(loop, "reward", "whole", str(tmp_path))
    with pytest.raises(UserError):
        registry.add_external(loop, "reward", "pickled", "../../etc")


def test_promoting_moves_the_default(loop):
    better = make_model(loop, name="better")
    registry.promote(better)
    loop.refresh_from_db()
    assert loop.policy == better and loop.reward_model is None
    assert create_run(loop, "sft", user=None, params={}).base_model == better
