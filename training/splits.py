"""Rows to train on and rows held out, never parting those that belong together."""

import json
import random
from collections.abc import Callable, Hashable, Sequence

from training.config import ConfigError, TrainingConfig
from training.events import EventLog
from training.records import Preference, Record, read_records


def read_split(config: TrainingConfig, kind: str, log: EventLog) -> tuple[list[Record], list[Record]]:
    """(training rows, held-out rows) of `config.data`, by `config.heldout`: a file of its own, or a share of groups."""
    rows = read_records(config.data, kind)
    if not rows:
        raise ConfigError(f"{config.data} holds no rows: there is nothing to train on")
    share = config.heldout_share()
    if share is None:
        heldout = read_records(config.heldout, kind)
        if not heldout:
            raise ConfigError(f"heldout={config.heldout} holds no rows")
        return rows, heldout
    train, heldout = split_groups(rows, group_of, share, config.seed)
    if share and not heldout:
        log.message(f"nothing is held out: all {len(rows)} rows belong to one prompt or group", "warning")
    return train, heldout


def group_of(record: Record) -> Hashable:
    """What must stay together: the given group, or all rows of one prompt."""
    if isinstance(record, Preference) and record.group is not None:
        return record.group
    return json.dumps(record.messages, sort_keys=True)


def split_groups(
    rows: Sequence, group: Callable[..., Hashable], share: float, seed: int
) -> tuple[list[Record], list[Record]]:
    """Whole groups drawn at random into the held-out part until it has about `share` of the rows; both in file order.

    At least one group stays to train on, and with a share above 0 at least one is held out if there are two.
    """
    sizes: dict[Hashable, int] = {}
    for row in rows:
        sizes[group(row)] = sizes.get(group(row), 0) + 1
    order = list(sizes)
    random.Random(f"held out/{seed}").shuffle(order)
    held: set[Hashable] = set()
    held_rows = 0
    for key in order[:-1] if share else []:
        # A group is taken where that brings the share nearer to what was asked for.
        if not held or abs(held_rows + sizes[key] - share * len(rows)) < abs(held_rows - share * len(rows)):
            held.add(key)
            held_rows += sizes[key]
    return [row for row in rows if group(row) not in held], [row for row in rows if group(row) in held]
