"""A project with people, and pairs to judge."""

import pytest

from annotate.labeling.comparisons import NewResponse, add_comparisons, add_prompts, add_responses, pairs_of
from annotate.models import Membership, Project, User
from annotate.projects import create_project
from tests.queue import in_order


@pytest.fixture
def admin(db):
    return User.objects.create_user("root", is_staff=True)


@pytest.fixture
def project(admin) -> Project:
    project = create_project(admin, name="Kind answers", slug="kind")
    return in_order(project)


@pytest.fixture
def person(project):
    """Makes a person with a role in the project: person("ada"), person("rosa", "researcher")."""

    def make(username: str, role: str = "annotator") -> User:
        user = User.objects.create_user(username)
        Membership.objects.create(project=project, user=user, role=role)
        return user

    return make


@pytest.fixture
def ada(person):
    return person("ada")


@pytest.fixture
def ben(person):
    return person("ben")


@pytest.fixture
def pairs(project):
    """Adds comparisons: pairs(3) with the project's number of slots, pairs(3, wanted=2) with two each."""

    def make(count: int, wanted: int | None = None, start: int = 0):
        prompts = add_prompts(
            project, [[{"role": "user", "content": f"Question {start + number}"}] for number in range(count)]
        ).rows
        new = []
        for prompt in prompts:
            responses = [NewResponse(prompt, "one", "policy-1"), NewResponse(prompt, "two", "policy-2")]
            new += pairs_of(add_responses(project, responses).rows)
        return add_comparisons(project, new, wanted=wanted).rows

    return make
