"""The running totals in the tallies and in Prompt.places_taken: triggers keep them, whoever writes the rows they count.

Triggers, because slots, judgments and skips are written by services, in bulk by imports, and deleted by cascades: a
total that each of these had to think of would be wrong sooner or later. They are dropped before every `migrate` and
made anew after it, for SQLite forgets a table's triggers when a migration rebuilds it. `recount` puts totals right.
"""

import re
from collections import Counter
from dataclasses import dataclass
from datetime import UTC, date

from django.db import connection, connections, transaction
from django.db.models import Case, Count, F, FloatField, Model, QuerySet, Sum, Value, When
from django.db.models.functions import Coalesce, TruncDate

from annotate.models import (
    DayTally,
    Demonstration,
    Judgment,
    PersonTally,
    Project,
    ProjectTally,
    Prompt,
    Skip,
    Slot,
    Writing,
)
from annotate.models.judgment import MADE_HERE

COUNTS = ("judged", "skipped", "filled")


@dataclass(frozen=True)
class _Trigger:
    """`sql` is done for each row that `when` holds for; OLD and NEW are the row. An INSERT's reads all of `added`.

    UTC_DAY(column) in it stands for the day of a time as this database takes it.
    """

    table: str
    event: str
    name: str
    sql: str
    when: str = ""
    # The columns of `added` that an INSERT's statement reads.
    columns: tuple[str, ...] = ()


def _wanted(rows: str) -> str:
    """`rows` select project_id and n."""
    return f"""INSERT INTO annotate_projecttally (project_id, wanted)
        SELECT project_id, n FROM ({rows}) counted WHERE n <> 0
        ON CONFLICT (project_id) DO UPDATE SET wanted = annotate_projecttally.wanted + excluded.wanted"""


def _person(column: str, rows: str) -> str:
    """`rows` select project_id, user_id and n."""
    values = ", ".join("n" if name == column else "0" for name in COUNTS)
    return f"""INSERT INTO annotate_persontally (project_id, user_id, {", ".join(COUNTS)})
        SELECT project_id, user_id, {values} FROM ({rows}) counted WHERE n <> 0
        ON CONFLICT (project_id, user_id) DO UPDATE SET {column} = annotate_persontally.{column} + excluded.{column}"""


def _filled(row: str) -> str:
    return f"({row}.free_from IS NULL AND NOT {row}.apart)"


def _one_less(column: str, project: str, user: str) -> str:
    """Only where there is a tally: that of a project which is being deleted may be gone already."""
    return (
        f"UPDATE annotate_persontally SET {column} = {column} - 1 WHERE project_id = {project} AND user_id = {user}"
    )


_SLOT = "annotate_slot"
_TRIGGERS = [
    _Trigger(
        _SLOT, "INSERT", "tally_slot_added",
        _wanted("SELECT project_id, COUNT(*) AS n FROM added WHERE NOT apart GROUP BY project_id"),
        columns=("project_id", "apart"),
    ),
    _Trigger(
        _SLOT, "INSERT", "tally_slot_added_filled",
        _person(
            "filled",
            f"SELECT project_id, holder_id AS user_id, COUNT(*) AS n FROM added WHERE {_filled('added')} "
            "GROUP BY project_id, holder_id",
        ),
        columns=("project_id", "holder_id", "free_from", "apart"),
    ),
    _Trigger(
        _SLOT, "UPDATE OF free_from, apart", "tally_slot_moved",
        _wanted("SELECT NEW.project_id AS project_id, CASE WHEN NEW.apart THEN -1 ELSE 1 END AS n"),
        when="OLD.apart <> NEW.apart",
    ),
    _Trigger(
        _SLOT, "UPDATE OF free_from, apart", "tally_slot_filled",
        _person("filled", "SELECT NEW.project_id AS project_id, NEW.holder_id AS user_id, 1 AS n"),
        when=f"{_filled('NEW')} AND NOT {_filled('OLD')}",
    ),
    _Trigger(
        _SLOT, "UPDATE OF free_from, apart", "tally_slot_emptied",
        _one_less("filled", "OLD.project_id", "OLD.holder_id"), when=f"{_filled('OLD')} AND NOT {_filled('NEW')}",
    ),
    _Trigger(
        _SLOT, "DELETE", "tally_slot_deleted",
        "UPDATE annotate_projecttally SET wanted = wanted - 1 WHERE project_id = OLD.project_id", when="NOT OLD.apart",
    ),
    _Trigger(
        _SLOT, "DELETE", "tally_slot_deleted_filled", _one_less("filled", "OLD.project_id", "OLD.holder_id"),
        when=_filled("OLD"),
    ),
]  # fmt: skip
for _table, _column in (("annotate_judgment", "judged"), ("annotate_skip", "skipped")):
    _TRIGGERS += [
        _Trigger(
            _table, "INSERT", f"tally_{_column}",
            _person(
                _column,
                "SELECT c.project_id, added.annotator_id AS user_id, COUNT(*) AS n "
                "FROM added JOIN annotate_comparison c ON c.id = added.comparison_id "
                "GROUP BY c.project_id, added.annotator_id",
            ),
            columns=("comparison_id", "annotator_id"),
        ),
        _Trigger(
            _table, "DELETE", f"tally_not_{_column}",
            _one_less(
                _column, "(SELECT project_id FROM annotate_comparison WHERE id = OLD.comparison_id)", "OLD.annotator_id"
            ),
        ),
    ]  # fmt: skip


