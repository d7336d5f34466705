"""Many new rows at once, as the database takes them fastest: COPY on PostgreSQL, one statement for all on SQLite.

    bulk.insert(Slot(comparison=comparison, …) for comparison in comparisons)

As `bulk_create`: no signals, no `save`, constraints and triggers hold, and the rows have their primary keys afterwards.
"""

import itertools
from collections.abc import Callable, Iterable, Iterator
from operator import attrgetter
from typing import TypeVar

from django.db import connections, models, router, transaction

Row = TypeVar("Row", bound=models.Model)

# Fields whose Python values the drivers take as they are.
_PLAIN = (models.IntegerField, models.FloatField, models.BooleanField, models.CharField, models.TextField)
# Rows a statement carries: enough that its beginning and end cost nothing, few enough that they weigh nothing.
AT_ONCE = 20_000


def insert(rows: Iterable[Row]) -> list[Row]:
    """Adds new rows of one model whose primary key is a running number; all or none. They come back with their keys."""
    rows = list(rows)
    if not rows:
        return rows
    model = type(rows[0])
    using = router.db_for_write(model)
    connection, fields = connections[using], model._meta.concrete_fields
    table = connection.ops.quote_name(model._meta.db_table)
    columns = ", ".join(connection.ops.quote_name(field.column) for field in fields)
    with transaction.atomic(using=using, savepoint=False), connection.cursor() as cursor:
        for row, key in zip(rows, _new_keys(cursor, connection, model, len(rows)), strict=True):
            row.pk = key
        columns_of = [_value_of(field, connection) for field in fields]
        values = ([value_of(row) for value_of in columns_of] for row in rows)
        if connection.vendor == "postgresql":
            with connection.wrap_database_errors, cursor.copy(f"COPY {table} ({columns}) FROM STDIN") as copy:
                for value in values:
                    copy.write_row(value)
        else:
            places = ", ".join(["%s"] * len(fields))
            while part := list(itertools.islice(values, AT_ONCE)):
                cursor.executemany(f"INSERT INTO {table} ({columns}) VALUES ({places})", part)
    for row in rows:
        row._state.adding, row._state.db = False, using
    return rows


def _value_of(field: models.Field, connection) -> Callable:
    """What reads this column of a row, as the database's driver takes it."""
    stored = field.target_field if isinstance(field, models.ForeignKey) else field
    # A choice may be given as a member of its enumeration, which is not what a driver takes.
    if isinstance(stored, _PLAIN) and not field.choices:
        return attrgetter(field.attname)
    return lambda row: field.get_db_prep_save(field.pre_save(row, add=True), connection)


def _new_keys(cursor, connection, model: type[models.Model], count: int) -> Iterator[int]:
    """Primary keys that nobody else is given."""
    table = model._meta.db_table
    if connection.vendor == "postgresql":
        sequence = "pg_get_serial_sequence(%s, %s)"
        cursor.execute(
            f"SELECT nextval({sequence}) FROM generate_series(1, %s)", [f'"{table}"', model._meta.pk.column, count]
        )
        return (key for (key,) in cursor.fetchall())
    # The transaction holds the one write lock, and SQLite counts on from the highest key that a row came with.
    cursor.execute("SELECT seq FROM sqlite_sequence WHERE name = %s", [table])
    (last,) = cursor.fetchone() or (0,)
    return iter(range(last + 1, last + 1 + count))
