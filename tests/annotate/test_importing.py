"""Files become rows: each format, duplicates counted, all of a file or none of it."""

import gzip
import json
from pathlib import Path

import pytest
from django.core.exceptions import PermissionDenied
from django.core.management import CommandError, call_command

from annotate.datasets.importing import import_file
from annotate.errors import UserError
from annotate.labeling.queue import reserve_next
from annotate.models import Comparison, Demonstration, Judgment, Project, Prompt, Response, Slot, User

pytestmark = pytest.mark.django_db

REAL = Path(__file__).resolve().parents[3] / "shared" / "data"


@pytest.fixture
def file(tmp_path):
    """Writes rows as a file of JSON lines: file("a.jsonl", row, row, …)."""

    def write(name: str, *rows) -> Path:
        path = tmp_path / name
        text = "".join(f"{row if isinstance(row, str) else json.dumps(row)}\n" for row in rows)
        path.write_bytes(gzip.compress(text.encode()) if name.endswith(".gz") else text.encode())
        return path

    return write


def counts() -> list[int]:
    return [model.objects.count() for model in (Prompt, Response, Comparison, Slot, Judgment, Demonstration, User)]


def test_prompts_go_to_the_pool_and_the_second_time_are_duplicates(project, file):
    path = file("p.jsonl", {"prompt": "One?"}, {"prompt": [{"role": "user", "content": "One?"}]}, {"prompt": "Two?"})
    report = import_file(project, path, "prompts")
    assert (report.rows, report.prompts, report.duplicates) == (3, 2, 1)
    assert [prompt.messages for prompt in Prompt.objects.filter(in_pool=True)] == [
        [{"role": "user", "content": "One?"}], [{"role": "user", "content": "Two?"}],
    ]  # fmt: skip
    again = import_file(project, path, "prompts")
    assert (again.rows, again.prompts, again.duplicates) == (3, 0, 3)


def test_a_prompt_known_from_a_comparison_joins_the_pool(project, file):
    import_file(project, file("c.jsonl", {"prompt": "One?", "responses": ["1", "2"]}), "comparisons")
    assert not Prompt.objects.get().in_pool
    report = import_file(project, file("p.jsonl", {"prompt": "One?"}), "prompts")
    assert (report.prompts, report.duplicates) == (1, 0)
    assert Prompt.objects.get().in_pool


def test_what_answers_are_checked_by_is_kept_and_the_last_upload_counts(project, file):
    schema = {"type": "object"}
    first = file("p.jsonl", {"prompt": "6 × 7?", "answer": 41, "schema": schema}, {"prompt": "Why?"})
    assert import_file(project, first, "prompts").references_changed == 0
    assert [prompt.reference for prompt in Prompt.objects.all()] == [{"answer": "41", "schema": schema}, {}]

    report = import_file(project, file("q.jsonl", {"prompt": "6 × 7?", "answer": "42"}), "prompts")
    assert (report.prompts, report.duplicates, report.references_changed) == (0, 1, 1)
    report = import_file(project, file("r.jsonl", {"prompt": "6 × 7?"}, {"prompt": "Why?", "tests": ["ok"]}), "prompts")
    assert report.references_changed == 0, "nothing said about one, something new about the other"
    assert [prompt.reference for prompt in Prompt.objects.all()] == [
        {"answer": "42", "schema": schema}, {"tests": ["ok"]},
    ]  # fmt: skip
    row = {"prompt": "6 × 7?", "responses": ["42", "43"]}
    import_file(project, file("c.jsonl", row), "comparisons")
    assert Prompt.objects.first().reference["answer"] == "42", "other files say nothing about it"


def test_k_responses_become_all_their_pairs_in_the_queue(project, ada, file):
    row = {"prompt": "Which?", "responses": [{"text": "a", "model": "m1"}, "b", {"text": "c", "model": "m2"}, "b"]}
    report = import_file(project, file("c.jsonl", row, row), "comparisons")
    assert (report.comparisons, report.duplicates, report.responses) == (3, 3, 3)
    assert Slot.objects.count() == 3
    assert set(Response.objects.values_list("text", "generator")) == {("a", "m1"), ("b", ""), ("c", "m2")}
    assert reserve_next(project, ada) is not None


def test_equal_responses_make_no_pair(project, file):
    report = import_file(project, file("c.jsonl", {"prompt": "Which?", "responses": ["a", "a"]}), "comparisons")
    assert (report.comparisons, report.skipped) == (0, 1)
    assert report.skipped_because == {"all responses are the same text": 1}


