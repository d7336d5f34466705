"""What a line of a data file is: prompts, demonstrations, comparisons and preferences, read and checked.

The one module that both wings import, so it needs the standard library and (for Parquet only) pyarrow.
A text may stand wherever chat messages may: a prompt text is one user turn, a response text one assistant turn.
"""

import gzip
import json
import os
import sys
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

Message = dict[str, str]

ROLES = ("system", "user", "assistant")
STRENGTHS = ("better", "slightly_better", "tie")
CRITERIA = ("helpful", "truthful", "harmless")
VERDICTS = ("chosen", "rejected", "tie")
# How many people a comparison can ask for.
MOST_WANTED = 50
# What a RecordError expects, where it is said in several places.
ONE_OF = "one of %(words)s"
WHOLE_NUMBER = "a whole number from 0 to %(most)s"
STORABLE = "text without NUL characters or half surrogate pairs"
# JSON has larger whole numbers, and Infinity.
LARGEST = sys.float_info.max


class RecordError(ValueError):
    """A file or one of its lines is not what it should be. `line` counts from 1 (rows of Parquet and .json too).

    `expected` says what should be there, `values` what stands at its %(name)s: the site translates it.
    """

    def __init__(self, file: str | os.PathLike, line: int | None, field: str | None, expected: str, **values):
        self.file, self.line, self.field, self.expected, self.values = str(file), line, field, expected, values
        place = Path(file).name
        if line is not None:
            place += f", line {line}"
        if field is not None:
            place += f', field "{field}"'
        super().__init__(f"{place}: expected {expected % values if values else expected}")


REFERENCE_FIELDS = ("answer", "tests", "schema")


@dataclass(frozen=True)
class Prompt:
    """`reference` is what a verifiable reward checks an answer by: {"answer": text}, {"tests": …}, {"schema": …}.

    `place` is the file and line that it was read from, where it was.
    """

    messages: list[Message]
    reference: dict = field(default_factory=dict)
    place: tuple[str, int] | None = field(default=None, compare=False, repr=False)


@dataclass(frozen=True)
class Demonstration:
    messages: list[Message]
    completion: str


@dataclass(frozen=True)
class CandidateResponse:
    text: str
    model: str | None = None


@dataclass(frozen=True)
class Comparison:
    """`wanted` people judge it, if not the project's number; `uncertainty` of a reward model is 4p(1 − p)."""

    messages: list[Message]
    responses: list[CandidateResponse]
    wanted: int | None = None
    uncertainty: float | None = None


@dataclass(frozen=True)
class Preference:
    """`chosen` won over `rejected`, except where `strength` is "tie" and the order says nothing.

    `probability` is the share of votes for `chosen` where several people judged; `criteria` maps "helpful", "truthful"
    and "harmless" to "chosen", "rejected" or "tie"; `edited` is what a person made of `chosen`. Rows of one `group`
    never part between training and held-out data.
    """

    messages: list[Message]
    chosen: str
    rejected: str
    strength: str | None = None
    margin: float | None = None
    weight: float = 1.0
    group: str | None = None
    probability: float | None = None
    criteria: dict[str, str] | None = None
    edited: str | None = None


Record = Prompt | Demonstration | Comparison | Preference


def read_records(path: str | os.PathLike, kind: str) -> list[Record]:
    """All records of a .jsonl, .jsonl.gz, .json or .parquet file. Raises RecordError at the first wrong line."""
    return list(iter_records(path, kind))


def iter_records(path: str | os.PathLike, kind: str) -> Iterator[Record]:
    """As `read_records`, one at a time."""
    for line, row in iter_rows(path):
        yield parse_record(row, kind, path, line)


def parse_record(row: dict, kind: str, file: str | os.PathLike, line: int) -> Record:
    """One JSON object as a record of this kind; `file` and `line` are for the error only."""
    return _PARSERS[kind](_Row(row, file, line))


