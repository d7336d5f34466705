"""From what was clicked to what the trainer reads: rankings, ties, both bad, improved answers, versions."""

import io
import json
from itertools import combinations

import pyarrow.parquet
import pytest

from annotate.datasets.exporting import export
from annotate.datasets.importing import import_file
from annotate.datasets.snapshots import create_snapshot, rows
from annotate.labeling.editing import edit_judgment
from annotate.labeling.order import known_of
from annotate.labeling.queue import reserve_next
from annotate.labeling.submit import submit_judgment
from annotate.models import Comparison, Judgment, QualityReport
from annotate.models.judgment import Flag, Rating
from annotate.quality.report import compute
from annotate.quality.selectors import read_judgments, read_responses
from tests.annotate.test_verdicts import allow, rankings  # noqa: F401
from training.ranking import rank_groups
from training.records import read_records

pytestmark = pytest.mark.django_db


def rank(project, person, order: str):
    """`person` ranks the next one so that text 0 … 3 get the ranks in `order`, whatever the order shown."""
    drawn = reserve_next(project, person)
    ranks = [int(order[int(response.text[-1])]) for response in drawn.shown]
    return submit_judgment(person, drawn.key, ranks=ranks)


def pairs_in(lines) -> set[tuple[str, str]]:
    return {(line["chosen"][0]["content"][-1], line["rejected"][0]["content"][-1]) for line in lines}


def written(dataset, tmp_path, format="jsonl"):
    name, _, blocks = export(dataset, format)
    (tmp_path / name).write_bytes(b"".join(blocks))
    return tmp_path / name


def test_a_ranking_is_one_example_of_the_trainer(project, ada, rankings, tmp_path):  # noqa: F811
    rankings(2)
    rank(project, ada, "2143")
    rank(project, ada, "1234")
    for format in ("jsonl", "parquet"):
        path = written(create_snapshot(project, "preferences"), tmp_path, format)
        preferences = read_records(path, "preferences")
        assert len(preferences) == 12 and {row.strength for row in preferences} == {None}
        groups = rank_groups(list(enumerate(preferences)), most=9)
        assert [len(group.responses) for group in groups] == [4, 4]
        assert [len(group.comparisons) for group in groups] == [6, 6]
        assert len({row.group for row in preferences}) == 2
    lines = [line for line in rows(create_snapshot(project, "preferences")) if line["prompt"][0]["content"] == "Rank 0"]
    assert pairs_in(lines) == {("1", "0"), ("1", "3"), ("1", "2"), ("0", "3"), ("0", "2"), ("3", "2")}


def test_tied_responses_make_a_row_only_where_ties_are_kept(project, ada, rankings, tmp_path):  # noqa: F811
    rankings()
    allow(project, allow_equal=True)
    rank(project, ada, "1223")
    without = create_snapshot(project, "preferences")
    assert without.rows == 5 and without.facts == {"votes": "majority", "judgments": 1, "ties": 1}
    kept = create_snapshot(project, "preferences", ties=True)
    assert kept.rows == 6 and kept.facts["ties_kept"] is True
    preferences = read_records(written(kept, tmp_path), "preferences")
    (tie,) = [row for row in preferences if row.strength == "tie"]
    assert {tie.chosen, tie.rejected} == {"text 1", "text 2"} and tie.probability == 0.5
    (group,) = rank_groups(list(enumerate(preferences)), most=9)
    assert len(group.comparisons) == 6


def test_several_rankings_vote_pair_by_pair(project, person, rankings):  # noqa: F811
    """0 is before 1 in two of three rankings; 2 and 3 are tied in one and 2 is before 3 in two: 5/6."""
    rankings(wanted=3)
    allow(project, allow_equal=True)
    for name, order in (("a", "1234"), ("b", "2134"), ("c", "1233")):
        rank(project, person(name), order)
    lines = {tuple(pair): line for line in rows(create_snapshot(project, "preferences")) for pair in pairs_in([line])}
    assert len(lines) == 6
    assert lines["0", "1"]["probability"] == pytest.approx(2 / 3)
    assert lines["2", "3"]["probability"] == pytest.approx(5 / 6)
    assert lines["0", "3"]["probability"] == 1.0
    every = create_snapshot(project, "preferences", votes="all")
    assert (every.rows, every.facts["ties"]) == (17, 1)


def test_both_bad_is_never_a_training_pair_and_is_counted(project, person, pairs):
    one, two = pairs(2, wanted=3)
    allow(project, allow_both_bad=True)
    for number, ratings in enumerate([(1, 5), (5, 1), (5, 1)]):
        judge = person(f"p{number}")
        for _ in ratings:
            drawn = reserve_next(project, judge)
            rating = ratings[0] if drawn.comparison == one else ratings[1]
            # The same response wins whichever side it stands on.
            if rating == 1 and drawn.left.text != "one":
                rating = 4
            submit_judgment(judge, drawn.key, rating)
    dataset = create_snapshot(project, "preferences")
    (line,) = rows(dataset)
    assert line["prompt"] == two.prompt.messages and line["probability"] == 1.0
    assert dataset.facts == {"votes": "majority", "judgments": 6, "both_bad": 3, "comparisons_both_bad": 1}
    assert create_snapshot(project, "preferences", votes="all").rows == 3


