"""Queries that are built once give what the queryset gives, whatever the values, and from any thread."""

import threading

import pytest
from django.db import connection
from django.db.models import CharField, SlugField

from annotate.models import Membership, Project, Prompt
from annotate.prepared import Given, Prepared, PreparedUpdate, given_id, insert


@pytest.fixture
def members(project):
    return Prepared(
        lambda: Membership.objects.filter(project=given_id("project")).select_related("user").order_by("user__username")
    )


def test_rows_are_instances_with_what_belongs_to_them(project, ada, members, django_assert_num_queries):
    people = Membership.objects.filter(project=project).order_by("user__username")
    expected = [member.user.username for member in people]
    assert "ada" in expected[0]
    for _ in range(2):
        with django_assert_num_queries(1):
            assert [member.user.username for member in members.rows(project=project.pk)] == expected
    assert members.rows(project=project.pk + 1) == []
    assert members.first(project=project.pk + 1) is None


def test_other_values_give_other_rows_and_no_value_reaches_the_sql(project):
    by_slug = Prepared(lambda: Project.objects.filter(slug=Given("slug", SlugField())).values_list("pk", "slug"))
    assert by_slug.first(slug=project.slug) == (project.pk, project.slug)
    assert by_slug.first(slug="' OR 1=1 --") is None
    assert by_slug.first(slug=project.slug) == (project.pk, project.slug)


def test_it_is_built_once_a_thread(project, monkeypatch):
    built = []

    def build():
        built.append(threading.get_ident())
        return Project.objects.filter(pk=given_id("pk"))

    query = Prepared(build)
    assert [query.first(pk=project.pk).slug for _ in range(3)] == [project.slug] * 3
    assert len(built) == 1

    def elsewhere():
        try:
            query._compiled()
        finally:
            connection.close()

    thread = threading.Thread(target=elsewhere)
    thread.start()
    thread.join()
    assert len(set(built)) == 2


def test_an_update_says_how_many_rows_it_changed(project, django_assert_num_queries):
    rename = PreparedUpdate(
        lambda: Project.objects.filter(pk=given_id("pk"), name=Given("before", CharField())),
        name=Given("after", CharField()), archived=True,
    )  # fmt: skip
    for before, after in ((project.name, "New"), ("New", "Newer")):
        with django_assert_num_queries(1):
            assert rename.run(pk=project.pk, before=before, after=after) == 1
    assert rename.run(pk=project.pk, before="New", after="Never") == 0
    project.refresh_from_db()
    assert (project.name, project.archived) == ("Newer", True)


def test_a_row_is_stored_as_its_save_would(project, ada, django_assert_num_queries):
    with django_assert_num_queries(1):
        prompt = insert(Prompt(project=project, messages=[{"role": "user", "content": "Why?"}], digest="d"))
    stored = Prompt.objects.get(pk=prompt.pk)
    assert (stored.messages, stored.reference, stored.created_at) == (prompt.messages, {}, prompt.created_at)
    prompt.digest = "e"
    prompt.save()
    assert Prompt.objects.get().digest == "e"
