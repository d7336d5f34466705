"""Snapshots: the right winner on every line, the same digest for the same data, and files that others' tools take."""

import hashlib
import io
import json

import pyarrow.parquet
import pytest
from django.conf import settings
from django.core.exceptions import PermissionDenied
from django.core.management import CommandError, call_command
from django.utils import timezone

from annotate.datasets.exporting import export
from annotate.datasets.importing import import_file
from annotate.datasets.snapshots import create_snapshot, rows
from annotate.errors import UserError
from annotate.labeling.queue import reserve_next
from annotate.labeling.submit import submit_judgment
from annotate.models import GoldQuestion, Judgment
from annotate.models.judgment import Rating
from annotate.projects import start_project
from training.records import read_records

pytestmark = pytest.mark.django_db


@pytest.fixture
def vote(person):
    """vote(comparison, "first", "second-", "equal") adds a vote by a new person for each; "-" makes it slight."""
    number = iter(range(1000))

    def add(comparison, *choices: str, **criteria):
        for choice in choices:
            left, right = comparison.first, comparison.second
            slight = choice.endswith("-")
            rating, winner = {
                "first": (Rating.A_SLIGHTLY_BETTER if slight else Rating.A_BETTER, left),
                "second": (Rating.B_SLIGHTLY_BETTER if slight else Rating.B_BETTER, right),
                "equal": (Rating.EQUAL, None),
            }[choice.rstrip("-")]
            Judgment.objects.create(
                comparison=comparison, annotator=person(f"voter-{next(number)}"), left=left, right=right,
                rating=rating, winner=winner, created_at=timezone.now(), **criteria,
            )  # fmt: skip

    return add


def only_line(project, **options) -> dict:
    (line,) = rows(create_snapshot(project, "preferences", **options))
    return line


def test_what_an_annotator_chose_is_the_chosen_text(project, ada, pairs):
    for rating, _ in zip((1, 4, 2, 3), pairs(4), strict=True):
        submit_judgment(ada, reserve_next(project, ada).key, rating)
    expected = {judgment.comparison.prompt.messages[0]["content"]: judgment for judgment in Judgment.objects.all()}
    lines = list(rows(create_snapshot(project, "preferences")))
    assert len(lines) == 4
    for line in lines:
        judgment = expected[line["prompt"][0]["content"]]
        shown_better = judgment.left if judgment.rating <= 2 else judgment.right
        shown_worse = judgment.right if judgment.rating <= 2 else judgment.left
        assert line["chosen"] == [{"role": "assistant", "content": shown_better.text}]
        assert line["rejected"] == [{"role": "assistant", "content": shown_worse.text}]
        assert line["strength"] == ("better" if judgment.rating in {1, 4} else "slightly_better")
        assert (line["weight"], line["probability"]) == (1.0, 1.0)


@pytest.mark.parametrize(
    ("votes", "chosen", "probability", "strength"),
    [
        (["first"], "one", 1.0, "better"),
        (["second-"], "two", 1.0, "slightly_better"),
        (["first", "first", "first", "second", "second"], "one", 0.6, "better"),
        (["second", "equal"], "two", 0.75, "better"),
        (["second-", "second-", "second", "first"], "two", 0.75, "slightly_better"),
        (["second-", "second", "first"], "two", 2 / 3, "better"),
    ],
)
def test_the_majority_wins_with_its_share_as_soft_label(project, pairs, vote, votes, chosen, probability, strength):
    (comparison,) = pairs(1)
    vote(comparison, *votes)
    line = only_line(project)
    assert line["chosen"][0]["content"] == chosen
    assert line["probability"] == pytest.approx(probability)
    assert line["weight"] == 1, "the share counts once, in the probability"
    assert line["strength"] == strength


def test_ties_make_no_line_and_are_counted(project, pairs, vote):
    split, equal, clear, _unjudged = pairs(4)
    vote(split, "first", "second")
    vote(equal, "equal")
    vote(clear, "first", "equal")
    dataset = create_snapshot(project, "preferences")
    assert dataset.rows == 1
    assert dataset.facts == {"votes": "majority", "judgments": 5, "ties": 2}
    every = create_snapshot(project, "preferences", votes="all")
    assert every.rows == 3
    assert every.facts == {"votes": "all", "judgments": 5, "ties": 2}
    assert {line["weight"] for line in rows(every)} == {1.0}


def test_verdicts_on_criteria_are_told_from_the_side_of_the_chosen(project, pairs, vote):
    comparison, plain = pairs(2)
    vote(comparison, "second", "second", helpful=1, truthful=-1)
    vote(comparison, "second", helpful=-1, truthful=-1)
    vote(plain, "first")
    lines = {line["prompt"][0]["content"]: line["criteria"] for line in rows(create_snapshot(project, "preferences"))}
    assert lines["Question 0"] == {"helpful": "rejected", "truthful": "chosen", "harmless": None}
    assert lines["Question 1"] == {"helpful": None, "truthful": None, "harmless": None}


