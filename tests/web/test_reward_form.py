"""Further rewards and judges in a run's form: what a person chooses stands in the run's frozen config and data."""

import json
import shutil
from pathlib import Path

import pytest
from django.conf import settings

from annotate.datasets.importing import import_file
from annotate.models import ModelVersion, Run
from annotate.runs import claim, follow
from annotate.runs.directory import prepare
from annotate.runs.selectors import run_view

pytestmark = pytest.mark.django_db


def make_model(project, kind: str, name: str) -> ModelVersion:
    directory = settings.MODELS_DIR / f"form-{name}"
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "config.json").write_text("{}")
    return ModelVersion.objects.create(project=project, kind=kind, name=name, source=f"models/form-{name}")


@pytest.fixture(autouse=True)
def no_runs_of_others():
    """Run directories are named by the run's id, which every test counts from 1."""
    yield
    shutil.rmtree(settings.RUNS_DIR, ignore_errors=True)


@pytest.fixture
def ready(project, tmp_path):
    """A project with a policy, a reward model, and prompts with answers."""
    project.policy = make_model(project, "policy", "starter")
    project.reward_model = make_model(project, "reward", "taste")
    project.save()
    path = tmp_path / "p.jsonl"
    path.write_text("".join(json.dumps({"prompt": f"{n} + 1?", "answer": n + 1}) + "\n" for n in range(4)))
    import_file(project, path, "prompts")
    return project


@pytest.fixture
def send(browser, ready):
    """Posts the form of a recipe: send("grpo", **fields) -> (run or None, the page)."""

    def send(recipe: str, **fields):
        sent = {"base_model": ready.policy.pk, "reward_model": ready.reward_model.pk} | fields
        response = browser("admin").post(f"/p/kind/runs/new/{recipe}/", sent)
        return Run.objects.order_by("-pk").first(), response.content.decode()

    return send


def config_of(run: Run) -> dict:
    return json.loads((prepare(run) / "config.json").read_text())


def test_rules_of_the_form_stand_in_the_frozen_config_and_answers_in_its_data(send):
    run, _ = send("grpo", **{
        "reward_model": "", "math-use": "rewards", "math-weight": "2",
        "length_penalty-use": "rewards", "length_penalty-weight": "1", "length_penalty-limit": "40",
        "length_penalty-unit": "words", "length_penalty-penalty": "0.02", "on_reward_error": "mask",
    })  # fmt: skip
    config = config_of(run)
    assert config["rewards"] == [
        {"source": "length_penalty", "words": 40, "penalty": 0.02}, {"source": "math", "weight": 2.0},
    ]  # fmt: skip
    assert config["on_reward_error"] == "mask" and "reward_model" not in config and run.reward_model is None
    lines = [json.loads(line) for line in Path(config["prompts"]).read_text().splitlines()]
    assert sorted((line["prompt"][0]["content"], line["answer"]) for line in lines) == [
        (f"{n} + 1?", str(n + 1)) for n in range(4)
    ]


def test_a_prompt_that_a_source_cannot_check_is_named(send, ready, tmp_path):
    path = tmp_path / "more.jsonl"
    path.write_text(json.dumps({"prompt": "Which point?", "answer": "(1,2)"}) + "\n")
    import_file(ready, path, "prompts")
    fields = {"math-use": "rewards", "math-weight": "1"}
    run, html = send("grpo", **fields)
    assert run is None
    assert "The source math cannot check answers to “Which point?”: look at the “answer” of this prompt." in html
    run, _ = send("grpo", **fields, on_reward_error="mask")
    assert run is not None


@pytest.mark.slow
def test_ppo_as_the_form_sets_it_goes_through_the_trainer_itself(send, ready):
    """Every part of the reward that a person chose is earned, with its weight, in the run's curves."""
    from tests.training.tiny import save_tiny
    from training.models import load_reward_model, load_tokenizer, save_model

    policy = save_tiny(settings.VAR_DIR / ready.policy.source)
    shutil.rmtree(settings.VAR_DIR / ready.reward_model.source)
    save_model(load_reward_model(policy, seed=1), load_tokenizer(policy), settings.VAR_DIR / ready.reward_model.source)
    run, html = send("ppo", **{
        "max_length-use": "rewards", "max_length-limit": "6", "max_length-unit": "characters",
        "max_length-weight": "2", "regex-use": "rewards", "regex-pattern": "[a-z]", "regex-weight": "-0.5",
        "steps": "2", "prompts_per_step": "4", "samples": "4", "max_tokens": "8", "sample_prompts": "1",
        "precision": "fp32", "device": "cpu",
    })  # fmt: skip
    assert run is not None, html
    follow.supervise(claim.claim(run.pk, "worker"), follow.NEVER)
    run.refresh_from_db()
    assert (run.state, run.error) == ("succeeded", "") and run.model_made.parent == ready.policy
    curves = {name: curve["values"] for name, curve in run_view(run).series.items()}
    parts = ("reward_model", "reward_max_length", "reward_regex")
    for total, model, length, pattern in zip(curves["reward"], *(curves[name] for name in parts), strict=True):
        assert total == pytest.approx(model + 2 * length - 0.5 * pattern, abs=1e-4)
    assert 0 < max(curves["reward_regex"]) <= 1 and "kl" in curves


