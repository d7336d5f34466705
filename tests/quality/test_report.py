"""The kept figures of the quality page: on the spot for few judgments, by a task for many, and never left waiting."""

import json
from datetime import timedelta

import pytest
from django.test import Client
from django.utils import timezone

from annotate.models import Judgment, QualityReport, User
from annotate.quality import report
from annotate.quality.agreement import Estimate
from annotate.quality.bias import Pull
from annotate.quality.gold_questions import NewQuestion, make_questions
from annotate.quality.panels import Missing, PairRow
from annotate.quality.tasks import compute_report
from tests.quality.conftest import Habit, save

ADDRESS = "/p/careful/quality/"


@pytest.fixture
def sent(monkeypatch):
    """What was asked of the broker, in place of asking it."""
    asked = []
    monkeypatch.setattr(compute_report, "apply_async", lambda args, **_: asked.append(args))
    return asked


@pytest.fixture
def many(monkeypatch):
    """Every number of judgments is many."""
    monkeypatch.setattr(report, "AT_ONCE", 0)


def page(htmx=False) -> str:
    client = Client()
    client.force_login(User.objects.get(username="researcher"))
    return client.get(ADDRESS, headers={"HX-Request": "true"} if htmx else {}).content.decode()


def test_figures_become_plain_with_their_properties():
    row = PairRow("ann", "ben", Estimate(0.5, 0.25, 0.75, 4), Missing("They share nothing."))
    assert report.plain({"row": row, "pull": Pull(0.0, 1.0)}) == {
        "row": {
            "one": "ann", "other": "ben",
            "percent": {"value": 0.5, "low": 0.25, "high": 0.75, "items": 4, "interval": [0.25, 0.75]},
            "kappa": {"why": "They share nothing."},
        },
        "pull": {"log_odds": 0.0, "error": 1.0, "chance": 0.5, "is_seen": False,
                 "interval": pytest.approx([0.1235, 0.8765], abs=1e-3)},
    }  # fmt: skip


def test_few_judgments_are_computed_on_the_spot_and_kept(project, simulate, sent):
    simulate({"maria": Habit(), "lee": Habit()}, 20)
    assert "40 judgments" in page()
    kept = QualityReport.objects.get()
    assert kept.figures["judgments"] == 40
    json.dumps(kept.figures, allow_nan=False)
    page()
    assert QualityReport.objects.get().computed_at == kept.computed_at, "nothing changed, so nothing is computed"
    Judgment.objects.first().delete()
    assert "39 judgments" in page()
    assert sent == []


@pytest.mark.django_db(transaction=True)
def test_many_are_computed_by_a_task_and_the_page_waits_calmly(project, simulate, sent, many):
    simulate({"maria": Habit(), "lee": Habit()}, 20)
    first = page()
    assert "Computing" in first and 'hx-trigger="every 3s"' in first
    page()
    assert sent == [[project.pk]], "asked once"
    compute_report(*sent[0])
    filled = page(htmx=True)
    assert "<html" not in filled and "every 3s" not in filled and "40 judgments" in filled
    before = QualityReport.objects.get().computed_at
    compute_report(project.pk)
    assert QualityReport.objects.get().computed_at == before, "a message that comes twice"


@pytest.mark.django_db(transaction=True)
def test_old_figures_stand_until_new_ones_are_there(project, simulate, comparisons, judge, sent, many):
    simulate({"maria": Habit(), "lee": Habit()}, 20)
    report.compute(project.pk)
    extra = comparisons(21)[20:]
    save([judge(User.objects.get(username="annotator"), extra[0], picks_first=True, swapped=False)])
    html = page()
    assert "40 judgments" in html and "1 judgment has come since" in html and "every 3s" in html
    assert sent == [[project.pk]]


@pytest.mark.django_db(transaction=True)
def test_without_a_worker_the_page_computes_itself(project, simulate, sent, many):
    simulate({"maria": Habit(), "lee": Habit()}, 20)
    assert report.figures_for(project).content is None
    soon = timezone.now() + report.PATIENCE + timedelta(seconds=1)
    figures = report.figures_for(project, now=soon)
    assert figures.fresh and figures.content["judgments"] == 40


@pytest.mark.django_db(transaction=True)
def test_a_broker_that_is_away_breaks_no_page(project, simulate, monkeypatch, many):
    def refuse(**_):
        raise OSError("no broker")

    monkeypatch.setattr(compute_report, "apply_async", refuse)
    simulate({"maria": Habit(), "lee": Habit()}, 20)
    assert "Computing" in page()


def test_gold_questions_are_no_agreement(project, simulate):
    simulate({"maria": Habit(), "lee": Habit()}, 10)
    pair = project.comparisons.select_related("first").first()
    make_questions(project, [NewQuestion(pair, pair.first)], "gold", user=User.objects.get(username="root"))
    assert report.figures_for(project).content["comparisons"] == 9


def test_what_did_not_settle_is_said(project, simulate, monkeypatch):
    from annotate.quality import reliability

    monkeypatch.setattr(reliability, "MOST_STEPS", 1)
    simulate({"maria": Habit(), "lee": Habit()}, 10)
    assert "had not settled after 1 steps" in page()
