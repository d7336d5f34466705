"""A snapshot of judgments goes to another project, and comes out of it as it went in."""

import json

import pytest

from annotate.datasets.importing import import_file
from annotate.datasets.snapshots import create_snapshot, rows
from annotate.errors import UserError
from annotate.labeling.editing import edit_judgment
from annotate.labeling.queue import reserve_next
from annotate.labeling.submit import submit_judgment
from annotate.models import Judgment, Prompt, Slot, User
from annotate.models.judgment import Flag
from annotate.projects import create_project
from tests.annotate.test_verdict_exports import rank, written
from tests.annotate.test_verdicts import allow, rankings  # noqa: F401

pytestmark = pytest.mark.django_db


@pytest.fixture
def judged(project, ada, ben, pairs, rankings, tmp_path):  # noqa: F811
    """Everything that a line can say: changed verdicts, a tie, both bad, an extra, ranks, a judge's vote."""
    pairs(2, wanted=1)
    allow(project, allow_equal=True, allow_both_bad=True)
    project.refresh_from_db()
    drawn = reserve_next(project, ada)
    first = submit_judgment(
        ada, drawn.key, 2, helpful=1, harmless=0, overall=[6, 2], flags=[0, int(Flag.SEXUAL | Flag.OPINION)],
        confidence=3, note="hm, ü", edited="E.", renderer=4, active_seconds=0,
    )  # fmt: skip
    edit_judgment(project, ada, first.pk, rating=3, renderer=5)
    edit_judgment(project, ada, first.pk, rating=0, renderer=5)
    submit_judgment(ben, reserve_next(project, ben).key, 5)
    rankings(1, wanted=2)
    rank(project, ada, "2143")
    rank(project, ben, "1223")
    Judgment.objects.filter(annotator=ben, rating=5).update(slot=None)  # as a late submit
    votes = tmp_path / "votes.jsonl"
    votes.write_text(json.dumps({"prompt": "Question 0", "chosen": "one", "rejected": "two", "criteria": None}) + "\n")
    import_file(project, votes, "preferences", judge="gpt/helpful")
    return project


def export(project, tmp_path, format="jsonl"):
    dataset = create_snapshot(project, "judgments", voters="everybody")
    return dataset, written(dataset, tmp_path, format)


@pytest.mark.parametrize("format", ["jsonl", "parquet"])
def test_what_is_imported_is_exported_as_it_was(judged, admin, tmp_path, format):
    before, path = export(judged, tmp_path, format)
    lines = list(rows(before))
    assert len(lines) == 5
    assert {line["extra"] for line in lines} == {line["imported"] for line in lines} == {True, False}
    assert "judge:gpt/helpful" in {line["annotator"] for line in lines}
    other = create_project(admin, name="Elsewhere", slug="elsewhere")
    report = import_file(other, path, "judgments")
    assert (report.judgments, report.annotators, report.comparisons) == (5, 2, 3)
    after = create_snapshot(other, "judgments", voters="everybody")
    assert list(rows(after)) == lines
    assert after.sha256 == before.sha256
    assert create_snapshot(other, "judgments").rows == 4, "a model's votes stay apart from people's"
    assert not Slot.objects.filter(project=other).exists()
    placeholders = User.objects.filter(username__startswith="annotator:")
    assert len(placeholders) == 2
    assert not any(user.is_active or user.has_usable_password() for user in placeholders)


def test_the_same_file_twice_adds_nothing_there_or_at_home(judged, admin, tmp_path):
    _dataset, path = export(judged, tmp_path)
    people = User.objects.count()
    at_home = import_file(judged, path, "judgments")
    assert (at_home.duplicates, at_home.judgments, at_home.comparisons, at_home.responses) == (5, 0, 0, 0)
    assert User.objects.count() == people, "its own people are known by their pseudonyms"
    other = create_project(admin, name="Elsewhere", slug="elsewhere")
    import_file(other, path, "judgments")
    again = import_file(other, path, "judgments")
    assert (again.duplicates, again.judgments, again.contradictions, again.annotators) == (5, 0, 0, 0)


