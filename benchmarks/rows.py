"""Many rows straight into the tables, past the services: a project of a million judgments in a minute or two.

The database's own constraints hold. What a caller does not name gets the model's default. Totals are counted after:

    with filling(project):
        insert(Slot, ["project_id", …], rows)
"""

import contextlib
import json
from collections.abc import Callable, Iterable, Iterator, Sequence


@contextlib.contextmanager
def filling(project) -> Iterator[None]:
    """One transaction without the triggers that keep totals; then keys go on from there, and planners know the rows."""
    from django.apps import apps
    from django.db import connection, models, transaction

    from annotate.labeling import counters

    counters.remove("default")
    with transaction.atomic():
        yield
    counters.install("default")
    counters.recount(project)
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            numbered = [model for model in apps.get_models() if isinstance(model._meta.pk, models.BigAutoField)]
            for table in (model._meta.db_table for model in numbered):
                cursor.execute(f"SELECT setval(pg_get_serial_sequence('{table}', 'id'), MAX(id)) FROM {table}")
        cursor.execute("ANALYZE")


def insert(model, names: Sequence[str], rows: Iterable[Sequence]) -> None:
    """Adds `rows` of `model`; `names` are the attributes that they hold, such as "slot_id", in Python's own values."""
    from django.db import connection, models

    fields = {field.attname: field for field in model._meta.concrete_fields}
    given = [fields[name] for name in names]
    # A running number that is not named is the database's to give.
    others = [field for field in fields.values() if field not in given and not isinstance(field, models.BigAutoField)]
    defaults = [field.get_default() for field in others]
    changes = {place: change for place, field in enumerate([*given, *others]) if (change := _change(field))}

    def values():
        for row in rows:
            row = [*row, *defaults]
            for place, change in changes.items():
                if row[place] is not None:
                    row[place] = change(row[place])
            yield row

    quote = connection.ops.quote_name
    into = f"{quote(model._meta.db_table)} ({', '.join(quote(field.column) for field in [*given, *others])})"
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            with cursor.cursor.copy(f"COPY {into} FROM STDIN") as copy:
                for row in values():
                    copy.write_row(row)
        else:
            places = ", ".join("?" * (len(given) + len(others)))
            connection.connection.executemany(f"INSERT INTO {into} VALUES ({places})", values())


def _change(field) -> Callable | None:
    """What makes of a value what the driver takes; None where it takes the value as it is."""
    from django.db import connection, models

    field = field.target_field if isinstance(field, models.ForeignKey) else field
    if isinstance(field, models.JSONField):
        return json.dumps
    if connection.vendor == "sqlite" and isinstance(field, models.UUIDField):
        return lambda key: key.hex
    if connection.vendor == "sqlite" and isinstance(field, models.DateTimeField):
        return lambda moment: moment.replace(tzinfo=None).isoformat(sep=" ")
    return None