def test_an_improved_answer_goes_along_and_is_data_for_fine_tuning(project, ada, pairs, tmp_path):
    pairs(2)
    drawn = reserve_next(project, ada)
    judgment = submit_judgment(ada, drawn.key, 4, edited="One, but better.")
    submit_judgment(ada, reserve_next(project, ada).key, 1)
    path = written(create_snapshot(project, "preferences"), tmp_path)
    by_edit = {row.edited: row for row in read_records(path, "preferences")}
    assert set(by_edit) == {None, "One, but better."}
    assert by_edit["One, but better."].chosen == judgment.right.text
    assert create_snapshot(project, "demonstrations").rows == 0
    with_edits = create_snapshot(project, "demonstrations", edited=True)
    (demonstration,) = read_records(written(with_edits, tmp_path), "demonstrations")
    assert demonstration.messages == drawn.comparison.prompt.messages
    assert demonstration.completion == "One, but better." and with_edits.facts == {"edited": 1}
    # And back into another project.
    import_file(project, path, "preferences")
    assert Judgment.objects.filter(edited="One, but better.").count() == 2


def test_the_snapshot_says_that_later_versions_count(project, ada, pairs):
    pairs(1)
    judgment = submit_judgment(ada, reserve_next(project, ada).key, 1)
    before = create_snapshot(project, "preferences")
    edit_judgment(project, ada, judgment.pk, rating=4)
    after = create_snapshot(project, "preferences")
    assert after.sha256 != before.sha256 and after.facts["changed_later"] == 1
    edit_judgment(project, ada, judgment.pk, rating=1)
    again = create_snapshot(project, "preferences")
    assert again.sha256 == before.sha256, "equal content, equal digest"
    assert "changed_later" not in before.facts and again.number == 3


def test_the_judgments_tell_everything_and_nobodys_name(project, ada, pairs, rankings):  # noqa: F811
    pairs(1)
    drawn = reserve_next(project, ada)
    judgment = submit_judgment(
        ada, drawn.key, 2, helpful=1, harmless=0, overall=[6, 2], flags=[0, int(Flag.SEXUAL | Flag.OPINION)],
        confidence=3, note="hm", edited="E.", renderer=4, active_seconds=0,
    )  # fmt: skip
    edit_judgment(project, ada, judgment.pk, rating=3, renderer=5)
    rankings()
    rank(project, ada, "2143")
    dataset = create_snapshot(project, "judgments")
    one, other = rows(dataset)
    pair, ranking = (one, other) if one["kind"] == "pair" else (other, one)
    assert "ada" not in json.dumps([pair["annotator"], ranking["annotator"]])
    assert pair["annotator"] == ranking["annotator"] and len(pair["annotator"]) == 12
    assert [response["text"] for response in pair["responses"]] == [drawn.left.text, drawn.right.text]
    assert (pair["rating"], pair["version"], pair["renderer"], pair["guideline"]) == ("b_slightly_better", 2, 5, 1)
    (earlier,) = pair["earlier"]
    assert earlier["renderer"] == 4
    assert earlier["said"] == {
        "rating": "a_slightly_better", "ranks": None, "helpful": "a", "truthful": None, "harmless": "equal",
        "overall": [6, 2], "flags": [[], ["sexual", "opinion"]], "confidence": "certain", "note": "hm", "edited": "E.",
    }  # fmt: skip
    by_text = dict(zip([response["text"] for response in ranking["responses"]], ranking["ranks"], strict=True))
    assert by_text == {"text 0": 2, "text 1": 1, "text 2": 4, "text 3": 3}
    assert (ranking["rating"], ranking["imported"], ranking["extra"]) == (None, False, False)
    assert create_snapshot(project, "judgments") == dataset, "nothing new, no second one"
    _, _, blocks = export(dataset, "parquet")
    table = pyarrow.parquet.read_table(io.BytesIO(b"".join(blocks))).to_pylist()
    for row, line in zip(table, (one, other), strict=True):
        assert {name: row[name] for name in line} == line


def test_quality_sees_the_pairs_that_a_ranking_implies(project, ada, ben, rankings, pairs):  # noqa: F811
    rankings(wanted=2)
    rank(project, ada, "1234")
    rank(project, ben, "1243")
    pairs(1)
    submit_judgment(ada, reserve_next(project, ada).key, Rating.A_BETTER)
    ranking = project.comparisons.get(kind=Comparison.Kind.RANKING)
    assert sorted(known_of([ranking.pk])[ranking.pk].ranked) == [(1, 1, 0)] + 5 * [(2, 0, 0)]
    table = read_judgments(project, read_responses(project))
    assert len(table) == 13 and table.item.max() == 6
    assert len(table.judgments) == 3 and table.comparison.max() == 1, "two of the ranking and one of the pair"
    compute(project.pk)
    kept = QualityReport.objects.get(project=project).figures
    assert (kept["judgments"], kept["comparisons"], kept["overall"]["comparisons"]) == (3, 2, 1)
    assert [person["judgments"] for person in kept["people"]] == [2, 1]
    verdicts = table.verdicts()
    agreeing = sum(
        verdicts.label[one] == verdicts.label[other]
        for one, other in combinations(range(13), 2) if table.item[one] == table.item[other]
    )  # fmt: skip
    assert agreeing == 5, "of six pairs, one was ordered the other way"


def test_comparisons_come_in_as_rankings_and_go_out_whole(project, tmp_path):
    path = tmp_path / "c.jsonl"
    many = [{"text": f"r{n}", "model": f"m{n}"} for n in range(5)]
    lines = [{"prompt": "P", "responses": many}, {"prompt": "Q", "responses": ["a", "b", "c"]}]
    path.write_text("\n".join(map(json.dumps, lines)))
    report = import_file(project, path, "comparisons", rankings=True)
    assert (report.comparisons, Comparison.objects.filter(kind="ranking").count()) == (4, 1)
    assert import_file(project, path, "comparisons", rankings=True).duplicates == 4
    found = {line["prompt"][0]["content"]: line for line in rows(create_snapshot(project, "comparisons"))
             if line["prompt"][0]["content"] == "P"}  # fmt: skip
    assert sorted(found["P"]["responses"], key=lambda response: response["text"]) == many
