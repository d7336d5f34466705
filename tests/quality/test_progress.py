"""Throughput, cost and projected end on numbers worked out by hand; own progress shows nobody else."""

from datetime import date, timedelta

import pytest
from django.utils import timezone

from annotate.labeling import counters
from annotate.models import DayTally, Judgment, Slot, User
from annotate.projects import update_project
from annotate.quality import progress
from annotate.quality.progress import own_progress, project_progress
from annotate.quality.throughput import bars, by_day, cost_per_judgment, project_end
from tests.quality.conftest import save

TODAY = date(2026, 3, 10)


def ago(days: int) -> date:
    return TODAY - timedelta(days=days)


def test_the_projection_by_hand():
    """8, 12 and 10 on three whole days: m = 10, s = 2, s/√3 = 1.1547, m ± 1.2816 · 1.1547 = 8.520 … 11.480.

    50 remaining: 50/10 = 5 days; 50/11.480 = 4.36, so 5; 50/8.520 = 5.87, so 6. Today's 99 do not count.
    """
    end = project_end({ago(3): 8, ago(2): 12, ago(1): 10, TODAY: 99}, 50, TODAY)
    assert (end.expected, end.earliest, end.latest, end.per_day) == (ago(-5), ago(-5), ago(-6), 10)


def test_days_without_judgments_count():
    """20, 0, 0, 0: m = 5, s = 10, s/2 = 5, m − 1.2816 · 5 < 0: it may never end. m + = 11.408; 100/11.408 = 8.8."""
    end = project_end({ago(4): 20}, 100, TODAY)
    assert (end.expected, end.earliest, end.latest) == (ago(-20), ago(-9), None)


def test_only_the_last_two_weeks_count():
    end = project_end({ago(100): 5000} | {ago(back): 2 for back in range(1, 15)}, 10, TODAY)
    assert (end.expected, end.earliest, end.latest, end.per_day) == (ago(-5), ago(-5), ago(-5), 2)


@pytest.mark.parametrize(
    ("counts", "remaining"),
    [({}, 5), ({TODAY: 50}, 5), ({ago(2): 5, ago(1): 5}, 5), ({ago(3): 5, ago(2): 5, ago(1): 5}, 0),
     ({ago(40): 9}, 5)],
)  # fmt: skip
def test_no_projection_without_ground(counts, remaining):
    assert project_end(counts, remaining, TODAY) is None


def test_days_and_bars():
    days = by_day({ago(2): 4, TODAY: 8}, TODAY, 3)
    assert days == [(ago(2), 4), (ago(1), 0), (TODAY, 8)]
    assert [(bar.x, bar.y, bar.width, bar.height) for bar in bars(days)] == [
        (33, 50, 267, 50), (366, 100, 267, 0), (699, 0, 267, 100),
    ]  # fmt: skip


def test_cost_by_hand():
    assert cost_per_judgment(18, 1200, 60) == pytest.approx(0.1), "a third of an hour at 18 for 60"
    assert cost_per_judgment(None, 1200, 60) is None
    assert cost_per_judgment(18, 0, 0) is None


def test_a_projects_figures(project, comparisons, judge):
    """Ada: 20, 40 and 3000 seconds (counted as 900), ben: 100 of which 60 active. Together 1020 s = 0.2833 h."""
    ada, ben = User.objects.get(username="annotator"), User.objects.get(username="admin")
    update_project(project, User.objects.get(username="root"), rate_per_hour="20.00")
    pairs = comparisons(4)
    judgments = [
        judge(ada, pair, picks_first=True, swapped=False, seconds=seconds)
        for pair, seconds in zip(pairs, (20, 40, 3000), strict=False)
    ] + [judge(ben, pairs[3], picks_first=True, swapped=False, seconds=100)]
    judgments[3].active_seconds = 60
    save(judgments)
    Slot.objects.filter(comparison__in=pairs[:2]).update(free_from=None, holder=ada)
    found = project_progress(project)
    assert (found.judgments, found.wanted, found.done) == (4, 4, 2)
    assert found.hours == pytest.approx(1020 / 3600)
    assert found.cost == pytest.approx(1020 / 3600 * 20)
    assert found.cost_each == pytest.approx(1020 / 3600 * 5)
    assert found.end is None
    assert [(row.name, row.recent, row.seconds) for row in found.people] == [
        ("annotator", 3, 320), ("admin", 1, 60),
    ]  # fmt: skip
    assert found.people[0].cost == pytest.approx(960 / 3600 * 20)
    assert found.days[-1] == (timezone.localdate(), 4)


