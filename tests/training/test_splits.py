"""Held-out rows: whole groups only, about the share asked for, never nothing to train on. Ranked groups likewise."""

import pytest

from tests.training.runs import write_lines
from training.config import resolve
from training.events import EventLog
from training.ranking import rank_groups
from training.records import Preference
from training.splits import read_split, split_groups


@pytest.mark.parametrize("seed", range(5))
def test_groups_are_never_split(seed):
    groups = [number // 7 for number in range(203)]
    train, heldout = split_groups(groups, 0.2, seed)
    assert sorted(train + heldout) == list(range(203))
    assert not {groups[place] for place in train} & {groups[place] for place in heldout}
    assert len(heldout) == pytest.approx(40.6, abs=3.5)


def test_seeds_differ_and_repeat():
    groups = list(range(100))
    assert split_groups(groups, 0.1, 1) == split_groups(groups, 0.1, 1)
    assert split_groups(groups, 0.1, 1) != split_groups(groups, 0.1, 2)


def test_one_group_is_trained_on_and_none_held_out():
    assert split_groups(["a"] * 5, 0.5, 0) == ([0, 1, 2, 3, 4], [])
    assert split_groups([1, 2, 3], 0.0, 0) == ([0, 1, 2], [])


def test_with_two_groups_one_is_held_out():
    train, heldout = split_groups(["a", "b"], 0.01, 0)
    assert len(train) == len(heldout) == 1


def test_rows_of_one_prompt_or_group_stay_together(tmp_path):
    rows = [{"prompt": f"p{n % 4}", "chosen": f"a{n}", "rejected": f"b{n}"} for n in range(12)]
    rows += [{"prompt": f"q{n}", "chosen": f"a{n}", "rejected": f"b{n}", "group": f"g{n % 2}"} for n in range(12)]
    data = write_lines(tmp_path / "rows.jsonl", rows)
    for seed in range(6):
        config = resolve(
            "reward", None, {"output": "o", "model": "m", "data": data, "heldout": "0.4", "seed": str(seed)}
        )
        split = read_split(config, "preferences", EventLog(tmp_path))
        sides = [
            {row.group or row.messages[0]["content"] for row in split.of(side)} for side in (split.train, split.heldout)
        ]
        assert sides[0] and sides[1] and not sides[0] & sides[1]


def test_a_held_out_file_comes_after_the_training_rows(tmp_path):
    train = write_lines(tmp_path / "a.jsonl", [{"prompt": "p", "chosen": "a", "rejected": "b"}] * 3)
    heldout = write_lines(tmp_path / "b.jsonl", [{"prompt": "p", "chosen": "c", "rejected": "d"}] * 2)
    config = resolve("reward", None, {"output": "o", "model": "m", "data": train, "heldout": heldout})
    split = read_split(config, "preferences", EventLog(tmp_path))
    assert (split.train, split.heldout) == ([0, 1, 2], [3, 4])
    assert [row.chosen for row in split.of(split.heldout)] == ["c", "c"]


def preference(prompt, chosen, rejected):
    return Preference([{"role": "user", "content": prompt}], chosen, rejected)


def test_rows_that_share_responses_are_one_example():
    rows = [
        preference("p", "a", "b"),
        preference("q", "a", "b"),
        preference("p", "c", "d"),
        preference("p", "b", "c"),  # joins a–b with c–d
        preference("p", "x", "y"),
    ]
    groups = rank_groups(list(enumerate(rows)), 9)
    assert [(group.responses, group.comparisons) for group in groups] == [
        (("a", "b", "c", "d"), ((0, 1, 0), (2, 3, 2), (1, 2, 3))),
        (("a", "b"), ((0, 1, 1),)),
        (("x", "y"), ((0, 1, 4),)),
    ]


def test_a_group_grows_to_its_limit_and_no_row_is_lost():
    rows = [preference("p", f"r{n}", f"r{n + 1}") for n in range(20)]
    groups = rank_groups(list(enumerate(rows)), 5)
    assert max(len(group.responses) for group in groups) <= 5
    assert sorted(row for group in groups for _, _, row in group.comparisons) == list(range(20))
