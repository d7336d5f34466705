"""What a person can get now, in one query: the SQL behind a draw.

Everything here reads a handful of rows from the beginning of an index, however many comparisons there are: the queue's
first `TOP`, then where this person has come so far, then the neighbours of a place on the circle (policies.py). Rows of
comparisons that the person has judged or skipped are passed over, so the cost rises with their share among the open
ones, up to `REACH` rows: where that is not far enough, nearly all that is open is so, and the queue makes a list of the
few slots that are left for this person (PersonTally.left_over), which are all that is looked at from then on.
"""

import uuid
from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db import connection

from annotate.labeling.policies import WINDOW, Item, Lot, Neighbours, Open, uniform_probability
from annotate.models import Reservation, Slot
from annotate.prepared import planned_cursor

# How much of the queue's beginning is looked at before going on from where the person was.
TOP = 64
# Where rows can be locked, somebody else may be taking the first: the next ones stand ready.
CANDIDATES = 8
# How many open slots around a place of the circle are looked at for neighbours, more or less.
REACH = 2048
# A list holds so many slots at most, and with what became free since it is looked at up to so many.
MOST_LISTED, MOST_LEFT = 800, 1200
# A slot that was written at this distance from the moment it could be read is still found by `freed_since`.
LATE = timedelta(minutes=1)

# COALESCE and plus keep planners without statistics from an index that begins with what they wrap.
_IN_QUEUE = (
    "s.project_id = %(project)s AND s.free_from IS NOT NULL AND NOT s.apart "
    "AND COALESCE(s.free_from, s.free_from) <= %(now)s"
)
_NOT_MET = """NOT EXISTS (SELECT 1 FROM annotate_judgment j
                    WHERE j.comparison_id = {0}.comparison_id AND j.annotator_id = %(user)s)
    AND NOT EXISTS (SELECT 1 FROM annotate_skip k
                    WHERE k.comparison_id = {0}.comparison_id AND k.annotator_id = %(user)s)
    AND {0}.comparison_id NOT IN (SELECT comparison_id FROM held)"""
_FOR_ME = f"{_IN_QUEUE} AND {_NOT_MET.format('s')}"
_ORDER = "s.rank, s.free_from, s.id"

# By statistics who used up many slots seems to hold many too, more than are free at all. In the order of the index
# `slot_held`, and with a limit, no planner takes another one.
_HELD_LIMIT = 8
_HELD = """held AS MATERIALIZED (
    SELECT s.id, s.comparison_id, EXISTS (
        SELECT 1 FROM annotate_reservation r
        WHERE r.slot_id = s.id AND r.annotator_id = %(user)s AND r.key IN ({keys})
    ) AS on_screen
    FROM annotate_slot s
    WHERE s.holder_id = %(user)s AND +s.project_id = %(project)s AND s.free_from IS NOT NULL
    ORDER BY s.holder_id, s.project_id LIMIT {limit}
)"""
# Where something is held that is not on the screen, it comes first, and nothing is looked for.
_LOOKING = "NOT EXISTS (SELECT 1 FROM held WHERE NOT on_screen)"


def _limit(rows: int, only_if: str) -> str:
    """No row unless a condition holds. As a LIMIT: as a part of WHERE SQLite would test it once a row, to the last."""
    return f"LIMIT (CASE WHEN {only_if} THEN {rows} ELSE 0 END)"


# Who was never served by policy begins at the beginning.
_BEFORE_ALL = "-1e300"
_NO_TOP = f"{_LOOKING} AND NOT EXISTS (SELECT 1 FROM top)"

_PICK_FROM_QUEUE = f"""here AS MATERIALIZED (
    SELECT queued_rank, queued_at FROM annotate_reservation
    WHERE annotator_id = %(user)s AND project_id = %(project)s AND queued_at IS NOT NULL
    ORDER BY reserved_at DESC LIMIT 1
),
top AS MATERIALIZED (
    SELECT s.id, s.spread FROM (
        SELECT s.id, s.comparison_id, s.rank, s.free_from, s.spread FROM annotate_slot s
        WHERE {_IN_QUEUE} ORDER BY {_ORDER} {_limit(TOP, _LOOKING)}
    ) s WHERE {_NOT_MET.format("s")} ORDER BY {_ORDER} LIMIT {CANDIDATES}
),
further AS MATERIALIZED (
    SELECT s.id, s.spread FROM annotate_slot s
    WHERE {_FOR_ME} AND (s.rank, s.free_from) >= (
        COALESCE((SELECT queued_rank FROM here), {_BEFORE_ALL}), (SELECT queued_at FROM here))
    ORDER BY {_ORDER} {_limit(CANDIDATES, _NO_TOP)}
),
pick AS MATERIALIZED (SELECT id, spread FROM top UNION ALL SELECT id, spread FROM further)"""
_PICK_FROM_ALL = f"""pick AS MATERIALIZED (
    SELECT s.id, s.spread FROM annotate_slot s WHERE {_FOR_ME} ORDER BY {_ORDER} {_limit(CANDIDATES, _LOOKING)}
)"""
_PICK_OF_SLOT = "pick AS MATERIALIZED (SELECT id, spread FROM annotate_slot WHERE id = %(slot)s)"

