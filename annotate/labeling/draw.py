"""What a person can get now, in one query: the SQL behind a draw. SQLite and PostgreSQL take it as it is.

Everything here reads a handful of rows from the beginning of an index, however many comparisons there are: the queue's
first `TOP`, then where this person has come so far, then the neighbours of a place on the circle (policies.py). Rows of
comparisons that the person has judged or skipped are passed over, so the cost rises with their share among the open
ones; only who has judged nearly all of what is still open for others notices.
"""

import uuid
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db import connection

from annotate.labeling.policies import WINDOW, Item, Lot, Neighbours, Open, uniform_probability
from annotate.models import Reservation
from annotate.prepared import planned_cursor

# How much of the queue's beginning is looked at before going on from where the person was.
TOP = 64
# Where rows can be locked, somebody else may be taking the first: the next ones stand ready.
CANDIDATES = 8
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

_HELD = """held AS MATERIALIZED (
    SELECT s.id, s.comparison_id, EXISTS (
        SELECT 1 FROM annotate_reservation r
        WHERE r.slot_id = s.id AND r.annotator_id = %(user)s AND r.key IN ({keys})
    ) AS on_screen
    FROM annotate_slot s
    WHERE s.holder_id = %(user)s AND +s.project_id = %(project)s AND s.free_from IS NOT NULL
)"""
# Where something is held that is not on the screen, it comes first, and nothing is looked for.
_LOOKING = "NOT EXISTS (SELECT 1 FROM held WHERE NOT on_screen)"


def _limit(rows: int, only_if: str) -> str:
    """No row unless a condition holds. As a LIMIT: as a part of WHERE SQLite would test it once a row, to the last."""
    return f"LIMIT (CASE WHEN {only_if} THEN {rows} ELSE 0 END)"


