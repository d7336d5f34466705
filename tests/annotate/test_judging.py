"""A model's verdicts on the site: who is asked, what its votes become, and that people's votes stay apart."""

import json
import shutil
from pathlib import Path

import pytest
from django.conf import settings
from django.utils import timezone

from annotate.chat.endpoints import add_endpoint, remove_endpoint
from annotate.datasets.snapshots import create_snapshot, rows
from annotate.errors import UserError
from annotate.models import Comparison, GoldQuestion, Judgment, Response, Run, User
from annotate.quality.selectors import read_judgments, read_responses
from annotate.quality.splits import split_comparisons
from annotate.runs import follow, judging
from annotate.runs.directory import prepare, run_directory
from annotate.runs.launch import create_run, retry
from tests.annotate.runs_kit import claimed, make_model

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def no_runs_of_others():
    """Run directories are named by the run's id, which every test counts from 1."""
    yield
    shutil.rmtree(settings.RUNS_DIR, ignore_errors=True)


@pytest.fixture
def judge(project):
    return make_model(project, name="wise one")


def finished(project, judge, lines, **fields) -> Run:
    """A judge's run that has succeeded and left these verdicts."""
    run = create_run(project, "judge", user=None, params=fields, base_model=judge)
    run_directory(run).mkdir(parents=True, exist_ok=True)
    (run_directory(run) / "preferences.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    Run.objects.filter(pk=run.pk).update(state="succeeded", finished_at=run.created_at)
    return Run.objects.get(pk=run.pk)


def verdict(number: int, chosen: str, rejected: str) -> dict:
    return {"prompt": f"Question {number}", "chosen": chosen, "rejected": rejected, "strength": "better"}


def vote(comparison, annotator, text: str) -> None:
    left, right = comparison.first, comparison.second
    winner = left if left.text == text else right
    rating = 1 if winner == left else 4
    Judgment.objects.create(
        comparison=comparison, annotator=annotator, left=left, right=right, rating=rating, winner=winner,
        created_at=timezone.now(),
    )  # fmt: skip


def test_a_judge_of_the_registry_is_asked_about_the_projects_comparisons(project, judge, pairs):
    pairs(2)
    run = create_run(project, "judge", user=None, params={"rubric": "harmless"}, base_model=judge)
    config = json.loads((prepare(run) / "config.json").read_text())
    assert config["model"] == str(settings.VAR_DIR / judge.source) and config["rubric"] == "harmless"
    lines = [json.loads(line) for line in Path(config["data"]).read_text().splitlines()]
    assert [{response["text"] for response in line["responses"]} for line in lines] == [{"one", "two"}] * 2
    with pytest.raises(UserError, match="rubric=/etc/passwd"):
        create_run(project, "judge", user=None, params={"rubric": "/etc/passwd"}, base_model=judge)
    with pytest.raises(UserError, match="address is set by the site"):
        create_run(project, "judge", user=None, params={"address": "http://10.0.0.1/v1"}, base_model=judge)


def test_an_endpoint_is_asked_with_its_own_key_and_no_other(project, admin, pairs):
    pairs(1)
    endpoint = add_endpoint(project, admin, name="big", base_url="https://models.example/v1", model_name="big-1")
    run = create_run(project, "judge", user=None, params={}, endpoint=endpoint)
    config = json.loads((prepare(run) / "config.json").read_text())
    asked = {name: config[name] for name in ("address", "model", "key_variable")}
    assert asked == {"address": "https://models.example/v1", "model": "big-1", "key_variable": ""}
    assert run.base_model is None
    with pytest.raises(UserError, match="disable it instead"):
        remove_endpoint(endpoint, admin)
    Run.objects.filter(pk=run.pk).update(state="cancelled", finished_at=run.created_at)
    assert retry(Run.objects.get(pk=run.pk)).endpoint == endpoint
    with pytest.raises(UserError, match="starts from a model"):
        create_run(project, "sft", user=None, params={}, endpoint=endpoint)


def test_verdicts_become_votes_on_the_pairs_that_people_judge_once(project, judge, pairs):
    pairs(2)
    run = finished(project, judge, [verdict(0, "one", "two"), verdict(1, "two", "one")])
    for new, known in ((2, 0), (0, 2)):
        report = judging.import_verdicts(run)
        assert (report.judgments, report.duplicates, report.comparisons, report.responses) == (new, known, 0, 0)
    user = User.objects.get(username="judge:wise-one/helpful")
    assert not user.is_active and not user.has_usable_password()
    assert judging.votes_of(run) == 2
    assert (Comparison.objects.count(), Response.objects.count()) == (2, 4), "the pairs that are in the queue"


def test_verdicts_on_gold_questions_are_about_other_pairs(project, judge, pairs):
    (comparison,) = pairs(1)
    run = finished(project, judge, [verdict(0, "one", "two")])
    GoldQuestion.objects.create(
        comparison=comparison, expected=comparison.first, purpose=GoldQuestion.Purpose.values[0]
    )
    judging.import_verdicts(run)
    assert not comparison.judgments.exists()


def test_people_and_judges_are_never_mixed_unasked(project, judge, pairs, ada):
    first, _second = pairs(2, wanted=1)
    vote(first, ada, "one")
    before = create_snapshot(project, "preferences")
    judging.import_verdicts(finished(project, judge, [verdict(0, "two", "one"), verdict(1, "two", "one")]))

    def winners(voters: str) -> list:
        dataset = create_snapshot(project, "preferences", voters=voters)
        lines = sorted(rows(dataset), key=lambda line: line["prompt"][0]["content"])
        return [(line["prompt"][0]["content"][-1], line["chosen"][0]["content"]) for line in lines]

    assert create_snapshot(project, "preferences") == before, "people's votes are what they were"
    assert winners("people") == [("0", "one")]
    assert winners("judges") == winners("judge:wise-one/helpful") == [("0", "two"), ("1", "two")]
    assert winners("everybody") == [("1", "two")], "one vote against one is a tie"
    assert winners("judge:nobody") == []
    assert create_snapshot(project, "judgments").rows == 1
    assert create_snapshot(project, "judgments", voters="everybody").rows == 3
    assert create_snapshot(project, "preferences", voters="judges").facts["voters"] == "judges"
    with pytest.raises(UserError, match="judge:NAME"):
        create_snapshot(project, "preferences", voters="robots")

    table = read_judgments(project, read_responses(project))
    assert table.names == ["ada"]
    project.slots.all().delete()
    assert not split_comparisons(project).exists(), "a model's verdict makes no split vote"


def test_a_run_without_verdicts_has_none_to_import(project, judge, pairs):
    pairs(1)
    run = create_run(project, "judge", user=None, params={}, base_model=judge)
    with pytest.raises(UserError, match="left no verdicts"):
        judging.import_verdicts(run)


@pytest.mark.slow
def test_the_real_trainer_judges_and_its_verdicts_come_in(project, pairs):
    from tests.training.tiny import save_tiny

    pairs(3)
    judge = make_model(project, name="tiny")
    save_tiny(settings.VAR_DIR / judge.source)
    run = create_run(project, "judge", user=None, params={"device": "cpu", "precision": "fp32"}, base_model=judge)
    follow.supervise(claimed(run))
    run.refresh_from_db()
    assert (run.state, run.error) == ("succeeded", "")
    assert judging.import_verdicts(run).judgments == 3
    assert create_snapshot(project, "preferences", voters="judges", ties=True).rows == 3