_TALLY = "annotate_persontally WHERE project_id = %(project)s AND user_id = %(user)s"
_LISTED = {
    "sqlite": f"SELECT value FROM json_each((SELECT left_over FROM {_TALLY}))",
    "postgresql": f"SELECT CAST(jsonb_array_elements_text(left_over) AS bigint) FROM {_TALLY}",
}
_OF_MINE = "s.id, s.rank, s.free_from, s.spread FROM annotate_slot s"
_ANYWHERE = f"{_FOR_ME.replace('s.project_id', '+s.project_id')} AND {_LOOKING}"
_LEFT_OVER = f"""mine AS MATERIALIZED (
    SELECT {_OF_MINE} WHERE {_ANYWHERE} AND s.id IN ({{listed}})
    UNION SELECT * FROM (
        SELECT {_OF_MINE} WHERE {_ANYWHERE} AND s.free_from > %(since)s LIMIT {MOST_LEFT + 1}) freed
)"""
_ALL = f"mine AS MATERIALIZED (SELECT {_OF_MINE} WHERE {_FOR_ME} ORDER BY {_ORDER} {_limit(MOST_LISTED + 1, _LOOKING)})"

_HELD_ROWS = "SELECT CASE WHEN on_screen THEN 'on_screen' ELSE 'held' END, id, 0.0 FROM held"
_PICK_ROWS = "SELECT 'pick', id, spread FROM pick"
_MINE_ROWS = "SELECT * FROM (SELECT 'mine', s.id, s.spread FROM mine s ORDER BY s.rank, s.free_from, s.id) in_order"
_GOLD_ROWS = f"""SELECT 'gold', c.comparison_id, 0.0 FROM (
        SELECT q.comparison_id FROM annotate_goldquestion q JOIN annotate_comparison c ON c.id = q.comparison_id
        WHERE c.project_id = %(project)s AND q.active AND q.purpose = %(purpose)s) c
    WHERE {_NOT_MET.format("c")} AND {_LOOKING}"""

# How far along the circle REACH open slots lie: all around it where no more are open.
_REACH = f"""reach AS MATERIALIZED (
    SELECT CASE WHEN open > {REACH} THEN {REACH}.0 / open ELSE 1.0 END AS far FROM (
        SELECT (SELECT wanted FROM annotate_projecttally WHERE project_id = %(project)s)
            - (SELECT SUM(filled) FROM annotate_persontally WHERE project_id = %(project)s) AS open
    ) counted
)"""
_ALL_AROUND = "reach AS MATERIALIZED (SELECT 1.0 AS far)"
_REACH_ROW = "SELECT 'reach', 0, far FROM reach"


def _near(name: str, condition: str, order: str, only_if: str) -> str:
    """Comparisons from one place of the circle on, each with one of its free slots."""
    return f"""{name} AS MATERIALIZED (
        SELECT MIN(s.id) AS id, s.spread FROM annotate_slot s WHERE {_FOR_ME} AND {condition}
        GROUP BY s.spread ORDER BY s.spread {order} {_limit(WINDOW + 1, f"EXISTS (SELECT 1 FROM pick) AND {only_if}")}
    )"""


def _around(place: str, *, forward: bool) -> list[str]:
    """What lies before a place of the circle, and `forward` from it, across its ends where that is too little."""
    far = "(SELECT far FROM reach)"
    tables = [
        _near("before", f"s.spread < {place} AND s.spread > {place} - {far}", "DESC", "1 = 1"),
        _near("highest", f"s.spread > {place} + 1 - {far}", "DESC", f"(SELECT COUNT(*) FROM before) <= {WINDOW}"),
    ]
    if forward:
        tables += [
            _near("after", f"s.spread >= {place} AND s.spread < {place} + {far}", "ASC", "1 = 1"),
            _near("lowest", f"s.spread < {place} - 1 + {far}", "ASC", f"(SELECT COUNT(*) FROM after) <= {WINDOW}"),
        ]
    return tables


def _around_rows(*names: str) -> list[str]:
    return [f"SELECT '{name}', id, spread FROM {name}" for name in names]


_AROUND_PICK = _around("(SELECT spread FROM pick LIMIT 1)", forward=False)
_AROUND_PLACE = _around("%(place)s", forward=True)


@dataclass(frozen=True)
class Found:
    """Slots that the person holds, `on_screen` and others; the first slots by policy; `open` is what `draw` takes.

    `is_sparse`: of the slots within reach too few are for this person to know their neighbours. `everything` are all
    slots that are open for them, in the order of the queue, where all of it was looked at.
    """

    on_screen: list[int]
    held: list[int]
    candidates: list[int]
    open: Open
    is_sparse: bool = False
    everything: list[Item] | None = None


