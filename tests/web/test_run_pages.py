"""Runs: the forms that start one, the page that follows it, and what an admin may do to it."""

import json
import time

import pytest
from django.conf import settings
from django.utils import timezone

from annotate.models import Dataset, ModelVersion, Round, Run, RunEvent
from annotate.runs.recipes import RECIPES

HTMX = {"HX-Request": "true"}


@pytest.fixture
def policy(project) -> ModelVersion:
    directory = settings.MODELS_DIR / "web-starter"
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "config.json").write_text("{}")
    (directory / "model.safetensors").write_bytes(b"weights")
    model = ModelVersion.objects.create(project=project, kind="policy", name="starter", source="models/web-starter")
    project.policy = model
    project.save()
    return model


@pytest.fixture
def run(project, policy):
    """A DPO run in the middle, with two measurements, samples and a checkpoint."""
    run = Run.objects.create(
        project=project, recipe="dpo", base_model=policy, state="running", step=40, total_steps=100,
        lease_until=timezone.now() + timezone.timedelta(hours=1), started_at=timezone.now(), log_tail="step 40",
        phase="dreaming",
    )  # fmt: skip
    asked = [{"role": "user", "content": "Why <b>?"}]
    rows = [{"prompt": asked, "before": "Dunno", "after": "<script>alert(1)</script>"}]
    now = time.time()
    events = [
        ("start", 0, {"total": 100, "resumed_from": None, "time": now - 40}),
        ("metrics", 20, {"values": {"loss": 0.6, "logp_chosen": -12.5}, "time": now - 20}),
        ("samples", 20, {"rows": rows, "time": now - 20}),
        ("checkpoint", 20, {"path": "checkpoints/step-20", "time": now - 20}),
        ("metrics", 40, {"values": {"loss": 0.5, "logp_chosen": -13.5}, "time": now}),
    ]
    for number, (kind, step, data) in enumerate(events, 1):
        RunEvent.objects.create(run=run, number=number, kind=kind, step=step, data=data)
    return run


def text(response) -> str:
    return response.content.decode()


def end(run: Run, state: str, error: str = "") -> None:
    Run.objects.filter(pk=run.pk).update(state=state, error=error, lease_until=None, finished_at=timezone.now())


def test_a_running_run_shows_where_it_stands_and_polls(browser, run):
    html = text(browser("researcher").get(f"/p/kind/runs/{run.pk}/"))
    assert 'class="state running"' in html
    assert "Dreaming" in html
    assert '<progress value="40" max="100"' in html
    assert "step 40 of 100" in html
    assert "about" in html
    assert 'hx-trigger="every 1500ms"' in html
    assert "as of step 20" in html
    assert "may fall here, and that is no error" in html, "DPO's falling log-probability is explained"
    assert "Cancel" not in html, "a researcher watches"
    body = html[html.index("<body") :]
    assert "<script" not in body
    assert "&lt;script&gt;alert(1)" in body


def test_the_live_part_sends_only_what_moved(browser, run):
    client = browser("admin")
    address = f"/p/kind/runs/{run.pk}/live/"
    first = text(client.get(address, headers=HTMX))
    for part in ('id="run-outcome"', 'id="run-samples"', 'id="run-log"', "announcer"):
        assert part in first
    known = first.split(f'hx-get="{address}?')[1].split('"')[0].replace("&amp;", "&")
    quiet = text(client.get(f"{address}?{known}", headers=HTMX))
    assert 'id="run-live"' in quiet
    for part in ('id="run-outcome"', 'id="run-samples"', 'id="run-log"', "announcer"):
        assert part not in quiet
    Run.objects.filter(pk=run.pk).update(log_tail="step 41", step=41)
    moved = text(client.get(f"{address}?{known}", headers=HTMX))
    assert 'id="run-log"' in moved
    assert 'id="run-samples"' not in moved
    assert 'value="41"' in moved


