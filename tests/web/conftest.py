"""A project with people in every role, pairs to judge, and browsers that are signed in."""

import pytest
from django.test import Client

from annotate.labeling.comparisons import NewResponse, add_comparisons, add_prompts, add_responses, pairs_of
from annotate.models import Membership, Project, User
from annotate.projects import create_project

GENERATORS = ("secret-policy-one", "secret-policy-two")


@pytest.fixture
def project(db) -> Project:
    staff = User.objects.create_user("root", is_staff=True)
    project = create_project(staff, name="Kind answers", slug="kind")
    for name in Membership.Role.values:
        user = User.objects.create_user(name, password="correct-horse")
        Membership.objects.create(project=project, user=user, role=name)
    User.objects.create_user("outsider", password="correct-horse")
    return project


@pytest.fixture
def browser(project):
    """browser("annotator") is a client signed in as that person; browser(None) is a stranger's."""

    def make(username: str | None) -> Client:
        client = Client()
        if username:
            client.force_login(User.objects.get(username=username))
        return client

    return make


@pytest.fixture
def pairs(project):
    """Adds comparisons: pairs(3), or pairs(1, texts=("one", "two"), prompt="Hello")."""

    def make(count: int, texts=("First text", "Second text"), prompt: str = "Question"):
        conversations = [[{"role": "user", "content": f"{prompt} {number}"}] for number in range(count)]
        new = []
        for row in add_prompts(project, conversations, in_pool=True).rows:
            responses = [NewResponse(row, text, name) for text, name in zip(texts, GENERATORS, strict=True)]
            new += pairs_of(add_responses(project, responses).rows)
        return add_comparisons(project, new).rows

    return make
