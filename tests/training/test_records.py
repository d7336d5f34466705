"""Records: every form a line may take, and errors that say file, line, field and what was expected."""

import gzip
import json

import pyarrow
import pyarrow.parquet
import pytest

from training.records import (
    CandidateResponse,
    Comparison,
    Demonstration,
    Preference,
    Prompt,
    RecordError,
    read_records,
    to_line,
)

HELLO = [{"role": "user", "content": "Hello"}]


def assistant(text):
    return [{"role": "assistant", "content": text}]


def write(path, *lines):
    text = "\n".join(line if isinstance(line, str) else json.dumps(line) for line in lines) + "\n"
    if path.name.endswith(".gz"):
        path.write_bytes(gzip.compress(text.encode()))
    else:
        path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("kind", "line", "record"),
    [
        ("prompts", {"prompt": "Hello"}, Prompt(HELLO)),
        ("prompts", {"prompt": HELLO, "id": 7}, Prompt(HELLO)),
        ("demonstrations", {"prompt": "Hello", "completion": "Hi"}, Demonstration(HELLO, "Hi")),
        ("demonstrations", {"prompt": HELLO, "completion": assistant("Hi")}, Demonstration(HELLO, "Hi")),
        (
            "comparisons",
            {"prompt": "Hello", "responses": [{"text": "Hi", "model": "m1"}, {"text": "Yo"}, "Hey"]},
            Comparison(HELLO, [CandidateResponse("Hi", "m1"), CandidateResponse("Yo"), CandidateResponse("Hey")]),
        ),
        ("preferences", {"prompt": "Hello", "chosen": "Hi", "rejected": "Yo"}, Preference(HELLO, "Hi", "Yo")),
        (
            "preferences",
            {"chosen": HELLO + assistant("Hi"), "rejected": HELLO + assistant("Yo")},
            Preference(HELLO, "Hi", "Yo"),
        ),
        (
            "preferences",
            {
                "prompt": "Hello", "chosen": assistant("Hi"), "rejected": "Yo", "strength": "slightly_better",
                "margin": 1, "weight": 0.5, "group": 3, "probability": 0.8,
                "criteria": {"helpful": "rejected", "harmless": None},
            },
            Preference(
                HELLO, "Hi", "Yo", strength="slightly_better", margin=1.0, weight=0.5, group="3", probability=0.8,
                criteria={"helpful": "rejected"},
            ),
        ),
    ],
)  # fmt: skip
@pytest.mark.parametrize("name", ["rows.jsonl", "rows.jsonl.gz", "rows.json", "rows.parquet"])
def test_every_form_in_every_format(tmp_path, kind, line, record, name):
    path = tmp_path / name
    if name.endswith(".parquet"):
        if "responses" in line:
            line = line | {"responses": line["responses"][:2]}
            record = Comparison(record.messages, record.responses[:2])
        pyarrow.parquet.write_table(pyarrow.Table.from_pylist([line]), path)
    else:
        write(path, [line] if name.endswith(".json") else line)
    assert read_records(path, kind) == [record]


@pytest.mark.parametrize("kind", ["prompts", "demonstrations", "comparisons", "preferences"])
def test_what_is_written_is_read_back(tmp_path, kind):
    record = {
        "prompts": Prompt(HELLO),
        "demonstrations": Demonstration(HELLO, "Hi"),
        "comparisons": Comparison(HELLO, [CandidateResponse("Hi", "m"), CandidateResponse("Yo")]),
        "preferences": Preference(HELLO, "Hi", "Yo", "tie", 0.5, 2.0, "g", 0.5, {"truthful": "tie"}),
    }[kind]
    assert read_records(write(tmp_path / "rows.jsonl", to_line(record)), kind) == [record]