def test_the_live_part_stops_polling_at_the_end_and_offers_what_makes_sense(browser, run):
    client = browser("admin")
    end(run, "failed", "The disk is full.")
    html = text(client.get(f"/p/kind/runs/{run.pk}/live/", headers=HTMX))
    assert "hx-trigger" not in html
    assert "The disk is full." in html
    assert "Kept: the checkpoint at step 20" in html
    assert "Resume" in html and "Retry from the start" in html
    assert "Cancel</button>" not in html
    assert "Failed." in html, "announced to screen readers"


def test_the_series_hold_the_points_after_an_event(browser, run):
    client = browser("researcher")
    everything = json.loads(client.get(f"/p/kind/runs/{run.pk}/series/").content)
    assert everything["series"]["loss"] == {"steps": [20, 40], "values": [0.6, 0.5]}
    assert everything["last"] == 5
    news = json.loads(client.get(f"/p/kind/runs/{run.pk}/series/?after=2").content)
    assert news["series"]["logp_chosen"] == {"steps": [40], "values": [-13.5]}
    nothing = json.loads(client.get(f"/p/kind/runs/{run.pk}/series/?after=5").content)
    assert nothing["series"] == {}
    assert client.get(f"/p/kind/runs/{run.pk}/series/?after=x'").status_code == 200


def test_cancel_resume_and_retry(browser, run):
    client = browser("admin")

    def act(action: str, pk: int = run.pk):
        return client.post(f"/p/kind/runs/{pk}/{action}/")

    act("cancel")
    run.refresh_from_db()
    assert run.cancel_requested
    end(run, "cancelled")
    act("resume")
    run.refresh_from_db()
    assert run.state == "queued"
    refused = client.post(f"/p/kind/runs/{run.pk}/retry/", follow=True)
    assert 'class="notice error"' in text(refused)
    assert Run.objects.count() == 1
    assert act("explode").status_code == 404


def test_a_run_starts_from_the_form(browser, project, policy, pairs):
    pairs(3)
    client = browser("admin")
    for number in range(3):
        html = text(client.get("/p/kind/label/"))
        key = html.split('data-key="')[1].split('"')[0]
        client.post("/p/kind/label/", {"key": key, "rating": 1 + number % 4})
    form = text(client.get("/p/kind/runs/new/reward/"))
    assert "Held" in form or "heldout" in form
    assert "held-out accuracy" in form, "explained in plain words"
    response = client.post("/p/kind/runs/new/reward/", {"base_model": policy.pk, "epochs": 4, "title": "First"})
    run = Run.objects.get()
    assert response.url == f"/p/kind/runs/{run.pk}/"
    assert (run.recipe, run.title, run.params["epochs"], run.base_model) == ("reward", "First", 4, policy)
    assert (run.dataset.kind, run.dataset.rows, run.created_by.username) == ("preferences", 3, "admin")


def test_a_wrong_setting_is_told_at_its_field_and_starts_nothing(browser, project, policy, pairs):
    pairs(1)
    client = browser("admin")
    key = text(client.get("/p/kind/label/")).split('data-key="')[1].split('"')[0]
    client.post("/p/kind/label/", {"key": key, "rating": 1})
    html = text(client.post("/p/kind/runs/new/dpo/", {"base_model": policy.pk, "epochs": 0, "learning_rate": "-1"}))
    assert "must be at least" in html
    assert 'id="id_epochs_error"' in html or 'id="id_learning_rate_error"' in html
    assert not Run.objects.exists()


def test_what_is_missing_is_named_with_the_way_to_get_it(browser, project):
    html = text(browser("admin").get("/p/kind/runs/new/ppo/"))
    assert "There is no model to start from." in html
    assert "/p/kind/runs/new/reward/" in html
    assert "<button class=\"primary\">Start</button>" not in html
    assert browser("admin").get("/p/kind/runs/new/nonsense/").status_code == 404
    assert browser("admin").get("/p/kind/runs/new/generate/").status_code == 404, "a round has its own form"


