"""The word-level diff: what is added, removed and left alone, and what is left out."""

import time

import pytest

from annotate.web.word_diff import ADDED, REMOVED, SAME, Line, Piece, word_diff, words_changed


def pieces(*found):
    return [Piece(kind, text) for kind, text in found]


def test_one_word_is_exchanged():
    assert words_changed("Be kind to all.", "Be fair to all.") == pieces(
        (SAME, "Be "), (REMOVED, "kind"), (ADDED, "fair"), (SAME, " to all.")
    )


def test_neighbouring_words_change_as_one():
    assert words_changed("a one two b", "a three four b") == pieces(
        (SAME, "a "), (REMOVED, "one two"), (ADDED, "three four"), (SAME, " b")
    )


def test_lines_come_and_go():
    assert word_diff("first\nsecond", "first\nsecond\nthird") == [
        Line(left_out=1),
        Line(tuple(pieces((SAME, "second")))),
        Line(tuple(pieces((ADDED, "third")))),
    ]
    assert word_diff("first\nsecond", "second") == [
        Line(tuple(pieces((REMOVED, "first")))),
        Line(tuple(pieces((SAME, "second")))),
    ]


def test_a_change_keeps_its_neighbours_and_counts_the_rest():
    old = "\n".join("abcdefgh")
    new = old.replace("d", "D x")
    assert word_diff(old, new) == [
        Line(left_out=2),
        Line(tuple(pieces((SAME, "c")))),
        Line(tuple(pieces((REMOVED, "d"), (ADDED, "D x")))),
        Line(tuple(pieces((SAME, "e")))),
        Line(left_out=3),
    ]


def test_nothing_changed_and_everything_changed():
    assert word_diff("same\ntext", "same\ntext") == [Line(left_out=2)]
    assert word_diff("", "new") == [Line(tuple(pieces((ADDED, "new"))))]
    assert word_diff("old", "") == [Line(tuple(pieces((REMOVED, "old"))))]


def test_both_texts_can_be_read_from_the_pieces():
    old, new = "Be kind.\n\n- one rule\n- another rule", "Be very kind.\n\n- another rule\n- a third, new rule\n"
    lines = word_diff(old, new)
    assert [piece for line in lines for piece in line.pieces if piece.text.strip() == "- one rule"]
    assert "".join(piece.text for piece in lines[0].pieces if piece.kind != REMOVED) == "Be very kind."
    assert "".join(piece.text for piece in lines[0].pieces if piece.kind != ADDED) == "Be kind."


@pytest.mark.parametrize("unit", ["word ", "*", "\n", "one two\n\n"])
def test_long_guidelines_written_anew_are_compared_in_a_moment(unit):
    old = unit * (60_000 // len(unit))
    new = old.replace("o", "u") + "\nThe end."
    started = time.process_time()
    lines = word_diff(old, new)
    assert time.process_time() - started < 5
    kept = "\n".join("".join(piece.text for piece in line.pieces if piece.kind != REMOVED) for line in lines)
    assert kept.endswith("The end.")
