"""Who may get an item now: acknowledged guidelines, the test, pauses, and who may lift them."""

import pytest
from django.core.exceptions import PermissionDenied
from django.db import IntegrityError, transaction

from annotate.errors import UserError
from annotate.labeling.admission import acknowledge_guidelines, lift_pause, pause, qualify
from annotate.labeling.standing import standing
from annotate.models import Membership
from annotate.projects import set_guidelines, update_project

pytestmark = pytest.mark.django_db


def test_a_newcomer_and_who_has_no_membership_are_open(project, admin, ada, person, django_assert_num_queries):
    with django_assert_num_queries(1):
        assert standing(project, ada).state == "open"
    project.memberships.filter(user=admin).delete()
    assert standing(project, admin).state == "open"


def test_changed_guidelines_are_acknowledged_once_and_corrections_not_at_all(project, admin, ada):
    set_guidelines(project, admin, "Be kind.")
    assert standing(project, ada).state == "guidelines_changed"
    acknowledge_guidelines(project, ada, 2)
    assert standing(project, ada).state == "open"
    set_guidelines(project, admin, "Be kind!", minor=True)
    assert standing(project, ada).state == "open"
    set_guidelines(project, admin, "Be kind and brief!")
    assert standing(project, ada).state == "guidelines_changed"
    acknowledge_guidelines(project, ada, 3)
    assert standing(project, ada).state == "guidelines_changed"
    acknowledge_guidelines(project, ada, 4)
    acknowledge_guidelines(project, ada, 2)
    assert standing(project, ada).state == "open"


def test_a_project_may_do_without_acknowledging(project, admin, ada):
    set_guidelines(project, admin, "Be kind.")
    update_project(project, admin, must_acknowledge_guidelines=False)
    assert standing(project, ada).state == "open"


def test_nobody_acknowledges_what_is_not_there(project, ada, person):
    with pytest.raises(UserError):
        acknowledge_guidelines(project, ada, 9)
    with pytest.raises(PermissionDenied):
        acknowledge_guidelines(project, person("rosa", "researcher"), 1)


def test_the_test_comes_first_and_an_admin_may_spare_it(project, admin, ada, person):
    update_project(project, admin, qualification_pass=0.8)
    assert standing(project, ada).state == "qualifying"
    assert standing(project, person("ann", "admin")).state == "open"
    qualify(project, ada, user=admin)
    assert standing(project, ada).state == "open"


def test_a_pause_has_a_reason_and_is_lifted_by_an_admin(project, admin, ada, ben):
    pause(project, ada, user=admin, note="Let us talk on Monday.")
    held_up = standing(project, ada)
    assert (held_up.state, held_up.message, held_up.is_held_up) == ("paused", "Let us talk on Monday.", True)
    with pytest.raises(UserError):
        lift_pause(project, ben, user=admin)
    lift_pause(project, ada, user=admin)
    assert standing(project, ada).state == "open"
    with pytest.raises(IntegrityError), transaction.atomic():
        Membership.objects.filter(user=ada).update(paused_at="2026-01-01T00:00Z")
    with pytest.raises(IntegrityError), transaction.atomic():
        Membership.objects.filter(user=ada).update(pause_reason="gold")


@pytest.mark.parametrize("role", ["annotator", "researcher"])
def test_only_admins_pause_lift_and_qualify(project, ada, person, role):
    other = person("eve", role)
    for service in (pause, lift_pause, qualify):
        with pytest.raises(PermissionDenied):
            service(project, ada, user=other)


def test_only_annotators_are_paused(project, admin, person):
    with pytest.raises(UserError):
        pause(project, person("rosa", "researcher"), user=admin)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("qualification_pass", 1.2), ("qualification_pass", 0), ("pause_below_gold", 80), ("pause_below_seconds", 0),
        ("rate_per_hour", -1), ("qualification_questions", 0),
    ],
)  # fmt: skip
def test_wrong_thresholds_are_named(project, admin, name, value):
    with pytest.raises(UserError) as error:
        update_project(project, admin, **{name: value})
    assert error.value.field == name
