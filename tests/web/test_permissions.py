"""Every page asks who is looking: one table of pages and people."""

import pytest
from django.test import Client
from django.urls import reverse

from annotate.chat.endpoints import add_endpoint
from annotate.datasets.snapshots import create_snapshot
from annotate.demonstrations.writing import next_writing, submit_demonstration
from annotate.labeling.comparisons import add_prompts
from annotate.models import Dataset, GoldQuestion, ModelVersion, Run, User
from annotate.projects import create_project, update_project
from annotate.urls import project_urls

PEOPLE = ("admin", "researcher", "annotator", "outsider")
EVERYBODY, LABELING, RESULTS, ADMINS = (
    {"admin", "researcher", "annotator"},
    {"admin", "annotator"},
    {"admin", "researcher"},
    {"admin"},
)

NOBODYS_KEY = "6b4ff8ba-6d3c-4a4a-a0f4-0a7f8c0a3c11"

# Address name, its further arguments, and who may open it.
PAGES = [
    ("project", [], RESULTS),
    ("label", [], LABELING),
    ("label_history", [], LABELING),
    ("guidelines", [], EVERYBODY),
    ("guidelines_version", [1], EVERYBODY),
    ("guidelines_changes", [2], EVERYBODY),
    ("guidelines_edit", [], ADMINS),
    ("data", [], ADMINS),
    ("leaks", [], ADMINS),
    ("comparisons", [], RESULTS),
    ("datasets", [], RESULTS),
    ("dataset_row", ["{dataset}"], RESULTS),
    ("dataset_download", ["{dataset}", "jsonl"], RESULTS),
    ("runs", [], RESULTS),
    ("run_new", ["reward"], ADMINS),
    ("run", ["{run}"], RESULTS),
    ("run_live", ["{run}"], RESULTS),
    ("run_series", ["{run}"], RESULTS),
    ("models", [], RESULTS),
    ("rounds", [], RESULTS),
    ("quality", [], RESULTS),
    ("adjudication", [], RESULTS),
    ("adjudicate", ["{comparison}"], RESULTS),
    ("gold", [], ADMINS),
    ("throughput", [], ADMINS),
    ("my_progress", [], LABELING),
    ("round_new", [], ADMINS),
    ("people", [], ADMINS),
    ("settings", [], ADMINS),
    ("write", [], LABELING),
    ("write_own", [], LABELING),
    ("demonstrations_mine", [], LABELING),
    ("demonstrations", [], RESULTS),
    ("demonstration_review", ["{demonstration}"], RESULTS),
    ("chat", [], LABELING),
    ("chat_models", [], ADMINS),
]
# Addresses that only take POST, and who may send.
ACTIONS = [
    ("label", [], LABELING),
    ("label_skip", [], LABELING),
    ("label_ahead", [], LABELING),
    ("label_release", [], LABELING),
    ("label_renew", ["6b4ff8ba-6d3c-4a4a-a0f4-0a7f8c0a3c11"], LABELING),
    ("label_acknowledge", [], LABELING),
    ("label_judgment", [1], LABELING),
    ("label_edit", [1], LABELING),
    ("adjudicate", ["{comparison}"], RESULTS),
    ("gold", [], ADMINS),
    ("gold_change", ["{question}"], ADMINS),
    ("guidelines_edit", [], ADMINS),
    ("data", [], ADMINS),
    ("leaks", [], ADMINS),
    ("leak_review", [1], ADMINS),
    ("comparison_change", ["{comparison}"], ADMINS),
    ("datasets", [], RESULTS),
    ("dataset_again", ["{dataset}"], RESULTS),
    ("run_new", ["reward"], ADMINS),
    ("run_act", ["{run}", "cancel"], ADMINS),
    ("model_promote", ["{model}"], ADMINS),
    ("round_new", [], ADMINS),
    ("people", [], ADMINS),
    ("settings", [], ADMINS),
    ("write", [], LABELING),
    ("write_own", [], LABELING),
    ("write_draft", [], LABELING),
    ("write_skip", [], LABELING),
    ("demonstration_revise", ["{demonstration}"], LABELING),
    ("demonstration_review", ["{demonstration}"], RESULTS),
    ("chat", [], LABELING),
    *[(f"chat_{name}", [NOBODYS_KEY], LABELING) for name in ("say", "draft", "end", "choose", "retry", "show", "live")],
    ("chat_models", [], ADMINS),
    ("chat_model_act", ["{endpoint}", "disable"], ADMINS),
    ("model_serve", ["{model}"], ADMINS),
]