def test_an_exported_preference_is_in_conversational_form():
    line = to_line(Preference(HELLO, "Hi", "Yo", strength="better"))
    assert line == {
        "prompt": HELLO, "chosen": assistant("Hi"), "rejected": assistant("Yo"), "strength": "better",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("kind", "bad", "field", "expected"),
    [
        ("prompts", {}, "prompt", "present"),
        ("prompts", {"prompt": "  "}, "prompt", "not empty"),
        ("prompts", {"prompt": []}, "prompt", "messages"),
        ("prompts", {"prompt": 3}, "prompt", "messages"),
        ("prompts", {"prompt": [{"role": "robot", "content": "x"}]}, "prompt[0].role", "assistant"),
        ("prompts", {"prompt": [{"role": "user"}]}, "prompt[0].content", "not empty"),
        ("prompts", {"prompt": HELLO + assistant("Hi")}, "prompt", "turn to answer"),
        ("prompts", {"prompt": "nul \0"}, "prompt", "NUL"),
        ("prompts", '{"prompt": "half \\ud83d"}', "prompt", "surrogate"),
        ("preferences", {"prompt": "P", "chosen": "a", "rejected": "b", "group": "g\0"}, "group", "NUL"),
        ("demonstrations", {"prompt": "Hello"}, "completion", "present"),
        ("demonstrations", {"prompt": "Hello", "completion": ""}, "completion", "not empty"),
        ("demonstrations", {"prompt": "Hello", "completion": HELLO}, "completion", "assistant"),
        ("comparisons", {"prompt": "Hello", "responses": ["Hi"]}, "responses", "two"),
        ("comparisons", {"prompt": "Hello", "responses": ["Hi", {}]}, "responses[1].text", "not empty"),
        ("preferences", {"prompt": "Hello", "chosen": "Hi"}, "rejected", "present"),
        ("preferences", {"chosen": "Hi", "rejected": "Yo"}, "prompt", "conversations"),
        (
            "preferences",
            {"chosen": HELLO + assistant("Hi"), "rejected": assistant("x") + assistant("Yo")},
            "rejected",
            "last turn only",
        ),
        ("preferences", {"prompt": "H", "chosen": "a", "rejected": "b", "strength": "much"}, "strength", "better"),
        ("preferences", {"prompt": "H", "chosen": "a", "rejected": "b", "weight": -1}, "weight", "at least 0"),
        ("preferences", {"prompt": "H", "chosen": "a", "rejected": "b", "weight": True}, "weight", "number"),
        ("preferences", '{"prompt":"H","chosen":"a","rejected":"b","margin":NaN}', "margin", "number"),
        ("preferences", {"prompt": "H", "chosen": "a", "rejected": "b", "probability": 2}, "probability", "0 to 1"),
        (
            "preferences",
            {"prompt": "H", "chosen": "a", "rejected": "b", "criteria": {"kind": "tie"}},
            "criteria.kind",
            "helpful",
        ),
        ("prompts", ["Hello"], None, "object"),
        ("prompts", "{nope", None, "valid JSON"),
    ],
)
def test_a_wrong_line_is_told_where_it_is(tmp_path, kind, bad, field, expected):
    good = {
        "prompt": "Hello", "completion": "Hi", "responses": ["a", "b"], "chosen": "a", "rejected": "b",
    }  # fmt: skip
    path = write(tmp_path / "rows.jsonl", good, "", bad)
    with pytest.raises(RecordError) as caught:
        read_records(path, kind)
    assert (caught.value.line, caught.value.field) == (3, field)
    assert str(caught.value).startswith("rows.jsonl, line 3")
    assert expected in str(caught.value)


def test_damaged_files_are_named(tmp_path):
    whole = write(tmp_path / "whole.jsonl.gz", *[{"prompt": f"{i} {'x' * i}"} for i in range(500)])
    (tmp_path / "cut.jsonl.gz").write_bytes(whole.read_bytes()[:-40])
    (tmp_path / "latin.jsonl").write_bytes('{"prompt": "é"}\n'.encode("latin-1"))
    (tmp_path / "not.parquet").write_bytes(b"PAR1 no")
    (tmp_path / "rows.csv").write_text("prompt\nx\n")
    for name, expected in [
        ("cut.jsonl.gz", "whole gzip"),
        ("latin.jsonl", "UTF-8"),
        ("not.parquet", "Parquet"),
        ("rows.csv", ".jsonl"),
        ("absent.jsonl", "none of this name"),
    ]:
        with pytest.raises(RecordError, match=expected) as caught:
            read_records(tmp_path / name, "prompts")
        assert str(caught.value).startswith(name)


def test_the_line_that_is_not_utf8_is_named_and_a_number_too_long_to_read(tmp_path):
    path = tmp_path / "mixed.jsonl"
    path.write_bytes(b'{"prompt": "a"}\n' * 4 + '{"prompt": "é"}\n'.encode("latin-1"))
    with pytest.raises(RecordError, match="line 5: expected UTF-8"):
        read_records(path, "prompts")
    path.write_text('{"prompt": "a"}\n{"prompt": ' + "9" * 5000 + "}\n")
    with pytest.raises(RecordError, match="line 2: expected valid JSON"):
        read_records(path, "prompts")


def test_a_byte_order_mark_is_no_error(tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_bytes(b'\xef\xbb\xbf{"prompt": "Hello"}\n')
    assert read_records(path, "prompts") == [Prompt(HELLO)]