def test_preferences_become_judgments_without_slots(project, ada, file):
    rows = [
        {"prompt": "P1", "chosen": "good", "rejected": "bad"},
        {"prompt": "P2", "chosen": "good", "rejected": "bad", "strength": "slightly_better", "group": "g"},
        {"prompt": "P3", "chosen": "x", "rejected": "y", "strength": "tie"},
        {"prompt": "P4", "chosen": "good", "rejected": "bad",
         "criteria": {"helpful": "chosen", "truthful": "rejected", "harmless": "tie"}},
        {"prompt": "P5", "chosen": "same", "rejected": "same"},
    ]  # fmt: skip
    report = import_file(project, file("votes.v2.jsonl", *rows), "preferences")
    assert (report.rows, report.judgments, report.skipped, report.annotators) == (5, 4, 1, 1)
    first, slight, tie, judged = Judgment.objects.order_by("id")
    assert first.annotator.username == "import:votes"
    assert not first.annotator.is_active and not first.annotator.has_usable_password()
    assert first.winner.text == "good" and first.rating in {1, 4}
    assert slight.winner.text == "good" and slight.rating in {2, 3}
    assert slight.comparison.group == "g"
    assert tie.winner is None and tie.rating == 0
    side = 1 if judged.left == judged.winner else -1
    assert (judged.helpful, judged.truthful, judged.harmless) == (side, -side, 0)
    assert Slot.objects.count() == 0 and reserve_next(project, ada) is None


def test_what_a_model_judged_is_a_judges_vote(project, file):
    row = {"prompt": "P1", "chosen": "good", "rejected": "bad", "strength": "better", "probability": 0.9}
    import_file(project, file("preferences.jsonl", row), "preferences", judge="llama-3.1/8b")
    (judgment,) = Judgment.objects.all()
    assert judgment.annotator.username == "judge:llama-3.1/8b" and judgment.winner.text == "good"
    assert not judgment.annotator.is_active and not judgment.annotator.has_usable_password()
    with pytest.raises(UserError, match="judge's name"):
        import_file(project, file("preferences.jsonl", row), "preferences", judge="two words")


def test_the_side_of_an_imported_winner_says_nothing(project, file):
    rows = [{"prompt": f"P{number}", "chosen": f"c{number}", "rejected": f"r{number}"} for number in range(60)]
    import_file(project, file("votes.jsonl", *rows), "preferences")
    left = sum(judgment.rating == 1 for judgment in Judgment.objects.all())
    assert 15 <= left <= 45


def test_the_same_pair_twice_is_a_duplicate_and_the_other_way_round_a_contradiction(project, file):
    path = file(
        "votes.jsonl",
        {"prompt": "P", "chosen": "a", "rejected": "b"},
        {"prompt": "P", "chosen": "a", "rejected": "b"},
        {"prompt": "P", "chosen": "b", "rejected": "a"},
    )
    report = import_file(project, path, "preferences")
    assert (report.judgments, report.duplicates, report.contradictions) == (1, 2, 1)
    assert Judgment.objects.get().winner.text == "a"
    again = import_file(project, path, "preferences")
    assert (again.judgments, again.duplicates, again.contradictions) == (0, 3, 1)


def test_demonstrations(project, file):
    row = {"prompt": "P", "completion": "Ideal."}
    path = file("d.jsonl.gz", row, row, {"prompt": "P", "completion": "Also."})
    report = import_file(project, path, "demonstrations")
    assert (report.demonstrations, report.duplicates, report.prompts) == (2, 1, 1)
    assert set(Demonstration.objects.values_list("completion", flat=True)) == {"Ideal.", "Also."}


@pytest.mark.parametrize(
    ("kind", "wrong", "line", "field"),
    [
        ("prompts", {"prompt": ""}, 3, "prompt"),
        ("comparisons", {"prompt": "P", "responses": ["one"]}, 3, "responses"),
        ("comparisons", "{not json", 3, "JSON"),
        ("comparisons", {"prompt": "P", "responses": ["a", {"text": "b", "model": "m" * 201}]}, 3, "[1].model"),
        ("preferences", {"prompt": "P", "chosen": "a"}, 3, "rejected"),
        ("preferences", {"prompt": "P", "chosen": "a", "rejected": "b", "group": "g" * 201}, 3, "group"),
        ("demonstrations", {"prompt": "P", "completion": 7}, 3, "completion"),
    ],
)
def test_a_wrong_line_is_named_and_nothing_lands(project, file, kind, wrong, line, field):
    right = {
        "prompt": "P", "responses": ["a", "b"], "chosen": "a", "rejected": "b", "completion": "c",
    }  # fmt: skip
    path = file("upload.jsonl", right, right, wrong)
    before = counts()
    with pytest.raises(UserError) as error:
        import_file(project, path, kind, filename="mine.jsonl")
    assert counts() == before
    assert "mine.jsonl" in error.value.message
    assert f"line {line}" in error.value.message
    assert field in error.value.message


