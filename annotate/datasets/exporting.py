"""Snapshots as files to take away: JSON lines as they lie, or Parquet with a schema of its own."""

import io
import itertools
import json
from collections.abc import Iterator

from django.utils.translation import gettext as _

from annotate.datasets.snapshots import dataset_path, rows
from annotate.errors import UserError
from annotate.models import Dataset
from training.records import REFERENCE_FIELDS

BLOCK = 1 << 20
ROWS_A_GROUP = 10_000
# Columns that are there only if a line needs them.
OPTIONAL = {"criteria", "edited", *REFERENCE_FIELDS}


def export(dataset: Dataset, format: str) -> tuple[str, str, Iterator[bytes]]:
    """(file name, content type, the bytes in blocks).

    Raises UserError for an unknown format, for rows that are not there yet and for lost ones.
    """
    if format not in FORMATS:
        raise UserError(
            _("A dataset is exported as one of %(formats)s.") % {"formats": ", ".join(FORMATS)}, field="format"
        )
    content_type, write = FORMATS[format]
    dataset_path(dataset)
    dataset = dataset.same_as or dataset
    name = f"{dataset.project.slug}-{dataset.kind}-{dataset.number}.{format}"
    return name, content_type, write(dataset)


def _jsonl(dataset: Dataset) -> Iterator[bytes]:
    with open(dataset_path(dataset), "rb") as file:
        while block := file.read(BLOCK):
            yield block


def _parquet(dataset: Dataset) -> Iterator[bytes]:
    """A group of rows at a time: the file is never whole in memory or on disk, and begins at once."""
    import pyarrow
    import pyarrow.parquet

    schema, lines, sink = _schema(dataset), rows(dataset), _Sink()
    with pyarrow.parquet.ParquetWriter(pyarrow.PythonFile(sink, mode="w"), schema) as writer:
        while group := [_flat(line) for line in itertools.islice(lines, ROWS_A_GROUP)]:
            writer.write_table(pyarrow.Table.from_pylist(group, schema=schema))
            yield sink.taken()
    yield sink.taken()


class _Sink(io.RawIOBase):
    """A file that is only written, and forgets what was taken from it."""

    def __init__(self):
        self._parts, self._length = [], 0

    def writable(self) -> bool:
        return True

    def write(self, data) -> int:
        self._parts.append(bytes(data))
        self._length += len(data)
        return len(data)

    def tell(self) -> int:
        return self._length

    def taken(self) -> bytes:
        taken, self._parts = b"".join(self._parts), []
        return taken


def _flat(line: dict) -> dict:
    """With a JSON schema as JSON text: a column of objects of any shape there is none."""
    return line | {"schema": json.dumps(line["schema"], ensure_ascii=False)} if line.get("schema") else line


def _schema(dataset: Dataset):
    """Columns of this kind of line, in their order; given rather than guessed, so that no rows still have a schema."""
    import pyarrow

    text, number, whole, flag = pyarrow.string(), pyarrow.float64(), pyarrow.int64(), pyarrow.bool_()
    messages = pyarrow.list_(pyarrow.struct([("role", text), ("content", text)]))
    responses = pyarrow.list_(pyarrow.struct([("text", text), ("model", text)]))
    criteria = pyarrow.struct([("helpful", text), ("truthful", text), ("harmless", text)])
    said = pyarrow.struct([
        ("rating", text), ("ranks", pyarrow.list_(whole)), ("helpful", text), ("truthful", text), ("harmless", text),
        ("overall", pyarrow.list_(whole)), ("flags", pyarrow.list_(pyarrow.list_(text))), ("confidence", text),
        ("note", text), ("edited", text),
    ])  # fmt: skip
    columns = {
        Dataset.Kind.PROMPTS: {"prompt": messages, "answer": text, "tests": pyarrow.list_(text), "schema": text},
        Dataset.Kind.DEMONSTRATIONS: {"prompt": messages, "completion": messages},
        Dataset.Kind.COMPARISONS: {
            "prompt": messages,
            "responses": responses,
        },
        Dataset.Kind.PREFERENCES: {
            "prompt": messages, "chosen": messages, "rejected": messages, "strength": text, "group": text,
            "probability": number, "weight": number,
            "criteria": criteria, "edited": messages,
        },
        Dataset.Kind.JUDGMENTS: {
            "annotator": text, "kind": text, "prompt": messages, "responses": responses, "rating": text,
            "ranks": pyarrow.list_(whole), "criteria": criteria, "overall": pyarrow.list_(whole),
            "flags": pyarrow.list_(pyarrow.list_(text)), "confidence": text, "note": text, "edited": text,
            "shown_at": text, "created_at": text, "seconds": number, "active_seconds": number, "guideline": whole,
            "renderer": whole, "draw_probability": number, "extra": flag, "imported": flag, "round": whole,
            "group": text, "version": whole, "changed_at": text,
            "earlier": pyarrow.list_(pyarrow.struct([
                ("version", whole), ("given_at", text), ("guideline", whole), ("renderer", whole), ("said", said),
            ])),
        },
    }[Dataset.Kind(dataset.kind)]  # fmt: skip
    if dataset.kind in (Dataset.Kind.PREFERENCES, Dataset.Kind.PROMPTS):
        first = next(rows(dataset), {})
        columns = {name: column for name, column in columns.items() if name in first or name not in OPTIONAL}
    return pyarrow.schema(columns)


FORMATS = {
    "jsonl": ("application/x-ndjson", _jsonl),
    "parquet": ("application/vnd.apache.parquet", _parquet),
}