def _seconds(row: str) -> str:
    """What a judgment took, as DayTally counts it."""
    shown = f"CASE WHEN {row}.seconds > {DayTally.MOST_SECONDS} THEN {DayTally.MOST_SECONDS} ELSE {row}.seconds END"
    return f"COALESCE({row}.active_seconds, {shown}, 0)"


_TRIGGERS += [
    _Trigger(
        "annotate_judgment", "INSERT", "tally_day",
        f"""INSERT INTO annotate_daytally (project_id, user_id, day, judgments, seconds)
        SELECT project_id, user_id, day, n, spent FROM (
            SELECT c.project_id, added.annotator_id AS user_id, UTC_DAY(added.created_at) AS day,
                COUNT(*) AS n, SUM({_seconds("added")}) AS spent
            FROM added JOIN annotate_comparison c ON c.id = added.comparison_id
            WHERE added.shown_at IS NOT NULL AND added.origin IS NULL
            GROUP BY c.project_id, added.annotator_id, UTC_DAY(added.created_at)
        ) counted WHERE n <> 0
        ON CONFLICT (project_id, user_id, day) DO UPDATE SET
            judgments = annotate_daytally.judgments + excluded.judgments,
            seconds = annotate_daytally.seconds + excluded.seconds""",
        columns=("comparison_id", "annotator_id", "shown_at", "origin", "created_at", "seconds", "active_seconds"),
    ),
    _Trigger(
        "annotate_judgment", "DELETE", "tally_not_day",
        f"""UPDATE annotate_daytally SET judgments = judgments - 1, seconds = seconds - {_seconds("OLD")}
        WHERE project_id = (SELECT project_id FROM annotate_comparison WHERE id = OLD.comparison_id)
            AND user_id = OLD.annotator_id AND day = UTC_DAY(OLD.created_at)""",
        when="OLD.shown_at IS NOT NULL AND OLD.origin IS NULL",
    ),
]  # fmt: skip


def _prompt_triggers(table: str, column: str, counts: str) -> list[_Trigger]:
    """Keep Prompt.places_taken: a row of `table` counts while its `column` is as `counts` says."""
    old, new, added = f"OLD.{column} {counts}", f"NEW.{column} {counts}", f"FROM added WHERE added.{column} {counts}"
    name = table.replace("annotate", "places")
    number = f"(SELECT COUNT(*) {added} AND added.prompt_id = annotate_prompt.id)"
    return [
        _Trigger(
            table, "INSERT", f"{name}_added",
            f"UPDATE annotate_prompt SET places_taken = places_taken + {number} WHERE id IN (SELECT prompt_id {added})",
            columns=("prompt_id", column),
        ),
        _Trigger(
            table, f"UPDATE OF {column}", f"{name}_taken",
            "UPDATE annotate_prompt SET places_taken = places_taken + 1 WHERE id = NEW.prompt_id",
            when=f"{new} AND NOT ({old})",
        ),
        _Trigger(
            table, f"UPDATE OF {column}", f"{name}_given_back",
            "UPDATE annotate_prompt SET places_taken = places_taken - 1 WHERE id = NEW.prompt_id",
            when=f"{old} AND NOT ({new})",
        ),
        _Trigger(
            table, "DELETE", f"{name}_deleted",
            "UPDATE annotate_prompt SET places_taken = places_taken - 1 WHERE id = OLD.prompt_id", when=old,
        ),
    ]  # fmt: skip


