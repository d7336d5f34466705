"""A project with people in every role, pairs to judge, and browsers that are signed in: Django's own and Chromium."""

import shutil

import pytest
from django.test import Client

from annotate.labeling.comparisons import NewResponse, add_comparisons, add_prompts, add_responses, pairs_of
from annotate.models import Membership, Project, User
from annotate.projects import create_project
from tests.queue import in_order
from tests.servers import NEVER

CHROMIUM = shutil.which("chromium")
FLAGS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
]  # fmt: skip

GENERATORS = ("secret-policy-one", "secret-policy-two")


@pytest.fixture
def project(db) -> Project:
    staff = User.objects.create_user("root", is_staff=True)
    project = create_project(staff, name="Kind answers", slug="kind")
    in_order(project)
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


@pytest.fixture(scope="module")
def chromium():
    from playwright.sync_api import sync_playwright

    # Playwright's own event loop runs in this thread; the ORM is used between its calls, never inside them.
    with pytest.MonkeyPatch.context() as patch, sync_playwright() as playwright:
        patch.setenv("DJANGO_ALLOW_ASYNC_UNSAFE", "true")
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS, timeout=NEVER * 1000)
        yield browser
        browser.close()


@pytest.fixture
def open_page(chromium, live_server, project, browser):
    """open_page("annotator", "/p/kind/label/", width=390): a page of a fresh browser profile, signed in."""
    contexts = []

    def make(username: str | None, path: str, width: int = 1280, **options):
        context = chromium.new_context(viewport={"width": width, "height": 800}, **options)
        context.set_default_timeout(NEVER * 1000)
        contexts.append(context)
        if username:
            cookie = browser(username).cookies["sessionid"].value
            context.add_cookies([{"name": "sessionid", "value": cookie, "url": live_server.url}])
        page = context.new_page()
        page.complaints = []
        page.on("console", lambda message: message.type == "error" and page.complaints.append(message.text))
        page.on("pageerror", lambda error: page.complaints.append(str(error)))
        page.goto(live_server.url + path)
        return page

    yield make
    for context in contexts:
        context.close()
