"""Queries that are built once give what the queryset gives, whatever the values, and from any thread."""

import threading

import pytest
from django.db import connection
from django.db.models import SlugField

from annotate.models import Membership, Project
from annotate.prepared import Given, Prepared, given_id


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
