"""Statements that are built once a thread and asked often: a page's queries take longer to build than to answer.

    _by_slug = Prepared(lambda: Project.objects.filter(slug=Given("slug", SlugField())))
    project = _by_slug.first(slug="hh")

The rows are what the queryset would give: model instances with what `select_related` asks for, tuples, or dicts.
"""

import threading
from collections.abc import Callable, Sequence
from functools import cache
from types import SimpleNamespace

from django.db import connections, models, router


class Given(models.Expression):
    """A value that is only known when the query is asked; `field` says how the database takes it."""

    def __init__(self, name: str, field: models.Field):
        super().__init__(output_field=field)
        self.name = name

    def as_sql(self, compiler, connection):
        return "%s", [self]

    def adapted(self, values: dict, connection):
        return self.output_field.get_db_prep_value(values[self.name], connection)


def given_id(name: str) -> Given:
    """A primary key, or a foreign key, that is given later."""
    return Given(name, models.BigIntegerField())


def given_time(name: str) -> Given:
    return Given(name, models.DateTimeField())


class Prepared:
    """A queryset whose SQL is made at the first use; `build` makes it, with `Given` in place of what changes.

    The values given may not be None: SQL compares with NULL in another way.
    """

    def __init__(self, build: Callable[[], models.QuerySet]):
        self._build = build
        self._of_thread = threading.local()

    def rows(self, **values) -> list:
        queryset, compiler, sql, parameters = self._compiled()
        with planned_cursor(compiler.connection) as cursor:
            cursor.execute(sql, _adapted(parameters, values, compiler.connection))
            found = cursor.fetchall()
        # Django's own reading of the rows, which are there already.
        compiler.execute_sql = lambda *args, **kwargs: [found]
        return list(queryset._iterable_class(queryset))

    def first(self, **values):
        """The first row, or None. The queryset's own order decides; a slice `[:1]` spares the other rows."""
        return next(iter(self.rows(**values)), None)

    def _compiled(self):
        kept = getattr(self._of_thread, "compiled", None)
        if kept is None or kept[1].connection is not connections[kept[1].using]:
            queryset = self._build()
            compiler = queryset.query.get_compiler(using=queryset.db)
            sql, parameters = compiler.as_sql()
            converters = compiler.get_converters([column[0] for column in compiler.select[: compiler.col_count]])
            compiler.get_converters = lambda columns: converters
            # Past the property, which takes every query with columns of its own for one of values().
            queryset._query = _Compiled(queryset.query, compiler)
            kept = self._of_thread.compiled = (queryset, compiler, sql, parameters)
        return kept


class PreparedUpdate:
    """`build()`.update(**columns) in the same way: `Given`, also among the columns, in place of what changes."""

    def __init__(self, build: Callable[[], models.QuerySet], **columns):
        self._build, self._columns = build, columns
        self._of_thread = threading.local()

    def run(self, **values) -> int:
        """How many rows were changed."""
        connection, sql, parameters = self._compiled()
        with planned_cursor(connection) as cursor:
            cursor.execute(sql, _adapted(parameters, values, connection))
            return cursor.rowcount

    def _compiled(self):
        kept = getattr(self._of_thread, "compiled", None)
        if kept is None or kept[0] is not connections[kept[0].alias]:
            queryset = self._build()
            query = queryset.query.chain(models.sql.UpdateQuery)
            query.add_update_values(self._columns)
            connection = connections[queryset.db]
            kept = self._of_thread.compiled = (connection, *query.get_compiler(using=queryset.db).as_sql())
        return kept


def insert(row: models.Model) -> models.Model:
    """Stores a new row as its `save` would, without signals; it comes back with the key that the database gave it."""
    using = router.db_for_write(type(row))
    connection = connections[using]
    sql, fields, given_a_key = _insert(type(row), using)
    values = [field.get_db_prep_save(field.pre_save(row, add=True), connection) for field in fields]
    with planned_cursor(connection) as cursor:
        cursor.execute(sql, values)
        if given_a_key:
            (row.pk,) = cursor.fetchone()
    row._state.adding, row._state.db = False, using
    return row


@cache
def _insert(model: type[models.Model], using: str) -> tuple[str, list[models.Field], bool]:
    """The statement, the fields it takes, and whether it returns the primary key."""
    given_a_key = isinstance(model._meta.pk, models.AutoField | models.BigAutoField)
    fields = [field for field in model._meta.concrete_fields if not (given_a_key and field.primary_key)]
    quote = connections[using].ops.quote_name
    columns, places = ", ".join(quote(field.column) for field in fields), ", ".join(["%s"] * len(fields))
    returning = f" RETURNING {quote(model._meta.pk.column)}" if given_a_key else ""
    return f"INSERT INTO {quote(model._meta.db_table)} ({columns}) VALUES ({places}){returning}", fields, given_a_key


def planned_cursor(connection):
    """A cursor whose statement PostgreSQL plans once a connection and not each time; elsewhere the ordinary one.

    Django puts the values into the text of a statement, so each is a new one to PostgreSQL. Here they go beside it.
    """
    if connection.vendor != "postgresql":
        return connection.cursor()
    connection.ensure_connection()
    with connection.wrap_database_errors:
        return connection._prepare_cursor(_planning()(connection.connection))


@cache
def _planning():
    from django.db.backends.postgresql.base import ServerBindingCursor

    class PlanningCursor(ServerBindingCursor):
        def execute(self, query, params=None, **options):
            return super().execute(query, params, prepare=True, **options)

        def _send_query_prepared(self, name, query, **options):
            # For Django's log of queries: psycopg notes only what it sends unprepared.
            self._query = query
            super()._send_query_prepared(name, query, **options)

    return PlanningCursor


def _adapted(parameters: Sequence, values: dict, connection) -> tuple:
    return tuple(
        parameter.adapted(values, connection) if isinstance(parameter, Given) else parameter
        for parameter in parameters
    )


class _Compiled(SimpleNamespace):
    """Stands for a queryset's query, and hands out its one compiler."""

    def __init__(self, query, compiler):
        super().__init__(query=query, compiler=compiler)

    def get_compiler(self, using=None, **options):
        return self.compiler

    def __getattr__(self, name):
        return getattr(self.query, name)