@pytest.fixture
def rows(project, pairs):
    """One row of everything that has a page of its own."""
    judged, known = pairs(2, prompt="Row")
    question = GoldQuestion.objects.create(comparison=known, expected=known.first)
    project.guideline_versions.create(number=2, text="A second version.")
    model = ModelVersion.objects.create(project=project, kind="policy", name="starter", source="models/none")
    run = Run.objects.create(project=project, recipe="sft", base_model=model)
    dataset = create_snapshot(project, Dataset.Kind.PROMPTS)
    staff = User.objects.get(username="root")
    update_project(project, staff, writing=True)
    add_prompts(project, [[{"role": "user", "content": "To be answered"}]], in_pool=True)
    written = submit_demonstration(staff, next_writing(project, staff).key, "An answer.")
    endpoint = add_endpoint(project, staff, name="one", base_url="http://127.0.0.1:9/v1", model_name="one")
    return {
        "model": model.pk, "run": run.pk, "dataset": dataset.pk, "demonstration": written.pk,
        "comparison": judged.pk, "question": question.pk, "endpoint": endpoint.pk,
    }  # fmt: skip


def address(name: str, arguments: list, rows: dict) -> str:
    filled = [argument.format(**rows) if isinstance(argument, str) else argument for argument in arguments]
    return reverse(name, args=["kind", *filled])


def test_the_table_names_every_page_of_a_project():
    assert {name for name, *_ in PAGES + ACTIONS} == {pattern.name for pattern in project_urls}


def test_pages_open_for_whom_they_should(browser, pairs, rows):
    pairs(1)
    for person in PEOPLE:
        client = browser(person)
        for name, arguments, allowed in PAGES:
            status = client.get(address(name, arguments, rows)).status_code
            assert status == (200 if person in allowed else 403), f"{person} opens {name}: {status}"


def test_actions_are_refused_to_whom_they_should(browser, rows):
    for person in PEOPLE:
        client = browser(person)
        for name, arguments, allowed in ACTIONS:
            status = client.post(address(name, arguments, rows)).status_code
            assert (status == 403) == (person not in allowed), f"{person} posts to {name}: {status}"


def test_a_stranger_is_sent_to_the_login_page_and_back(browser, rows):
    client = browser(None)
    for name, arguments, _ in PAGES:
        url = address(name, arguments, rows)
        response = client.get(url)
        assert (response.status_code, response.url) == (302, f"/login/?next={url}")
    response = client.post("/login/?next=/p/kind/label/", {"username": "annotator", "password": "correct-horse",
                                                           "next": "/p/kind/label/"})  # fmt: skip
    assert response.url == "/p/kind/label/"


def test_login_never_leads_to_another_site(browser):
    response = browser(None).post(
        "/login/", {"username": "annotator", "password": "correct-horse", "next": "https://evil.example/"}
    )
    assert response.url == "/"


def test_only_staff_make_projects(browser):
    assert browser("admin").get("/projects/new/").status_code == 403
    client = browser("root")
    response = client.post("/projects/new/", {"name": "New one", "judgments_wanted": 1, "lease_minutes": 30})
    assert response.url == "/p/new-one/"


def test_another_projects_rows_are_not_found(browser, rows, project):
    create_project(User.objects.get(username="root"), name="Other", slug="other")
    client = browser("root")
    for name, key in (("run", "run"), ("run_live", "run"), ("run_series", "run")):
        assert client.get(reverse(name, args=["other", rows[key]])).status_code == 404
    assert client.get(reverse("dataset_download", args=["other", rows["dataset"], "jsonl"])).status_code == 404
    assert client.post(reverse("model_promote", args=["other", rows["model"]])).status_code == 404
    assert client.post(reverse("run_act", args=["other", rows["run"], "cancel"])).status_code == 404


def test_forms_are_refused_without_their_token(project):
    client = Client(enforce_csrf_checks=True)
    client.force_login(User.objects.get(username="annotator"))
    response = client.post("/p/kind/label/", {"rating": 1})
    assert response.status_code == 403
    assert "Nothing was saved" in response.content.decode()


def test_every_answer_carries_the_content_security_policy(browser):
    for path in ("/login/", "/nowhere/"):
        policy = browser(None).get(path)["Content-Security-Policy"]
        assert "default-src 'self'" in policy
        assert "unsafe-inline" not in policy
