"""Setting up a project: who may, versions of guidelines, people and their roles."""

import pytest
from django.conf import settings
from django.core.exceptions import PermissionDenied
from django.utils import translation
from django.utils.translation import gettext

from annotate import access
from annotate.errors import UserError
from annotate.models import Project, User
from annotate.projects import (
    add_member,
    create_account,
    create_project,
    current_guidelines,
    default_guidelines,
    remove_member,
    set_guidelines,
    update_project,
)

pytestmark = pytest.mark.django_db
ANNOTATOR, RESEARCHER, ADMIN = access.Role.ANNOTATOR, access.Role.RESEARCHER, access.Role.ADMIN


def test_a_project_begins_with_guidelines_and_its_maker_as_admin(admin):
    project = create_project(admin, name="Kind answers")
    assert project.slug == "kind-answers"
    assert current_guidelines(project).text == default_guidelines()
    assert project.memberships.get().role == ADMIN


def test_the_default_guidelines_make_the_points_of_instructgpt():
    text = " ".join(default_guidelines().lower().split())
    for point in (
        "helpful", "truthful", "harmless", "shown by examples", "begun for the assistant", "what is meant",
        "whole world", "ramble", "invents no circumstances", "summary", "false assumption", "conspiracy", "prejudice",
        "violen", "illegal", "being truthful and harmless comes before being helpful", "*much* more helpful",
        "only *slightly* less truthful", "medical or legal advice, therapy, loans", "more likely to harm",
        "which of the two would you rather receive from a customer assistant", "truly close",
    ):  # fmt: skip
        assert point in text, point


@pytest.mark.parametrize("language", [code for code, _name in settings.LANGUAGES if code != "en"])
def test_the_default_guidelines_speak_the_language_of_whoever_makes_the_project(admin, language):
    """All of it: as many headings, points and rows of the table as in English; the ratings as the page calls them."""
    english = default_guidelines()
    with translation.override(language):
        text = current_guidelines(create_project(admin, name="Eins")).text
        ratings = [gettext(words) for words in ("A is better", "A is slightly better", "B is slightly better")]
    shape = [[line[:2] for line in page.splitlines() if line[:1] in "#-|123"] for page in (english, text)]
    assert shape[0] == shape[1]
    assert all(f"**{rating}**" in text for rating in ratings)


@pytest.mark.parametrize(
    ("settings", "field"),
    [
        ({"name": " "}, "name"),
        ({"name": "x", "slug": "kind"}, "slug"),
        ({"name": "x", "slug": "not a slug"}, "slug"),
        ({"name": "x", "judgments_wanted": 0}, "judgments_wanted"),
        ({"name": "x", "judgments_wanted": 51}, "judgments_wanted"),
        ({"name": "x", "lease_seconds": 5}, "lease_seconds"),
        ({"name": "x", "lease_seconds": 86_401}, "lease_seconds"),
        ({"name": "x", "guidelines": " \n"}, "text"),
    ],
)
def test_wrong_settings_are_named_and_make_no_project(admin, project, settings, field):
    with pytest.raises(UserError) as error:
        create_project(admin, **settings)
    assert error.value.field == field
    assert Project.objects.count() == 1


def test_only_staff_make_projects(person):
    with pytest.raises(PermissionDenied):
        create_project(person("ann", "admin"), name="Mine")


def test_a_wrong_change_changes_nothing(project, admin):
    with pytest.raises(UserError):
        update_project(project, admin, name="New", judgments_wanted=99)
    with pytest.raises(UserError):
        update_project(project, admin, slug="other")
    project.refresh_from_db()
    assert (project.name, project.slug) == ("Kind answers", "kind")
    assert update_project(project, admin, judgments_wanted="3").judgments_wanted == 3


def test_guidelines_get_a_version_only_when_the_text_changes(project, admin):
    assert set_guidelines(project, admin, default_guidelines().replace("\n", "\r\n") + "\n").number == 1
    assert set_guidelines(project, admin, "Be kind.").number == 2
    assert set_guidelines(project, admin, "Be kind.\n").number == 2
    assert list(project.guideline_versions.values_list("number", flat=True)) == [2, 1]
    with pytest.raises(UserError):
        set_guidelines(project, admin, "  ")


def test_what_each_role_may_act_as(project, person, admin):
    stranger = User.objects.create_user("stranger")
    former = person("former", "admin")
    User.objects.filter(pk=former.pk).update(is_active=False)
    former.refresh_from_db()
    allowed = {
        user.username: [role for role in (ANNOTATOR, RESEARCHER, ADMIN) if access.can(user, project, role)]
        for user in (person("a"), person("r", "researcher"), person("ad", "admin"), admin, stranger, former)
    }
    assert allowed == {
        "a": [ANNOTATOR],
        "r": [RESEARCHER],
        "ad": [ANNOTATOR, RESEARCHER, ADMIN],
        "root": [ANNOTATOR, RESEARCHER, ADMIN],
        "stranger": [],
        "former": [],
    }
    assert list(access.projects_for(stranger)) == []
    assert list(access.projects_for(admin)) == [project]


def test_members_come_change_and_go_but_the_last_admin_stays(project, admin):
    create_account(project, "new", "correct horse battery", ANNOTATOR, user=admin)
    new = User.objects.get(username="new")
    assert new.check_password("correct horse battery")
    assert add_member(project, "new", ADMIN, user=admin).role == ADMIN
    remove_member(project, admin, user=admin)
    for attempt in (
        lambda: remove_member(project, new, user=admin),
        lambda: add_member(project, "new", ANNOTATOR, user=admin),
        lambda: add_member(project, "nobody", ANNOTATOR, user=admin),
        lambda: add_member(project, "new", "king", user=admin),
    ):
        with pytest.raises(UserError):
            attempt()
    assert [(member.user, member.role) for member in project.memberships.all()] == [(new, ADMIN)]


@pytest.mark.parametrize(
    ("username", "password", "field"),
    [("root", "correct horse battery", "username"), ("ukp:w1", "correct horse battery", "username"),
     ("", "correct horse battery", "username"), ("new", "short", "password"), ("new", "password123", "password")],
)  # fmt: skip
def test_wrong_accounts_are_refused(project, admin, username, password, field):
    with pytest.raises(UserError) as error:
        create_account(project, username, password, ANNOTATOR, user=admin)
    assert error.value.field == field
    assert User.objects.count() == 1


def test_annotators_and_researchers_change_nothing(project, person):
    for user in (person("a"), person("r", "researcher")):
        for attempt in (
            lambda user=user: update_project(project, user, name="Mine"),
            lambda user=user: set_guidelines(project, user, "Mine."),
            lambda user=user: add_member(project, user.username, ADMIN, user=user),
            lambda user=user: create_account(project, "x", "correct horse battery", ADMIN, user=user),
            lambda user=user: remove_member(project, user, user=user),
        ):
            with pytest.raises(PermissionDenied):
                attempt()