def to_line(record: Record) -> dict:
    """The record as a JSON-able dict in the conversational form that Hugging Face `datasets` and TRL take."""
    line: dict = {"prompt": record.messages}
    if isinstance(record, Prompt):
        line |= record.reference
    elif isinstance(record, Demonstration):
        line["completion"] = _assistant_turn(record.completion)
    elif isinstance(record, Comparison):
        line["responses"] = [
            {"text": response.text} | ({"model": response.model} if response.model else {})
            for response in record.responses
        ]
        line |= {name: value for name in ("wanted", "uncertainty") if (value := getattr(record, name)) is not None}
    elif isinstance(record, Preference):
        line["chosen"] = _assistant_turn(record.chosen)
        line["rejected"] = _assistant_turn(record.rejected)
        for name in ("strength", "margin", "group", "probability", "criteria"):
            if (value := getattr(record, name)) is not None:
                line[name] = value
        if record.weight != 1.0:
            line["weight"] = record.weight
        if record.edited is not None:
            line["edited"] = _assistant_turn(record.edited)
    return line


def iter_rows(path: str | os.PathLike) -> Iterator[tuple[int, dict]]:
    """(line number from 1, JSON object) for each row of a file, whatever its fields; empty lines are passed over."""
    name = Path(path).name.lower()
    if not Path(path).is_file():
        raise RecordError(path, None, None, "a file, and there is none of this name")
    if name.endswith(".parquet"):
        yield from _iter_parquet(path)
    elif name.endswith((".json", ".json.gz")):
        yield from _iter_json_array(path)
    elif name.endswith((".jsonl", ".jsonl.gz", ".ndjson")):
        yield from _iter_json_lines(path)
    else:
        raise RecordError(path, None, None, "a name ending in .jsonl, .jsonl.gz, .json or .parquet")


def _open_text(path):
    opener = gzip.open if str(path).lower().endswith(".gz") else open
    return opener(path, "rt", encoding="utf-8-sig")


def _iter_json_lines(path) -> Iterator[tuple[int, dict]]:
    number = 0
    try:
        with _open_text(path) as file:
            for number, text in enumerate(file, start=1):
                if text.strip():
                    yield number, _object(_parse_json(text, path, number), path, number)
    except UnicodeDecodeError as error:
        raise RecordError(path, _line_that_is_not_utf8(path), None, "UTF-8 text") from error
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise RecordError(path, number + 1, None, "a whole gzip file, and this one is cut off or damaged") from error


def _line_that_is_not_utf8(path) -> int | None:
    """Text is decoded in blocks of many lines, so the line is looked for anew."""
    opener = gzip.open if str(path).lower().endswith(".gz") else open
    with opener(path, "rb") as file:
        for number, line in enumerate(file, start=1):
            try:
                line.decode()
            except UnicodeDecodeError:
                return number
    return None


def _iter_json_array(path) -> Iterator[tuple[int, dict]]:
    try:
        with _open_text(path) as file:
            rows = _parse_json(file.read(), path, None)
    except UnicodeDecodeError as error:
        raise RecordError(path, None, None, "UTF-8 text") from error
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise RecordError(path, None, None, "a whole gzip file, and this one is cut off or damaged") from error
    if not isinstance(rows, list):
        raise RecordError(path, None, None, "one JSON array of objects")
    for number, row in enumerate(rows, start=1):
        yield number, _object(row, path, number)


def _iter_parquet(path) -> Iterator[tuple[int, dict]]:
    import pyarrow
    import pyarrow.parquet

    number = 0
    try:
        with pyarrow.parquet.ParquetFile(path) as file:
            for batch in file.iter_batches(batch_size=1024):
                for row in batch.to_pylist():
                    number += 1
                    yield number, row
    except (pyarrow.ArrowInvalid, OSError) as error:
        raise RecordError(path, None, None, "a readable Parquet file") from error


def _parse_json(text: str, path, line: int | None):
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:  # ValueError alone: a number of thousands of digits
        # The decoder counts lines within its text, which here is one line of the file.
        one_line = line is not None and isinstance(error, json.JSONDecodeError)
        reason = f"{error.msg} at character {error.pos + 1}" if one_line else error
        raise RecordError(path, line, None, "valid JSON (%(problem)s)", problem=reason) from error