def test_a_wrong_line_after_thousands_takes_back_what_was_written(project, file):
    rows = [{"prompt": f"P{number}", "responses": ["a", "b"]} for number in range(2500)]
    before = counts()
    with pytest.raises(UserError, match="line 2501"):
        import_file(project, file("c.jsonl", *rows, {"prompt": "P"}), "comparisons")
    assert counts() == before


def test_what_is_no_data_is_refused(project, file, tmp_path):
    for path, kind, format in [
        (file("empty.jsonl"), "prompts", "native"),
        (tmp_path / "missing.jsonl", "prompts", "native"),
        (file("a.txt", {"prompt": "P"}), "prompts", "native"),
        (file("a.jsonl", {"prompt": "P"}), "poems", "native"),
        (file("a.jsonl", {"prompt": "P"}), "prompts", "hh"),
        (file("a.jsonl", {"prompt": "P"}), "prompts", "xml"),
    ]:
        with pytest.raises(UserError):
            import_file(project, path, kind, format=format)
    assert not Prompt.objects.exists()


def test_only_admins_import(project, ada, person, file):
    path = file("p.jsonl", {"prompt": "P"})
    for somebody in (ada, person("rosa", "researcher")):
        with pytest.raises(PermissionDenied):
            import_file(project, path, "prompts", user=somebody)
    assert import_file(project, path, "prompts", user=person("ann", "admin")).prompts == 1


def transcript(*turns: str) -> str:
    return "".join(f"\n\n{'Assistant' if number % 2 else 'Human'}: {turn}" for number, turn in enumerate(turns))


def test_hh_transcripts(project, file):
    path = file(
        "hh.jsonl",
        {"chosen": transcript("Hi", "Hello", "Why?", "Because."), "rejected": transcript("Hi", "Hello", "Why?", "No.")},
        {"chosen": transcript("Hi", "Hello", "Why?", "a"), "rejected": transcript("Hi", "Bye", "Why?", "a")},
        {"chosen": transcript("Hi", "Hello"), "rejected": transcript("Hi", "Hello", "And?", "x")},
        {"chosen": transcript("Hi", "Hello"), "rejected": transcript("Hi", "")},
        {"chosen": transcript("Hi", "Hello"), "rejected": transcript("Hi", "Hello")},
    )
    report = import_file(project, path, "preferences", format="hh")
    assert (report.rows, report.judgments, report.skipped) == (5, 1, 4)
    assert report.skipped_because == {
        "the conversations differ before their last turn": 2,
        "a response is empty": 1,
        "chosen and rejected are the same text": 1,
    }
    judgment = Judgment.objects.get()
    assert judgment.comparison.prompt.messages == [
        {"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"},
        {"role": "user", "content": "Why?"},
    ]  # fmt: skip
    assert (judgment.winner.text, {judgment.left.text, judgment.right.text}) == ("Because.", {"Because.", "No."})


def test_hh_turns_in_a_row_by_one_speaker_are_one_message(project, file):
    start = "\n\nHuman: Hi\n\nAssistant: One\n\nAssistant: Two\n\nHuman: So?"
    row = {"chosen": f"{start}\n\nAssistant: a", "rejected": f"{start}\n\nAssistant: b"}
    import_file(project, file("hh.jsonl", row), "preferences", format="hh")
    contents = [message["content"] for message in Prompt.objects.get().messages]
    assert contents == ["Hi", "One\n\nTwo", "So?"]


@pytest.mark.parametrize(
    "row",
    [
        {"chosen": "Hi", "rejected": "Ho"},
        {"chosen": transcript("Hi", "a")},
        {"chosen": transcript("Hi"), "rejected": transcript("Hi")},
        {"chosen": transcript("Hi", "a"), "rejected": transcript("Hi", "half \ud800")},
    ],
)
def test_a_row_that_is_no_hh_transcript_is_named(project, file, row):
    with pytest.raises(UserError, match=r"hh\.jsonl, line 1, field"):
        import_file(project, file("hh.jsonl", row), "preferences", format="hh")
    assert not Prompt.objects.exists()


