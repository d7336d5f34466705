"""Rows to train on and rows held out, never parting those that belong together."""

import json
import random
from collections import Counter
from collections.abc import Hashable, Sequence
from dataclasses import dataclass

from training.config import ConfigError, TrainingConfig
from training.events import EventLog
from training.records import Preference, Record, read_records


@dataclass(frozen=True)
class Split:
    """All rows in file order, and which of them are trained on or held out (after them, if of a file of their own)."""

    rows: list[Record]
    train: list[int]
    heldout: list[int]

    def of(self, indices: list[int]) -> list[Record]:
        return [self.rows[index] for index in indices]


def read_split(config: TrainingConfig, kind: str, log: EventLog) -> Split:
    """The rows of `config.data`, split by `config.heldout`: a file of its own, or a share of the groups."""
    rows = read_records(config.data, kind)
    if not rows:
        raise ConfigError(f"{config.data} holds no rows: there is nothing to train on")
    share = config.heldout_share()
    if share is None:
        heldout = read_records(config.heldout, kind)
        if not heldout:
            raise ConfigError(f"heldout={config.heldout} holds no rows")
        return Split(rows + heldout, list(range(len(rows))), list(range(len(rows), len(rows) + len(heldout))))
    train, heldout = split_groups([group_of(row) for row in rows], share, config.seed)
    if share and not heldout:
        log.message(f"nothing is held out: all {len(rows)} rows belong to one prompt or group", "warning")
    return Split(rows, train, heldout)


def group_of(record: Record) -> Hashable:
    """What must stay together: the given group, or all rows of one prompt."""
    if isinstance(record, Preference) and record.group is not None:
        return record.group
    return json.dumps(record.messages, sort_keys=True)


def split_groups(groups: Sequence[Hashable], share: float, seed: int) -> tuple[list[int], list[int]]:
    """Places of the rows (given by their groups) to train on and held out, each in order.

    Whole groups are drawn at random into the held-out part until it has about `share` of the rows. At least one group
    stays to train on, and with a share above 0 at least one is held out if there are two.
    """
    sizes = Counter(groups)
    order = list(sizes)
    random.Random(f"held out/{seed}").shuffle(order)
    held: set[Hashable] = set()
    missing = share * len(groups)
    for group in order[:-1] if share else []:
        # A group is taken where that brings the share nearer to what was asked for.
        if not held or abs(missing - sizes[group]) < abs(missing):
            held.add(group)
            missing -= sizes[group]
    train = [place for place, group in enumerate(groups) if group not in held]
    return train, [place for place, group in enumerate(groups) if group in held]
