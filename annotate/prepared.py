"""Queries that are built once a thread and asked often: a page's queries take longer to build than to answer.

    _by_slug = Prepared(lambda: Project.objects.filter(slug=Given("slug", SlugField())))
    project = _by_slug.first(slug="hh")

The rows are what the queryset would give: model instances with what `select_related` asks for, tuples, or dicts.
"""

import threading
from collections.abc import Callable
from types import SimpleNamespace

from django.db import connections, models


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
        adapted = tuple(
            parameter.adapted(values, compiler.connection) if isinstance(parameter, Given) else parameter
            for parameter in parameters
        )
        # Django's own reading of the rows, with the SQL that is there already.
        compiler.as_sql = lambda *args, **kwargs: (sql, adapted)
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
            # Past the property, which takes every query with columns of its own for one of values().
            queryset._query = _Compiled(queryset.query, compiler)
            kept = self._of_thread.compiled = (queryset, compiler, sql, parameters)
        return kept


class _Compiled(SimpleNamespace):
    """Stands for a queryset's query, and hands out its one compiler."""

    def __init__(self, query, compiler):
        super().__init__(query=query, compiler=compiler)

    def get_compiler(self, using=None, **options):
        return self.compiler

    def __getattr__(self, name):
        return getattr(self.query, name)