def ukp_row(votes: dict, **changes) -> dict:
    return {
        "debate": "Tea or coffee", "stance": "Tea", "a1": "Tea is calm.", "a2": "Leaves.",
        "votes": [
            {"worker": worker, "choice": choice, "reason": f"{worker} says", "submitted": "2016-01-31 16:59:52"}
            for worker, choice in votes.items()
        ],
    } | changes  # fmt: skip


def test_ukp_votes_become_judgments_by_distinct_people(project, file):
    swapped = ukp_row({"w2": "a1", "w9": "a1"}, a1="Leaves.", a2="Tea is calm.")
    rows = [ukp_row({"w1": "a1", "w2": "a2", "w3": "equal"}), swapped, ukp_row({"w1": "a1"}, a1="Leaves.")]
    report = import_file(project, file("ukp.jsonl", *rows), "comparisons", format="ukp")
    assert (report.comparisons, report.judgments, report.annotators, report.skipped) == (1, 4, 4, 1)
    # w2 chose "Leaves." both times: once as a2, once as a1.
    assert (report.duplicates, report.contradictions) == (1, 0)
    found = {
        judgment.annotator.username: (judgment.rating, judgment.winner and judgment.winner.text, judgment.left.text)
        for judgment in Judgment.objects.all()
    }
    assert found == {
        "ukp:w1": (1, "Tea is calm.", "Tea is calm."),
        "ukp:w2": (4, "Leaves.", "Tea is calm."),
        "ukp:w3": (0, None, "Tea is calm."),
        "ukp:w9": (1, "Leaves.", "Leaves."),
    }
    judgment = Judgment.objects.get(annotator__username="ukp:w1")
    assert (judgment.note, judgment.created_at.isoformat()) == ("w1 says", "2016-01-31T16:59:52+00:00")
    assert Comparison.objects.get().group == "Tea or coffee"


def test_an_unknown_ukp_choice_is_named(project, file):
    with pytest.raises(UserError, match=r'line 1, field "votes\[1\]\.choice"'):
        import_file(project, file("u.jsonl", ukp_row({"w1": "a1", "w2": "a3"})), "comparisons", format="ukp")


def test_the_command_imports_and_creates_only_when_told(file, capsys, db):
    path = file("p.jsonl", {"prompt": "P"})
    with pytest.raises(CommandError, match="--create"):
        call_command("import", "new-one", str(path), "--kind", "prompts")
    assert not Project.objects.exists()
    with pytest.raises(CommandError, match="line 1"):
        call_command("import", "new-one", str(file("bad.jsonl", {})), "--kind", "prompts", "--create")
    assert not Project.objects.exists()
    call_command("import", "new-one", str(path), "--kind", "prompts", "--create")
    assert Project.objects.get().slug == "new-one"
    assert Project.objects.get().guideline_versions.count() == 1
    assert "prompts" in capsys.readouterr().out


@pytest.mark.skipif(not REAL.is_dir(), reason="the folder of real data is not there")
def test_the_published_hh_file(project):
    report = import_file(project, REAL / "hh_rlhf_harmless.jsonl.gz", "preferences", format="hh")
    assert (report.rows, report.judgments, report.duplicates, report.skipped) == (1467, 1461, 0, 6)
    assert report.skipped_because == {
        "a response is empty": 4, "the conversations differ before their last turn": 2,
    }  # fmt: skip


@pytest.mark.slow
@pytest.mark.skipif(not REAL.is_dir(), reason="the folder of real data is not there")
def test_the_published_ukp_votes(project):
    report = import_file(project, REAL / "ukp_convincing_votes.jsonl.gz", "comparisons", format="ukp")
    assert report.rows == 11_890
    # 118 pairs have four votes and 11,772 have five; 12 pairs of equal texts and repeated voters are left out.
    assert report.judgments + report.duplicates + 60 == 118 * 4 + 11_772 * 5
    assert (report.skipped, report.comparisons) == (12, 11_523)
    assert report.annotators == User.objects.filter(username__startswith="ukp:").count() == 3763
    assert Comparison.objects.values("group").distinct().count() == 11