def test_judges_for_cgpo_and_a_second_reward_model_by_its_name(send, ready):
    second = make_model(ready, "reward", "manners")
    run, _ = send("cgpo", **{
        "max_length-use": "judges", "max_length-limit": "30", "max_length-unit": "tokens",
        "model-use": "rewards", "model-registry": "manners", "model-weight": "0.5",
        "judge-use": "judges", "judge-registry": "starter", "judge-rubric": "harmless", "judge-scale": "yes_no",
        "more-judges": '[{"source": "regex", "pattern": "please"}]',
    })  # fmt: skip
    assert run.params["rewards"] == [{"source": "model", "registry": "manners", "weight": 0.5}], "no path is stored"
    config = config_of(run)
    assert config["rewards"] == [
        {"source": "model", "weight": 0.5, "path": str(settings.VAR_DIR / second.source)}
    ]  # fmt: skip
    assert config["judges"] == [
        {"source": "max_length", "tokens": 30},
        {
            "source": "judge", "rubric": "harmless", "scale": "yes_no",
            "model": str(settings.VAR_DIR / ready.policy.source),
        },
        {"source": "regex", "pattern": "please"},
    ]  # fmt: skip
    assert config["reward_model"] == str(settings.VAR_DIR / ready.reward_model.source)


@pytest.mark.parametrize(
    ("recipe", "fields", "said"),
    [
        ("cgpo", {}, "needs judges"),
        ("grpo", {"reward_model": ""}, "This needs a reward model (train one first), or further rewards"),
        ("grpo", {"regex-use": "rewards"}, 'id="id_regex-pattern_error"'),
        ("grpo", {"regex-use": "rewards", "regex-pattern": "(a"}, "the pattern (a is no regular expression"),
        ("grpo", {"more-rewards": '[{"source": "json", "schema": {"type": 7}}]'}, "the JSON schema is not one"),
        ("grpo", {"more-rewards": '[{"source": "jsn"}]'}, "there is no source jsn (did you mean json?)"),
        ("grpo", {"json-use": "rewards", "json-weight": "heavy"}, 'id="id_json-weight_error"'),
        ("grpo", {"regex-pattern": "x"}, "Choose what this counts as"),
        ("grpo", {"max_length-use": "judges", "max_length-limit": "3"}, 'id="id_max_length-use_error"'),
        ("grpo", {"model-use": "rewards", "model-registry": "starter"}, 'id="id_model-registry_error"'),
        ("grpo", {"more-rewards": '[{"source": "model", "path": "/etc"}]'}, "may not name files"),
        ("grpo", {"more-rewards": '[{"source": "model", "registry": "nobody"}]'}, "no reward model nobody"),
        ("grpo", {"more-rewards": "{"}, "as JSON"),
        ("grpo", {"code-use": "rewards"}, "these rows have none"),
    ],
)
def test_what_is_wrong_is_said_and_starts_nothing(send, recipe, fields, said):
    run, html = send(recipe, **fields)
    assert run is None
    assert said in html


def test_a_source_is_a_folded_row_until_something_stands_in_it(browser, send):
    """A row a source; what is used or wrong is open, so that nobody looks for it."""
    client = browser("admin")
    html = client.get("/p/kind/runs/new/grpo/").content.decode()
    assert html.count('<details class="source">') == 9 and '<details class="source" open>' not in html
    assert 'Limit <span class="muted small">optional' not in html, "it is asked for once the source is used"
    _, html = send("grpo", **{"max_length-use": "rewards", "more-rewards": "{"})
    assert html.count('<details class="source" open>') == 2
    opened = html.split('<details class="source" open>')[1:]
    assert "Maximum length" in opened[0] and "as JSON" in opened[1]