_TRIGGERS += _prompt_triggers("annotate_writing", "place", "IS NOT NULL")
_TRIGGERS += _prompt_triggers("annotate_demonstration", "writing_id", "IS NULL")


def install(using: str) -> None:
    """Makes the triggers, in place of those that are there."""
    remove(using)
    connection = connections[using]
    make = {"sqlite": _on_sqlite, "postgresql": _on_postgresql}[connection.vendor]
    with connection.cursor() as cursor:
        for trigger in _TRIGGERS:
            for statement in make(trigger):
                cursor.execute(statement)


def remove(using: str) -> None:
    """Drops them where their tables are there."""
    connection = connections[using]
    with connection.cursor() as cursor:
        tables = set(connection.introspection.table_names(cursor))
        for trigger in _TRIGGERS:
            if trigger.table in tables:
                on_table = f" ON {trigger.table}" if connection.vendor == "postgresql" else ""
                cursor.execute(f"DROP TRIGGER IF EXISTS {trigger.name}{on_table}")


def _on_sqlite(trigger: _Trigger) -> list[str]:
    """A row at a time: `added` is a table of the one row."""
    row = ", ".join(f"NEW.{column} AS {column}" for column in trigger.columns)
    sql = trigger.sql.replace("FROM added", f"FROM (SELECT {row}) added").replace("UTC_DAY(", "date(")
    when = f"WHEN {trigger.when} " if trigger.when else ""
    return [f"CREATE TRIGGER {trigger.name} AFTER {trigger.event} ON {trigger.table} {when}BEGIN {sql}; END"]


def _on_postgresql(trigger: _Trigger) -> list[str]:
    """An INSERT of many rows writes each total once."""
    when = f"WHEN ({trigger.when}) " if trigger.when else ""
    scope = f"FOR EACH ROW {when}"
    if trigger.event == "INSERT":
        scope = "REFERENCING NEW TABLE AS added FOR EACH STATEMENT "
    sql = re.sub(r"UTC_DAY\((.+?)\)", r"CAST(\1 AT TIME ZONE 'UTC' AS date)", trigger.sql)
    return [
        f"CREATE OR REPLACE FUNCTION {trigger.name}() RETURNS trigger LANGUAGE plpgsql AS "
        f"$$ BEGIN {sql}; RETURN NULL; END $$",
        f"CREATE TRIGGER {trigger.name} AFTER {trigger.event} ON {trigger.table} {scope}"
        f"EXECUTE FUNCTION {trigger.name}()",
    ]


def recount(project: Project) -> list[str]:
    """Counts the rows of `project` and puts its totals right; says what was wrong, one sentence each.

    Others may go on working: counted and kept are read as of one moment, and by what they differ the totals are moved.
    """
    nested = connection.in_atomic_block
    with transaction.atomic():
        if connection.vendor == "postgresql" and not nested:
            with connection.cursor() as cursor:
                cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        wrong, moves = [], []
        for part in (_wanted_differs, _people_differ, _days_differ, _places_differ):
            found = part(project)
            wrong += found[0]
            moves += found[1]
    for model, key, by in moves:
        model.objects.get_or_create(**key)
        model.objects.filter(**key).update(**{name: F(name) + amount for name, amount in by.items()})
    return wrong


# What is wrong, and the moves that put it right: (model, what finds the row, by how much each total is moved).
_Found = tuple[list[str], list[tuple[type[Model], dict, dict]]]


def _wanted_differs(project: Project) -> _Found:
    wanted = Slot.objects.filter(project=project, apart=False).count()
    kept = ProjectTally.objects.filter(project=project).values_list("wanted", flat=True).first() or 0
    if kept == wanted:
        return [], []
    told = f"{project.slug}: {kept} judgments wanted were counted, there are {wanted}."
    return [told], [(ProjectTally, {"project": project}, {"wanted": wanted - kept})]