def _object(row, path, line: int) -> dict:
    if not isinstance(row, dict):
        raise RecordError(path, line, None, "a JSON object")
    return row


def is_storable(text: str) -> bool:
    """Whether databases and UTF-8 files can hold it."""
    return "\0" not in text and not any("\ud800" <= character <= "\udfff" for character in text)


class _Row:
    """One row with the place it came from, so that every check can say where it failed. A null is an absent field."""

    def __init__(self, row: dict, file, line: int):
        self.row, self.file, self.line = row, file, line

    def error(self, field: str | None, expected: str, **values) -> RecordError:
        return RecordError(self.file, self.line, field, expected, **values)

    def required(self, field: str):
        if (value := self.row.get(field)) is None:
            raise self.error(field, "this field to be present")
        return value

    def text(self, value, field: str) -> str:
        if not isinstance(value, str) or not value.strip():
            raise self.error(field, "a text that is not empty")
        if not is_storable(value):
            raise self.error(field, STORABLE)
        return value

    def messages(self, value, field: str) -> list[Message]:
        if not isinstance(value, list) or not value:
            raise self.error(field, 'a text, or messages [{"role", "content"}, …]')
        messages = []
        for number, message in enumerate(value):
            place = f"{field}[{number}]"
            if not isinstance(message, dict) or message.get("role") not in ROLES:
                raise self.error(f"{place}.role", ONE_OF, words=", ".join(ROLES))
            messages.append({"role": message["role"], "content": self.text(message.get("content"), f"{place}.content")})
        return messages

    def prompt(self, field: str = "prompt") -> list[Message]:
        value = self.required(field)
        if isinstance(value, str):
            return [{"role": "user", "content": self.text(value, field)}]
        messages = self.messages(value, field)
        if messages[-1]["role"] == "assistant":
            raise self.error(field, "messages that end with a turn to answer, not with the assistant's own")
        return messages

    def response(self, value, field: str) -> str:
        """The text of a response given as a text or as one assistant message."""
        if isinstance(value, list):
            messages = self.messages(value, field)
            if len(messages) != 1 or messages[0]["role"] != "assistant":
                raise self.error(field, "a text, or exactly one message, the assistant's")
            return messages[0]["content"]
        return self.text(value, field)

    def number(
        self, field: str, expected: str, low: float = -LARGEST, high: float = LARGEST, **values
    ) -> float | None:
        value = self.row.get(field)
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise self.error(field, expected, **values)
        if not low <= value <= high:
            raise self.error(field, expected, **values)
        return float(value)


def _prompt(row: _Row) -> Prompt:
    return Prompt(row.prompt(), _reference(row), (str(row.file), row.line))


def _reference(row: _Row) -> dict:
    reference: dict = {}
    if (answer := row.row.get("answer")) is not None:
        number = isinstance(answer, int | float) and not isinstance(answer, bool)
        reference["answer"] = str(answer) if number else row.text(answer, "answer")
    if (tests := row.row.get("tests")) is not None:
        if not isinstance(tests, list) or not tests:
            raise row.error("tests", "a list of one Python statement or more, such as \"assert double(2) == 4\"")
        reference["tests"] = [row.text(test, f"tests[{number}]") for number, test in enumerate(tests)]
    if (schema := row.row.get("schema")) is not None:
        if isinstance(schema, str):  # as it stands in a Parquet file
            schema = _parse_json(schema, row.file, row.line)
        if not isinstance(schema, dict):
            raise row.error("schema", "a JSON schema, which is an object (or its JSON text)")
        reference["schema"] = schema
    return reference


def _demonstration(row: _Row) -> Demonstration:
    return Demonstration(row.prompt(), row.response(row.required("completion"), "completion"))