def test_pairs_of_a_prompt_share_a_group(project, tmp_path):
    path = tmp_path / "p.jsonl"
    lines = [
        {"prompt": "P1", "chosen": "a", "rejected": "b"}, {"prompt": "P1", "chosen": "a", "rejected": "c"},
        {"prompt": "P2", "chosen": "a", "rejected": "b"},
        {"prompt": "P3", "chosen": "a", "rejected": "b", "group": "g"},
        {"prompt": "P4", "chosen": "a", "rejected": "b", "group": "g"},
    ]  # fmt: skip
    path.write_text("\n".join(json.dumps(line) for line in lines))
    import_file(project, path, "preferences")
    groups = {}
    for line in rows(create_snapshot(project, "preferences")):
        groups.setdefault(line["prompt"][0]["content"], set()).add(line["group"])
    assert all(len(found) == 1 for found in groups.values())
    assert groups["P3"] == groups["P4"] == {"g"}
    assert groups["P1"] != groups["P2"]


def test_a_snapshot_never_changes_and_equal_data_has_an_equal_digest(project, pairs, vote):
    first, second = pairs(2)
    vote(first, "first")
    before = create_snapshot(project, "preferences")
    path = settings.DATASETS_DIR / f"{before.sha256}.jsonl"
    content = path.read_bytes()
    assert hashlib.sha256(content).hexdigest() == before.sha256
    assert create_snapshot(project, "preferences") == before, "nothing new: no second one"
    named = create_snapshot(project, "preferences", note="for the paper")
    assert (named.number, named.sha256) == (before.number + 1, before.sha256)
    vote(second, "second")
    after = create_snapshot(project, "preferences")
    assert (after.number, after.rows) == (3, 2)
    assert after.sha256 != before.sha256
    assert path.read_bytes() == content
    assert not path.stat().st_mode & 0o222
    assert not list(settings.DATASETS_DIR.glob(".*.part"))


def test_the_order_of_the_import_does_not_matter(db, tmp_path):
    lines = [json.dumps({"prompt": f"P{n % 3}", "chosen": f"c{n}", "rejected": f"r{n}"}) for n in range(9)]
    digests = set()
    for name, order in [("forth", lines), ("back", lines[::-1])]:
        path = tmp_path / "p.jsonl"
        path.write_text("\n".join(order))
        project = start_project(name=name)
        import_file(project, path, "preferences")
        digests.add(create_snapshot(project, "preferences").sha256)
    assert len(digests) == 1