_NO_TOP = f"{_LOOKING} AND NOT EXISTS (SELECT 1 FROM top)"
_NOT_IN_RANK = f"{_NO_TOP} AND NOT EXISTS (SELECT 1 FROM same_rank)"

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
same_rank AS MATERIALIZED (
    SELECT s.id, s.spread FROM annotate_slot s
    WHERE {_FOR_ME}
        AND s.rank = (SELECT queued_rank FROM here) AND s.free_from >= (SELECT queued_at FROM here)
    ORDER BY s.free_from, s.id {_limit(CANDIDATES, _NO_TOP)}
),
later_rank AS MATERIALIZED (
    SELECT s.id, s.spread FROM annotate_slot s
    WHERE {_FOR_ME} AND s.rank > (SELECT queued_rank FROM here)
    ORDER BY {_ORDER} {_limit(CANDIDATES, _NOT_IN_RANK)}
),
pick AS MATERIALIZED (
    SELECT id, spread FROM top UNION ALL SELECT id, spread FROM same_rank UNION ALL SELECT id, spread FROM later_rank
)"""
_PICK_FROM_ALL = f"""pick AS MATERIALIZED (
    SELECT s.id, s.spread FROM annotate_slot s WHERE {_FOR_ME} ORDER BY {_ORDER} {_limit(CANDIDATES, _LOOKING)}
)"""
_PICK_OF_SLOT = "pick AS MATERIALIZED (SELECT id, spread FROM annotate_slot WHERE id = %(slot)s)"
_FREED = f"""freed AS MATERIALIZED (
    SELECT MIN(s.id) AS id, s.spread, MIN(s.rank) AS rank, MIN(s.free_from) AS free_from FROM annotate_slot s
    WHERE {_FOR_ME.replace("s.project_id", "+s.project_id")} AND {_LOOKING} AND s.free_from > %(since)s
    GROUP BY s.spread ORDER BY s.spread LIMIT {WINDOW + 1}
),
pick AS MATERIALIZED (
    SELECT id, spread FROM freed ORDER BY rank, free_from, id LIMIT {CANDIDATES}
)"""

_HELD_ROWS = "SELECT CASE WHEN on_screen THEN 'on_screen' ELSE 'held' END, id, 0.0 FROM held"
_PICK_ROWS = "SELECT 'pick', id, spread FROM pick"
_FREED_ROWS = "SELECT 'lowest', id, spread FROM freed"
_GOLD_ROWS = f"""SELECT 'gold', c.comparison_id, 0.0 FROM (
        SELECT q.comparison_id FROM annotate_goldquestion q JOIN annotate_comparison c ON c.id = q.comparison_id
        WHERE c.project_id = %(project)s AND q.active AND q.purpose = %(purpose)s) c
    WHERE {_NOT_MET.format("c")} AND {_LOOKING}"""


def _near_rows(name: str, condition: str, order: str) -> str:
    """Comparisons from one place of the circle on, each with one of its free slots."""
    return f"""SELECT * FROM (
        SELECT '{name}', MIN(s.id), s.spread FROM annotate_slot s
        WHERE {_FOR_ME} AND {condition}
        GROUP BY s.spread ORDER BY s.spread {order} {_limit(WINDOW + 1, "EXISTS (SELECT 1 FROM pick)")}) near_{name}"""


_BEFORE_PICK = _near_rows("before", "s.spread < (SELECT spread FROM pick LIMIT 1)", "DESC")
_BEFORE_PLACE = _near_rows("before", "s.spread < %(place)s", "DESC")
_AFTER_PLACE = _near_rows("after", "s.spread >= %(place)s", "ASC")
_LOWEST = _near_rows("lowest", "s.spread >= 0", "ASC")
_HIGHEST = _near_rows("highest", "s.spread < 1", "DESC")


@dataclass(frozen=True)
class Found:
    """Slots that the person holds, `on_screen` and others; the first slots by policy; `open` is what `draw` takes."""

    on_screen: list[int]
    held: list[int]
    candidates: list[int]
    open: Open


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

    def in_queue(self) -> Found:
        """At the queue's beginning, and if nothing there is for this person, from where they were."""
        return self._find([_PICK_FROM_QUEUE], [_PICK_ROWS, *self._near()])

    def in_all(self) -> Found:
        """From the queue's beginning to its end."""
        return self._find([_PICK_FROM_ALL], [_PICK_ROWS, *self._near()])

    def freed_since(self, moment: datetime) -> Found | None:
        """Only what became free after `moment`; None if that is too much for a look at all of it."""
        found = self._find([_FREED], [_PICK_ROWS, _FREED_ROWS], since=_adapted(moment - LATE))
        return found if len(found.open.around.lowest) <= WINDOW else None

    def uniform_probability_of(self, slot: int) -> float:
        """What a uniform draw would give now to the comparison of this free slot."""
        found = self._find([_PICK_OF_SLOT], [_PICK_ROWS, _BEFORE_PICK, _HIGHEST], slot=slot)
        return uniform_probability(found.open.pick, found.open.around)

    def gold_only(self) -> Found:
        """Nothing but gold questions."""
        return self._find([], [])

    def _near(self) -> list[str]:
        if not self.uniform:
            return []
        return [_BEFORE_PLACE, _AFTER_PLACE, _LOWEST, _HIGHEST] if self.lot.at_random else [_BEFORE_PICK, _HIGHEST]

    def _find(self, tables: list[str], rows: list[str], **more) -> Found:
        key = Reservation._meta.pk
        keys = {f"key{n}": key.get_db_prep_value(value, connection) for n, value in enumerate(self.on_screen)}
        held = _HELD.format(keys=", ".join(f"%({name})s" for name in keys) or "NULL")
        parts = [_HELD_ROWS, *rows, *([_GOLD_ROWS] if self.purpose else [])]
        values = {
            "project": self.project, "user": self.user, "now": _adapted(self.now), "place": self.lot.place,
            "purpose": self.purpose, **keys, **more,
        }  # fmt: skip
        found: dict[str, list] = {}
        with planned_cursor(connection) as cursor:
            cursor.execute(f"WITH {', '.join([held, *tables])} {' UNION ALL '.join(parts)}", values)
            for part, number, spread in cursor.fetchall():
                found.setdefault(part, []).append((number, spread))

        def items(part: str) -> list[Item]:
            return [Item(number, spread) for number, spread in found.get(part, [])]

        picks = items("pick")
        around = Neighbours(items("before"), items("after"), items("lowest"), items("highest"))
        gold = sorted(number for number, _ in found.get("gold", []))
        return Found(
            on_screen=[number for number, _ in found.get("on_screen", [])],
            held=[number for number, _ in found.get("held", [])],
            candidates=[item.slot for item in picks],
            open=Open(pick=picks[0] if picks else None, gold=gold, around=around),
        )


def _adapted(moment: datetime):
    """A time as this database's driver takes it."""
    return connection.ops.adapt_datetimefield_value(moment)