def _comparison(row: _Row) -> Comparison:
    messages = row.prompt()
    values = row.required("responses")
    if not isinstance(values, list) or len(values) < 2:
        raise row.error("responses", "a list of two responses or more")
    responses = []
    for number, value in enumerate(values):
        place = f"responses[{number}]"
        model = None
        if isinstance(value, dict):
            model = value.get("model")
            if model is not None:
                model = row.text(model, f"{place}.model")
            value, place = value.get("text"), f"{place}.text"
        responses.append(CandidateResponse(row.response(value, place), model))
    wanted = row.number("wanted", WHOLE_NUMBER, 0, MOST_WANTED, most=MOST_WANTED)
    if wanted is not None and wanted != int(wanted):
        raise row.error("wanted", WHOLE_NUMBER, most=MOST_WANTED)
    uncertainty = row.number("uncertainty", "a number from 0 to 1", 0, 1)
    return Comparison(messages, responses, None if wanted is None else int(wanted), uncertainty)


def _preference(row: _Row) -> Preference:
    if row.row.get("prompt") is None:
        messages, chosen, rejected = _implicit_prompt(row)
    else:
        messages = row.prompt()
        chosen = row.response(row.required("chosen"), "chosen")
        rejected = row.response(row.required("rejected"), "rejected")
    strength = row.row.get("strength")
    if strength is not None and strength not in STRENGTHS:
        raise row.error("strength", ONE_OF, words=", ".join(STRENGTHS))
    group = row.row.get("group")
    if group is not None and not isinstance(group, str | int):
        raise row.error("group", "a text or a whole number")
    if isinstance(group, str) and not is_storable(group):
        raise row.error("group", STORABLE)
    weight = row.number("weight", "a number of at least 0", low=0)
    return Preference(
        messages,
        chosen,
        rejected,
        strength=strength,
        margin=row.number("margin", "a number of at least 0", low=0),
        weight=1.0 if weight is None else weight,
        group=None if group is None else str(group),
        probability=row.number("probability", "a number from 0 to 1", low=0, high=1),
        criteria=_criteria(row),
        edited=None if row.row.get("edited") is None else row.response(row.row["edited"], "edited"),
    )


def _implicit_prompt(row: _Row) -> tuple[list[Message], str, str]:
    """`chosen` and `rejected` as whole conversations that part at the last turn, both times the assistant's."""
    conversations = []
    for name in ("chosen", "rejected"):
        value = row.required(name)
        if not isinstance(value, list):
            raise row.error("prompt", 'this field, or "chosen" and "rejected" as whole conversations')
        messages = row.messages(value, name)
        if len(messages) < 2 or messages[-1]["role"] != "assistant":
            raise row.error(name, "a conversation that ends with the assistant's answer")
        conversations.append(messages)
    chosen, rejected = conversations
    if chosen[:-1] != rejected[:-1]:
        raise row.error("rejected", 'a conversation that differs from "chosen" in its last turn only')
    if chosen[-2]["role"] == "assistant":
        raise row.error("chosen", "a turn to answer before the assistant's last")
    return chosen[:-1], chosen[-1]["content"], rejected[-1]["content"]


def _criteria(row: _Row) -> dict[str, str] | None:
    value = row.row.get("criteria")
    if value is None:
        return None
    if not isinstance(value, dict):
        raise row.error("criteria", 'an object such as {"helpful": "chosen"}')
    given = {name: verdict for name, verdict in value.items() if verdict is not None}
    for name, verdict in given.items():
        if name not in CRITERIA:
            raise row.error(f"criteria.{name}", "a criterion out of %(words)s", words=", ".join(CRITERIA))
        if verdict not in VERDICTS:
            raise row.error(f"criteria.{name}", ONE_OF, words=", ".join(VERDICTS))
    return given or None


def _assistant_turn(text: str) -> list[Message]:
    return [{"role": "assistant", "content": text}]


_PARSERS = {
    "prompts": _prompt,
    "demonstrations": _demonstration,
    "comparisons": _comparison,
    "preferences": _preference,
}
KINDS = tuple(_PARSERS)