def test_every_recipe_has_a_form(browser, project, policy, pairs):
    pairs(1)
    ModelVersion.objects.create(project=project, kind="reward", name="reward", source="models/web-starter")
    Dataset.objects.create(project=project, kind="preferences", number=1, rows=3, sha256="0" * 64)
    Dataset.objects.create(project=project, kind="demonstrations", number=1, rows=3, sha256="1" * 64)
    client = browser("admin")
    for recipe in [name for name, offer in RECIPES.items() if offer.makes]:
        html = text(client.get(f"/p/kind/runs/new/{recipe}/"))
        assert '<button class="primary">Start</button>' in html, recipe
        assert "Advanced settings" in html, recipe


def test_a_round_starts_from_the_form(browser, project, policy, pairs):
    pairs(5)
    client = browser("admin")
    sent = {"policy": policy.pk, "prompts": 3, "responses_per_prompt": 2, "temperature": 0.7}
    response = client.post("/p/kind/rounds/new/", sent)
    opened = Round.objects.get()
    assert response.url == f"/p/kind/runs/{opened.run_id}/"
    assert (opened.policy, opened.responses_per_prompt, opened.run.params["temperature"]) == (policy, 2, 0.7)
    listed = text(client.get("/p/kind/rounds/"))
    assert "Round 1" in listed
    assert "Waiting for a worker" in listed
    too_many = text(client.post("/p/kind/rounds/new/", sent | {"prompts": 3_000_000}))
    assert "A round takes from 1" in too_many
    assert Round.objects.count() == 1


def test_models_show_their_lineage_and_can_be_promoted(browser, project, policy):
    child = ModelVersion.objects.create(
        project=project, kind="policy", name="sft-1", source="runs/1/model", parent=policy,
        metrics={"loss_heldout": 1.25},
    )  # fmt: skip
    client = browser("admin")
    html = text(client.get("/p/kind/models/"))
    assert "Held-out loss&nbsp;1.25" in html
    lineage = html[html.index(f'id="model-{child.pk}"') :].split('class="lineage"')[1].split("</td>")[0]
    assert lineage.index("starter") < lineage.index("sft-1")
    client.post(f"/p/kind/models/{child.pk}/promote/")
    project.refresh_from_db()
    assert project.policy == child
    wrong = text(client.post("/p/kind/models/", {"name": "x", "kind": "policy", "source": "/nowhere"}))
    assert "neither a hub id" in wrong
    assert "<button>Promote" in text(browser("admin").get("/p/kind/models/"))
    assert "<button>Promote" not in text(browser("researcher").get("/p/kind/models/"))


def test_the_run_page_does_not_grow_in_queries(browser, run, django_assert_max_num_queries):
    for number in range(6, 200):
        RunEvent.objects.create(run=run, number=number, kind="metrics", step=number, data={"values": {"loss": 0.1}})
    client = browser("researcher")
    with django_assert_max_num_queries(12):
        client.get(f"/p/kind/runs/{run.pk}/live/", headers=HTMX)


def test_an_event_that_arrives_while_the_page_looks_is_not_lost(run, monkeypatch):
    """The curves are read after the number that the next look starts from."""
    from annotate.runs import selectors

    number = 5
    filtering = type(run.events).filter

    def filter_and_let_the_trainer_write(manager, *args, **kwargs):
        nonlocal number
        found = list(filtering(manager, *args, **kwargs).values_list("pk", flat=True))
        number += 1
        values = {"values": {"loss": 0.1}}
        RunEvent.objects.create(run=run, number=number, kind="metrics", step=number * 10, data=values)
        return filtering(manager, pk__in=found)

    with monkeypatch.context() as patch:
        patch.setattr(type(run.events), "filter", filter_and_let_the_trainer_write)
        first = selectors.run_view(run)
    second = selectors.run_view(run, after=first.last)
    seen = {*first.series["loss"]["steps"], *second.series["loss"]["steps"]}
    assert seen == {event.step for event in RunEvent.objects.filter(kind="metrics")}