def test_a_failure_while_writing_leaves_no_dataset(project, pairs, vote, monkeypatch):
    (comparison,) = pairs(1)
    vote(comparison, "first")

    def full(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("annotate.datasets.snapshots.os.fsync", full)
    with pytest.raises(OSError, match="No space"):
        create_snapshot(project, "preferences")
    assert not project.datasets.exists()
    assert not list(settings.DATASETS_DIR.glob(".*.part"))


def test_every_kind_comes_back_through_the_reader(project, tmp_path):
    files = {
        "prompts": {"prompt": "P1"},
        "demonstrations": {"prompt": "P2", "completion": "Ideal."},
        "comparisons": {"prompt": "P3", "responses": [{"text": "a", "model": "m"}, {"text": "b"}]},
        "preferences": {"prompt": "P4", "chosen": "a", "rejected": "b", "strength": "slightly_better"},
    }
    for kind, line in files.items():
        (tmp_path / "f.jsonl").write_text(json.dumps(line))
        import_file(project, tmp_path / "f.jsonl", kind)
    for kind in ("prompts", "demonstrations", "preferences"):
        original = tmp_path / f"{kind}.jsonl"
        original.write_text(json.dumps(files[kind]))
        (expected,) = read_records(original, kind)
        for format in ("jsonl", "parquet"):
            name, _, blocks = export(create_snapshot(project, kind), format)
            assert name == f"kind-{kind}-1.{format}"
            (tmp_path / name).write_bytes(b"".join(blocks))
            (record,) = read_records(tmp_path / name, kind)
            assert record.messages == expected.messages
            for field in ("completion", "chosen", "rejected", "strength"):
                assert getattr(record, field, None) == getattr(expected, field, None)
    compared = list(rows(create_snapshot(project, "comparisons")))
    assert {"text": "a", "model": "m"} in compared[0]["responses"] + compared[1]["responses"]


def test_prompts_carry_what_answers_are_checked_by(project, tmp_path):
    given = [
        {"prompt": "6 × 7?", "answer": "42"},
        {"prompt": "Double.", "tests": ["assert double(2) == 4"], "schema": {"type": "object"}},
        {"prompt": "Why?"},
    ]
    path = tmp_path / "p.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in given))
    import_file(project, path, "prompts")
    dataset = create_snapshot(project, "prompts")
    assert all(list(row) == ["prompt", "answer", "tests", "schema"] for row in rows(dataset))
    expected = {record.messages[0]["content"]: record.reference for record in read_records(path, "prompts")}
    for format in ("jsonl", "parquet"):
        name, _, blocks = export(dataset, format)
        (tmp_path / name).write_bytes(b"".join(blocks))
        found = {record.messages[0]["content"]: record.reference for record in read_records(tmp_path / name, "prompts")}
        assert found == expected


def test_prompts_without_a_reference_are_lines_as_ever(project, tmp_path):
    (tmp_path / "p.jsonl").write_text('{"prompt": "Why?"}\n')
    import_file(project, tmp_path / "p.jsonl", "prompts")
    assert list(rows(create_snapshot(project, "prompts"))) == [{"prompt": [{"role": "user", "content": "Why?"}]}]


def test_parquet_of_nothing_still_has_its_columns(project):
    _, _, blocks = export(create_snapshot(project, "preferences"), "parquet")
    table = pyarrow.parquet.read_table(io.BytesIO(b"".join(blocks)))
    assert table.num_rows == 0
    assert {"prompt", "chosen", "rejected", "weight"} <= set(table.column_names)


@pytest.mark.parametrize("format", ["jsonl", "parquet"])
def test_hugging_face_loads_it_and_trl_knows_it(project, pairs, vote, tmp_path, format):
    """A column that comes late, such as criteria, must not upset the reader's schema."""
    datasets = pytest.importorskip("datasets")
    from trl.data_utils import is_conversational, maybe_apply_chat_template, maybe_extract_prompt

    first, second, third = pairs(3)
    vote(first, "first")
    vote(second, "second", "second", "first")
    vote(third, "second-", helpful=1)
    name, _, blocks = export(create_snapshot(project, "preferences"), format)
    (tmp_path / name).write_bytes(b"".join(blocks))
    builder = "json" if format == "jsonl" else "parquet"
    loaded = datasets.load_dataset(
        builder, data_files=str(tmp_path / name), split="train", cache_dir=str(tmp_path / "cache")
    )
    assert len(loaded) == 3
    example = loaded[0]
    assert is_conversational(example)
    assert maybe_extract_prompt(example)["prompt"] == example["prompt"]

    class Tokenizer:
        """As much of a chat template as the function needs."""

        def apply_chat_template(self, messages, tools=None, tokenize=False, **options):
            return "".join(f"<{message['role']}>{message['content']}" for message in messages)

    text = maybe_apply_chat_template({key: example[key] for key in ("prompt", "chosen", "rejected")}, Tokenizer())
    assert text["chosen"].endswith(example["chosen"][0]["content"])
    assert text["prompt"].startswith("<user>")


def test_wrong_wishes_and_strangers_are_refused(project, ada, person):
    for kind, options in [("poems", {}), ("preferences", {"votes": "loudest"}), ("prompts", {"note": "x" * 201})]:
        with pytest.raises(UserError):
            create_snapshot(project, kind, **options)
    with pytest.raises(PermissionDenied):
        create_snapshot(project, "prompts", user=ada)
    dataset = create_snapshot(project, "prompts", user=person("rosa", "researcher"))
    with pytest.raises(UserError):
        export(dataset, "docx")
    dataset.sha256 = "0" * 64
    with pytest.raises(UserError, match="missing"):
        export(dataset, "jsonl")


def test_the_command_writes_the_file(project, pairs, vote, tmp_path, capsys):
    (comparison,) = pairs(1)
    vote(comparison, "second")
    out = tmp_path / "out.jsonl"
    call_command("export", "kind", "--kind", "preferences", "--out", str(out))
    line = json.loads(out.read_text())
    assert line["chosen"] == [{"role": "assistant", "content": "two"}]
    assert hashlib.sha256(out.read_bytes()).hexdigest() in capsys.readouterr().out
    with pytest.raises(CommandError, match="no project"):
        call_command("export", "nowhere", "--kind", "preferences", "--out", str(out))
    with pytest.raises(CommandError, match="cannot be written"):
        call_command("export", "kind", "--kind", "preferences", "--out", str(tmp_path / "no" / "folder.jsonl"))


def test_gold_questions_are_in_no_snapshot(project, pairs, vote):
    hidden, test, ordinary = pairs(3)
    for comparison in (hidden, test, ordinary):
        vote(comparison, "first")
    GoldQuestion.objects.create(comparison=hidden, expected=hidden.first)
    GoldQuestion.objects.create(comparison=test, expected=None, purpose="qualification", active=False)
    for kind, votes in (("preferences", "majority"), ("preferences", "all"), ("comparisons", "majority")):
        (line,) = rows(create_snapshot(project, kind, votes=votes))
        assert line["prompt"] == ordinary.prompt.messages