def _people_differ(project: Project) -> _Found:
    slots = Slot.objects.filter(project=project, apart=False)
    wrong, moves = [], []
    counted = {
        "judged": _by_person(Judgment.objects.filter(comparison__project=project), "annotator"),
        "skipped": _by_person(Skip.objects.filter(comparison__project=project), "annotator"),
        "filled": _by_person(slots.filter(free_from__isnull=True), "holder"),
    }
    tallies = {tally.user_id: tally for tally in PersonTally.objects.filter(project=project).select_related("user")}
    for user in set(tallies).union(*counted.values()):
        right = {name: counted[name].get(user, 0) for name in COUNTS}
        tally = tallies.get(user)
        if any(right[name] != (getattr(tally, name) if tally else 0) for name in COUNTS):
            wrong.append(f"{project.slug}: the totals of {tally.user if tally else f'person {user}'} were wrong.")
            by = {name: right[name] - (getattr(tally, name) if tally else 0) for name in COUNTS}
            moves.append((PersonTally, {"project": project, "user_id": user}, by))
    return wrong, moves


# What a judgment took, as DayTally counts it.
SECONDS = Coalesce(
    "active_seconds",
    Case(
        When(seconds__gt=DayTally.MOST_SECONDS, then=Value(float(DayTally.MOST_SECONDS))), default=F("seconds"),
        output_field=FloatField(),
    ),
    0.0,
)  # fmt: skip


def per_day(judgments: QuerySet) -> dict[tuple[int, date], tuple[int, float]]:
    """By person and day: how many of `judgments` made here, and their seconds. Reads them all."""
    rows = (
        judgments.filter(MADE_HERE).order_by()
        .annotate(day=TruncDate("created_at", tzinfo=UTC)).values_list("annotator", "day")
        .annotate(n=Count("pk"), spent=Sum(SECONDS))
    )  # fmt: skip
    return {(user, day): (n, spent) for user, day, n, spent in rows}


def _days_differ(project: Project) -> _Found:
    right = per_day(Judgment.objects.filter(comparison__project=project))
    kept = {(tally.user_id, tally.day): tally for tally in DayTally.objects.filter(project=project)}
    wrong, moves = set(), []
    for user, day in set(kept).union(right):
        judgments, seconds = right.get((user, day), (0, 0.0))
        tally = kept.get((user, day))
        # Sums in another order differ in their last digits.
        if tally is None or tally.judgments != judgments or abs(tally.seconds - seconds) > 0.01 * max(1, judgments):
            wrong.add(day)
            before = (tally.judgments, tally.seconds) if tally else (0, 0.0)
            by = {"judgments": judgments - before[0], "seconds": seconds - before[1]}
            moves.append((DayTally, {"project": project, "user_id": user, "day": day}, by))
    return [f"{project.slug}: the totals of {day} were wrong." for day in sorted(wrong)], moves


def _places_differ(project: Project) -> _Found:
    """Prompt.places_taken."""
    places = Counter(Writing.objects.filter(project=project, place__isnull=False).values_list("prompt", flat=True))
    imported = Demonstration.objects.filter(prompt__project=project, writing=None)
    places.update(imported.values_list("prompt", flat=True))
    taken = Prompt.objects.filter(project=project).values_list("pk", "places_taken")
    moves = [
        (Prompt, {"pk": pk}, {"places_taken": places[pk] - known})
        for pk, known in taken.iterator() if known != places[pk]
    ]  # fmt: skip
    told = f"{project.slug}: of {len(moves)} prompts the demonstrations were counted wrong."
    return ([told] if moves else []), moves


def _by_person(rows, field: str) -> dict[int, int]:
    return dict(rows.order_by().values_list(field).annotate(Count("pk")))


def forget_looked_through(project: Project) -> None:
    """Something old became open, or may have: everybody looks through everything once more before "nothing".

    Row by row, outside of transactions: who holds one of these rows and waits for another is waited for in turn.
    """
    believing = PersonTally.objects.filter(project=project, looked_through_at__isnull=False)
    for pk in list(believing.values_list("pk", flat=True)):
        PersonTally.objects.filter(pk=pk).update(looked_through_at=None)
