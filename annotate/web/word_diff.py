"""What changed between two texts, word by word: for versions of guidelines. Pure: texts in, pieces out."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from difflib import SequenceMatcher

SAME, ADDED, REMOVED = "same", "added", "removed"
# Lines kept around a change, so that it can be placed.
CONTEXT = 1
# Pairs of words, or of lines, that are all compared.
MOST_COMPARED = 1_000_000

_WORDS = re.compile(r"\s+|\w+|[^\w\s]")


@dataclass(frozen=True)
class Piece:
    """A stretch of a line: `kind` is SAME, ADDED or REMOVED."""

    kind: str
    text: str


@dataclass(frozen=True)
class Line:
    """A line as pieces in reading order; or, where `left_out` is not 0, that many unchanged lines in a row."""

    pieces: tuple[Piece, ...] = ()
    left_out: int = 0

    @property
    def changed(self) -> bool:
        return any(piece.kind != SAME for piece in self.pieces)


def word_diff(old: str, new: str) -> list[Line]:
    """Every line of both texts with what was added and removed; long stretches without a change are left out."""
    lines = []
    before, after = old.splitlines(), new.splitlines()
    for operation, a, b, c, d in _operations(before, after):
        if operation == "equal":
            lines += [Line((Piece(SAME, line),)) for line in after[c:d]]
        else:
            lines += _changed_lines("\n".join(before[a:b]), "\n".join(after[c:d]))
    return list(_without_the_unchanged(lines))


def words_changed(old: str, new: str) -> list[Piece]:
    """One stretch of text, its words compared."""
    before, after = _WORDS.findall(old), _WORDS.findall(new)
    pieces = []
    for operation, a, b, c, d in _operations(before, after):
        if operation == "equal":
            pieces.append(Piece(SAME, "".join(after[c:d])))
            continue
        pieces += [Piece(REMOVED, "".join(before[a:b]))] * (a < b) + [Piece(ADDED, "".join(after[c:d]))] * (c < d)
    return _joined_over_spaces(pieces)


def _operations(before: list[str], after: list[str]) -> list[tuple[str, int, int, int, int]]:
    """difflib's opcodes.

    In long texts no match begins at what is on every hundredth place or more often, such as a space: comparing all of
    those took minutes where guidelines were written anew.
    """
    return SequenceMatcher(None, before, after, autojunk=len(before) * len(after) > MOST_COMPARED).get_opcodes()


def _joined_over_spaces(pieces: list[Piece]) -> list[Piece]:
    """Changes with nothing but a space between them are one: "one two" became "three four", not two swaps."""
    removed, added, joined = "", "", []

    def flush() -> None:
        nonlocal removed, added
        joined.extend([Piece(REMOVED, removed)] * bool(removed) + [Piece(ADDED, added)] * bool(added))
        removed = added = ""

    for place, piece in enumerate(pieces):
        between = 0 < place < len(pieces) - 1 and piece.text.isspace() and "\n" not in piece.text
        if piece.kind == REMOVED:
            removed += piece.text
        elif piece.kind == ADDED:
            added += piece.text
        elif between and removed and added:
            removed, added = removed + piece.text, added + piece.text
        else:
            flush()
            joined.append(piece)
    flush()
    return joined


def _changed_lines(old: str, new: str) -> list[Line]:
    """A changed stretch as lines: its words compared, cut at the line ends again."""
    lines, here = [], []
    for piece in words_changed(old, new):
        first, *rest = piece.text.split("\n")
        if first:
            here.append(Piece(piece.kind, first))
        for text in rest:
            lines.append(Line(tuple(here)))
            here = [Piece(piece.kind, text)] if text else []
    return [*lines, Line(tuple(here))] if here or not lines else lines


def _without_the_unchanged(lines: list[Line]) -> Iterator[Line]:
    changed = [place for place, line in enumerate(lines) if line.changed]
    near = {place + step for place in changed for step in range(-CONTEXT, CONTEXT + 1)}
    left_out = 0
    for place, line in enumerate(lines):
        if place not in near:
            left_out += 1
            continue
        if left_out:
            yield Line(left_out=left_out)
            left_out = 0
        yield line
    if left_out:
        yield Line(left_out=left_out)
