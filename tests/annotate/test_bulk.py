"""Rows written in bulk are what `bulk_create` would have written: keys, constraints, triggers, all or none."""

import pytest
from django.db import IntegrityError, transaction

from annotate import bulk
from annotate.labeling.progress import queue_state
from annotate.models import Prompt, Slot, User

pytestmark = pytest.mark.django_db


def prompt(project, digest: str) -> Prompt:
    messages = [{"role": "user", "content": "Tab\tbackslash \\N \\ line\nquote ' 中文"}]
    return Prompt(project=project, messages=messages, digest=digest, reference={"answer": None})


def test_rows_come_back_with_their_keys_and_read_as_they_were_written(project):
    before = Prompt.objects.create(project=project, messages=[], digest="before")
    rows = bulk.insert(prompt(project, f"{number}") for number in range(5))
    after = Prompt.objects.create(project=project, messages=[], digest="after")
    keys = [before.pk, *(row.pk for row in rows), after.pk]
    assert keys == sorted(set(keys))
    stored = Prompt.objects.get(pk=rows[3].pk)
    assert (stored.digest, stored.messages, stored.reference) == ("3", rows[3].messages, {"answer": None})
    assert stored.created_at == rows[3].created_at
    rows[3].digest = "changed"
    rows[3].save()
    assert Prompt.objects.filter(project=project).count() == 7


def test_nothing_is_written_where_one_row_may_not_be(project):
    with pytest.raises(IntegrityError), transaction.atomic():
        bulk.insert(prompt(project, digest) for digest in ("a", "b", "a"))
    assert not Prompt.objects.exists()


def test_no_row_is_no_statement(django_assert_num_queries):
    with django_assert_num_queries(0):
        assert bulk.insert([]) == []


def test_totals_follow(project, pairs):
    user = User.objects.create(username="reader")
    comparison, before = pairs(1)[0], queue_state(project, user)
    number = Slot.objects.filter(comparison=comparison).count()
    more = {"project": project, "comparison": comparison, "free_from": comparison.created_at}
    bulk.insert(Slot(number=number + place, apart=place == 2, **more) for place in range(3))
    assert queue_state(project, user).total_wanted == before.total_wanted + 2