def test_imported_votes_cost_nothing(project, comparisons, judge):
    vote = judge(User.objects.get(username="annotator"), comparisons(1)[0], picks_first=True, swapped=False)
    vote.reservation = vote.shown_at = None
    vote.save()
    assert Judgment.objects.count() == 1
    found = project_progress(project)
    assert (found.judgments, found.people) == (0, [])


def test_own_progress(project, comparisons, judge, django_assert_max_num_queries):
    """On 6 pairs two others vote: 12 votes, the same 6 + 2 times."""
    ada, one, other = (User.objects.create_user(name) for name in ("ada", "one", "other"))
    project.memberships.create(user=ada, role="annotator")
    pairs = comparisons(7)
    judgments = []
    for place, pair in enumerate(pairs[:6]):
        judgments.append(judge(ada, pair, picks_first=True, swapped=place % 2 == 0, seconds=10 * (place + 1)))
        judgments.append(judge(one, pair, picks_first=True, swapped=False))
        judgments.append(judge(other, pair, picks_first=place < 2, swapped=True))
    judgments.append(judge(one, pairs[6], picks_first=True, swapped=False))
    save(judgments)
    own = own_progress(project, ada)
    assert (own.judged, own.today, own.shared, own.agreement) == (6, 6, 0, None), "agreement counts until yesterday"
    with django_assert_max_num_queries(8):
        own = own_progress(project, ada, now=timezone.now() + timedelta(days=1))
    assert (own.judged, own.today, own.shared, own.agreement) == (6, 0, 12, pytest.approx(8 / 12))
    assert own.seconds == 35
    assert own.gold is None
    update_project(project, User.objects.get(username="root"), show_gold_accuracy=True)
    assert own_progress(project, ada).gold.answered == 0


def test_agreement_waits_for_enough_votes(project, comparisons, judge):
    ada, one = (User.objects.create_user(name) for name in ("ada", "one"))
    pairs = comparisons(9)
    save([judge(person, pair, picks_first=True, swapped=False) for pair in pairs for person in (ada, one)])
    own = own_progress(project, ada, now=timezone.now() + timedelta(days=1))
    assert (own.shared, own.agreement) == (9, None)


def test_the_last_pairs_alone_tell_the_agreement(project, comparisons, judge, monkeypatch):
    """Of twelve pairs the last ten count: the other person disagreed on the first two alone."""
    monkeypatch.setattr(progress, "LAST_PAIRS", 10)
    ada, one = (User.objects.create_user(name) for name in ("ada", "one"))
    for place, pair in enumerate(comparisons(12)):
        save([judge(ada, pair, picks_first=True, swapped=False), judge(one, pair, picks_first=place > 1, swapped=True)])
    own = own_progress(project, ada, now=timezone.now() + timedelta(days=1))
    assert (own.shared, own.agreement) == (10, 1)


def test_days_are_kept_and_counted_again(project, comparisons, judge):
    """Three days ago 2 judgments of 30 s, today one of 3000 s, which counts as 900; one of today is deleted."""
    ada, pairs = User.objects.get(username="annotator"), comparisons(4)
    judgments = [judge(ada, pair, picks_first=True, swapped=False) for pair in pairs]
    for judgment in judgments[:2]:
        judgment.created_at -= timedelta(days=3)
    judgments[2].seconds = 3000
    save(judgments)
    judgments[3].delete()
    today = timezone.now().date()
    assert list(DayTally.objects.order_by("day").values_list("day", "judgments", "seconds")) == [
        (today - timedelta(days=3), 2, 60), (today, 1, 900),
    ]  # fmt: skip
    assert counters.recount(project) == []
    DayTally.objects.filter(day=today).update(judgments=5)
    assert counters.recount(project) == [f"careful: the totals of {today} were wrong."]
    assert project_progress(project).judgments == 3