@dataclass(frozen=True)
class Search:
    """Who looks where and when. `on_screen` are the keys of what they look at; `purpose` is of the gold questions that
    are wanted, if any; `uniform` says whether the neighbours are wanted, for a draw may be at random."""

    project: int
    user: int
    now: datetime
    lot: Lot
    on_screen: Collection[uuid.UUID] = ()
    purpose: str | None = None
    uniform: bool = True

    def in_queue(self, *, all_around: bool = False) -> Found:
        """At the queue's beginning, and if nothing there is for this person, from where they were. The neighbours are
        looked for within reach, or `all_around` the circle."""
        return self._with_neighbours(_PICK_FROM_QUEUE, all_around)

    def in_all(self) -> Found:
        """From the queue's beginning to its end."""
        return self._with_neighbours(_PICK_FROM_ALL, all_around=True)

    def left_over(self, since: datetime) -> Found | None:
        """Of the person's list and of what became free `since`; None if that is too much for a look at all of it."""
        listed = _LEFT_OVER.format(listed=_LISTED[connection.vendor])
        return self._everything(listed, MOST_LEFT, since=_adapted(since - LATE))

    def all(self) -> Found | None:
        """All that is open for the person; None if it is more than a list should hold."""
        return self._everything(_ALL, MOST_LISTED)

    def uniform_probability_of(self, slot: Slot, found: Found) -> float:
        """What a uniform draw would give now to the comparison of this free slot, where `found` was found."""
        if found.everything is not None:
            return uniform_probability(Item(slot.pk, slot.spread), Neighbours.of(found.everything, slot.spread))
        rows = self._rows([_ALL_AROUND, _PICK_OF_SLOT, *_AROUND_PICK], [_PICK_ROWS, *_around_rows("before", "highest")],
                          slot=slot.pk)  # fmt: skip
        return uniform_probability(rows["pick"][0], _neighbours(rows))

    def gold_only(self) -> Found:
        """Nothing but gold questions."""
        return self._found(self._rows([], []))

    def _with_neighbours(self, pick: str, all_around: bool) -> Found:
        if not self.uniform:
            rows = self._rows([pick], [_PICK_ROWS])
            return self._found(rows, rows["pick"])
        reach = _ALL_AROUND if all_around else _REACH
        if self.lot.at_random:
            tables, names = _AROUND_PLACE, ("before", "highest", "after", "lowest")
        else:
            tables, names = _AROUND_PICK, ("before", "highest")
        rows = self._rows([reach, pick, *tables], [_PICK_ROWS, _REACH_ROW, *_around_rows(*names)])
        around = _neighbours(rows)
        too_few = len({item.spread for item in (*around.before, *around.highest)}) < WINDOW or (
            self.lot.at_random and len(around.forward()) < WINDOW
        )
        within_reach = rows["reach"][0].spread < 1
        return self._found(rows, rows["pick"], around, is_sparse=within_reach and too_few)

    def _everything(self, table: str, most: int, **more) -> Found | None:
        rows = self._rows([table], [_MINE_ROWS], **more)
        mine = rows["mine"]
        if len(mine) > most:
            return None
        place = self.lot.place if self.lot.at_random or not mine else mine[0].spread
        return self._found(rows, mine[:CANDIDATES], Neighbours.of(mine, place), everything=mine)

    def _found(self, rows: dict[str, list[Item]], picks: Sequence[Item] = (), around=None, **more) -> Found:
        gold = sorted(item.slot for item in rows["gold"])
        return Found(
            on_screen=[item.slot for item in rows["on_screen"]],
            held=[item.slot for item in rows["held"]],
            candidates=[item.slot for item in picks],
            open=Open(pick=picks[0] if picks else None, gold=gold, around=around or Neighbours()),
            **more,
        )

    def _rows(self, tables: list[str], rows: list[str], **more) -> dict[str, list[Item]]:
        """What the parts of the query found, by their names; of a gold question its comparison as `slot`."""
        key = Reservation._meta.pk
        keys = {f"key{n}": key.get_db_prep_value(value, connection) for n, value in enumerate(self.on_screen)}
        held = _HELD.format(keys=", ".join(f"%({name})s" for name in keys) or "NULL", limit=_HELD_LIMIT)
        parts = [_HELD_ROWS, *rows, *([_GOLD_ROWS] if self.purpose else [])]
        values = {
            "project": self.project, "user": self.user, "now": _adapted(self.now), "place": self.lot.place,
            "purpose": self.purpose, **keys, **more,
        }  # fmt: skip
        found = defaultdict(list)
        with planned_cursor(connection) as cursor:
            cursor.execute(f"WITH {', '.join([held, *tables])} {' UNION ALL '.join(parts)}", values)
            for part, number, spread in cursor.fetchall():
                found[part].append(Item(number, spread))
        return found


def _neighbours(rows: dict[str, list[Item]]) -> Neighbours:
    return Neighbours(rows["before"], rows["after"], rows["lowest"], rows["highest"])


def _adapted(moment: datetime):
    """A time as this database's driver takes it."""
    return connection.ops.adapt_datetimefield_value(moment)