def test_preferences_of_both_projects_are_the_same(judged, admin, tmp_path):
    _dataset, path = export(judged, tmp_path)
    other = create_project(admin, name="Elsewhere", slug="elsewhere")
    import_file(other, path, "judgments")
    for votes in ("majority", "all"):
        here, there = (create_snapshot(project, "preferences", votes=votes, ties=True) for project in (judged, other))
        texts = [[(line["chosen"], line["rejected"], line["strength"]) for line in rows(one)] for one in (here, there)]
        assert texts[0] == texts[1]


WRONG = [
    ({"annotator": None}, 'field "annotator"'),
    ({"annotator": "two words"}, 'field "annotator"'),
    ({"rating": "a_worse"}, 'field "rating"'),
    ({"rating": None}, 'field "rating"'),
    ({"created_at": "yesterday"}, 'field "created_at"'),
    ({"created_at": "2026-01-31T16:59:52"}, 'field "created_at"'),
    ({"responses": [{"text": "one"}, {"text": "one"}]}, 'field "responses"'),
    ({"responses": [{"text": "one"}, {"text": "two"}, {"text": "three"}]}, 'field "responses"'),
    ({"criteria": {"helpful": "c"}}, 'field "criteria.helpful"'),
    ({"overall": [8, None]}, 'field "overall[0]"'),
    ({"overall": [1]}, 'field "overall"'),
    ({"flags": [["rude"], []]}, 'field "flags[0]"'),
    ({"seconds": 1.0, "active_seconds": 2.0}, 'field "active_seconds"'),
    ({"seconds": -1}, 'field "seconds"'),
    ({"seconds": 10**400}, 'field "seconds"'),
    ({"note": "half \ud83d"}, 'field "note"'),
    ({"created_at": "0001-01-01T00:00:00+14:00"}, 'field "created_at"'),
    ({"draw_probability": 1.5}, 'field "draw_probability"'),
    ({"version": 2}, 'field "version"'),
    ({"earlier": [{"version": 1, "said": {"rating": "x"}}]}, "earlier[0].said.rating"),
    ({"earlier": [{"version": 1, "said": 1}]}, "earlier[0].said"),
    ({"kind": "ranking", "ranks": [1, 2]}, 'field "responses"'),
]


@pytest.mark.parametrize(("change", "named"), WRONG)
def test_a_wrong_line_is_named_and_nothing_lands(project, tmp_path, change, named):
    good = {
        "annotator": "ab12", "kind": "pair", "prompt": "P", "rating": "a_better",
        "responses": [{"text": "one"}, {"text": "two", "model": "m"}], "created_at": "2026-01-31T16:59:52+00:00",
    }  # fmt: skip
    path = tmp_path / "f.jsonl"
    path.write_text(f"{json.dumps(good)}\n{json.dumps(good | change)}\n")
    with pytest.raises(UserError, match=r"f\.jsonl, line 2") as raised:
        import_file(project, path, "judgments")
    assert named in raised.value.message
    assert not Prompt.objects.exists() and not User.objects.filter(username__startswith="annotator:").exists()


def test_the_shortest_line_is_enough(project, tmp_path):
    path = tmp_path / "f.jsonl"
    line = {
        "annotator": "ab12", "kind": "pair", "prompt": "P", "responses": [{"text": "one"}, {"text": "two"}],
        "rating": "b_better", "created_at": "2026-01-31T16:59:52Z",
    }  # fmt: skip
    path.write_text(json.dumps(line) + "\n")
    assert import_file(project, path, "judgments").judgments == 1
    judgment = Judgment.objects.get()
    assert judgment.winner.text == "two" and judgment.annotator.username == "annotator:ab12"
