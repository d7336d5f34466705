"""The kept figures of the quality page: on the spot for few judgments, by a worker for many, and never in a request."""

import json
import re

import pytest
from django.test import Client

from annotate.background import claims, presence
from annotate.models import Judgment, QualityReport, Slot, User
from annotate.quality import report, selectors
from annotate.quality.adjudication import begin, decide
from annotate.quality.agreement import Estimate
from annotate.quality.bias import Pull
from annotate.quality.gold_questions import NewQuestion, make_questions
from annotate.quality.panels import Missing, PairRow
from annotate.quality.tasks import compute_report
from annotate.quality.waiting import waiting_candidates, waiting_splits
from tests.quality.conftest import Habit, save

ADDRESS = "/p/careful/quality/"


@pytest.fixture
def sent(monkeypatch):
    """What was asked of the broker, in place of asking it."""
    asked = []
    monkeypatch.setattr(compute_report, "apply_async", lambda args, **_: asked.append(args))
    return asked


@pytest.fixture
def many(db, monkeypatch):
    """Every number of judgments is many, and there is a worker for them."""
    monkeypatch.setattr(report, "AT_ONCE", 0)
    presence.say(["default"])


def words(html: str) -> str:
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", "", html))


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
def test_without_a_worker_the_page_says_so_and_computes_nothing(project, simulate, sent, many):
    simulate({"maria": Habit(), "lee": Habit()}, 20)
    presence.leave()
    html = page()
    assert "none is running" in words(html) and "Computing" not in html
    assert 'hx-trigger="every 3s"' in html, "one that is started makes them, and then they appear"
    assert QualityReport.objects.get().figures is None
    presence.say(["gpu"])
    assert "none is running" in words(page()), "one that only trains does not make them"
    presence.say(["default"])
    assert "Computing" in page()
    assert sent == [[project.pk]]


@pytest.mark.django_db(transaction=True)
def test_what_fails_is_told_and_tried_again_by_a_click(project, simulate, sent, many, monkeypatch):
    simulate({"maria": Habit(), "lee": Habit()}, 20)
    page()

    def full(*_):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(report, "_content", full)
        compute_report(*sent[0])
    html = page()
    assert "could not be computed. The disk is full" in words(html) and "every 3s" not in html
    page()
    assert len(sent) == 1, "a look does not ask again for what failed"
    client = Client()
    client.force_login(User.objects.get(username="researcher"))
    client.post(ADDRESS)
    assert len(sent) == 2 and "Computing" in page()
    compute_report(*sent[1])
    assert "40 judgments" in page()


@pytest.mark.django_db(transaction=True)
def test_two_workers_compute_once(project, simulate, sent, many):
    simulate({"maria": Habit(), "lee": Habit()}, 20)
    page()
    mine = claims.claim(QualityReport, project.pk)
    compute_report(project.pk)
    assert QualityReport.objects.get().figures is None, "it is in other hands"
    report.make(mine)
    assert QualityReport.objects.get().is_ready
    with pytest.raises(claims.LostOwnership):
        claims.finish(mine)


@pytest.mark.django_db(transaction=True)
def test_a_broker_that_is_away_breaks_no_page(project, simulate, monkeypatch, many):
    def refuse(**_):
        raise OSError("no broker")

    monkeypatch.setattr(compute_report, "apply_async", refuse)
    simulate({"maria": Habit(), "lee": Habit()}, 20)
    assert "Computing" in page()


def test_answers_to_gold_questions_are_no_agreement(project, simulate, judge):
    """The votes that a question was made of stay: without them, what people disagree on would weigh more."""
    simulate({"maria": Habit(), "lee": Habit()}, 10)
    before = report.figures_for(project).content["overall"]
    pair = project.comparisons.select_related("first").first()
    make_questions(project, [NewQuestion(pair, pair.first)], "gold", user=User.objects.get(username="root"))
    save([judge(User.objects.create_user("ben"), pair, picks_first=True, swapped=False)])
    assert report.figures_for(project).content["overall"] == before


def test_time_on_a_pair_is_active_time(project, simulate):
    simulate({"maria": Habit()}, 5)
    Judgment.objects.update(seconds=4000, active_seconds=25)
    assert selectors.read_judgments(project, selectors.read_responses(project)).seconds.tolist() == [25.0] * 5


@pytest.mark.django_db(transaction=True)
def test_long_lists_are_kept_with_the_report(project, comparisons, judge, sent, many):
    """Of many votes no page reads all: the task lists the pairs, and what is decided since leaves the list at once."""
    rows = comparisons(3)
    ann, ben, cyd = (User.objects.create_user(name) for name in ("ann", "ben", "cyd"))
    save([judge(person, rows[0], picks_first=True, swapped=False) for person in (ann, ben, cyd)])
    save([judge(ann, rows[1], picks_first=True, swapped=False), judge(ben, rows[1], picks_first=False, swapped=True)])
    Slot.objects.update(free_from=None, holder=ann)
    researcher, admin = Client(), Client()
    researcher.force_login(User.objects.get(username="researcher"))
    admin.force_login(User.objects.get(username="admin"))
    assert "being read for the first time" in researcher.get(ADDRESS + "split/").content.decode()
    assert "being read for the first time" in admin.get(ADDRESS + "gold/").content.decode()
    compute_report(*sent[0])
    assert [row.pk for row in waiting_splits(project).pairs] == [rows[1].pk]
    assert [row.pk for row in waiting_candidates(project).pairs] == [rows[0].pk]
    assert f"split/{rows[1].pk}/" in researcher.get(ADDRESS + "split/").content.decode()
    begin(rows[1], User.objects.get(username="researcher"), 1)
    decide(rows[1], User.objects.get(username="researcher"), 1, "It answers.")
    assert "Nothing to decide" in researcher.get(ADDRESS + "split/").content.decode()
    save([judge(cyd, rows[2], picks_first=True, swapped=False)])
    assert "newer ones are being read" in researcher.get(ADDRESS + "split/").content.decode()


def test_a_report_without_the_lists_is_none_of_many_votes(project, simulate, sent, monkeypatch):
    """One that was made while votes were few, or by an earlier version: the pages say that the list is being made."""
    simulate({"maria": Habit(), "lee": Habit()}, 5)
    report.compute(project.pk)
    monkeypatch.setattr(report, "AT_ONCE", 0)
    assert waiting_splits(project).is_coming
    monkeypatch.setattr(report, "EDITION", report.EDITION + 1)
    assert waiting_splits(project).is_coming
    compute_report(project.pk)
    assert not waiting_splits(project).is_coming


def test_what_did_not_settle_is_said(project, simulate, monkeypatch):
    from annotate.quality import reliability

    monkeypatch.setattr(reliability, "MOST_STEPS", 1)
    simulate({"maria": Habit(), "lee": Habit()}, 10)
    assert "had not settled after 1 steps" in page()
