"""The REST side: the same services, the same refusals, no generator in an annotator's answers."""

import io
import json

import pytest
from rest_framework.test import APIClient

from annotate.api import urls as api_urls
from annotate.labeling.comparisons import NewResponse, add_prompts, add_rankings, add_responses, ranking_of
from annotate.models import Comparison, Judgment, Prompt, Response, Slot, User

pytestmark = pytest.mark.django_db


@pytest.fixture
def api():
    """A client for a person: api(ada).post("next/") is below the project's address."""

    class Client(APIClient):
        def generic(self, method, path, *args, **kwargs):
            address = path if path.startswith("/") else f"/api/projects/kind/{path}"
            return super().generic(method, address, *args, **kwargs)

    def make(user=None) -> APIClient:
        client = Client()
        if user is not None:
            client.force_login(user)
        return client

    return make


def upload(text: str, name: str = "f.jsonl") -> io.BytesIO:
    file = io.BytesIO(text.encode())
    file.name = name
    return file


def test_a_whole_session_of_labeling(api, ada, pairs):
    pairs(2)
    client = api(ada)
    answer = client.post("next/").json()
    assert set(answer["pair"]) == {"key", "prompt", "kind", "a", "b", "responses", "lease_until"}
    assert answer["pair"]["prompt"] == [{"role": "user", "content": "Question 0"}]
    assert answer["state"]["total_wanted"] == 2
    key = answer["pair"]["key"]
    ahead = client.post("next/", {"exclude": [key]}, format="json").json()["pair"]
    assert ahead["key"] != key
    assert client.post(f"reservations/{key}/renew/").json() == {"held": True}

    body = {"key": key, "rating": 4, "helpful": -1, "note": "B"}
    first, second = (client.post("judgments/", body, format="json") for _ in range(2))
    assert (first.status_code, first.json()) == (200, second.json())
    assert first.json()["extra"] is False
    judgment = Judgment.objects.get()
    assert judgment.winner.text == answer["pair"]["b"]

    assert client.post("skips/", {"key": ahead["key"], "reason": "other"}, format="json").status_code == 200
    answer = client.post("next/").json()
    assert answer["pair"] is None
    assert (answer["state"]["judged"], answer["state"]["skipped"]) == (1, 1)


def test_a_ranking_is_judged_and_changed(api, ada, project):
    (prompt,) = add_prompts(project, [[{"role": "user", "content": "Rank"}]]).rows
    written = add_responses(project, [NewResponse(prompt, text, "m") for text in "wxyz"]).rows
    add_rankings(project, [ranking_of(written)])
    client = api(ada)
    shown = client.post("next/").json()["pair"]
    assert (shown["kind"], shown["a"], sorted(shown["responses"])) == ("ranking", None, list("wxyz"))
    body = {"key": shown["key"], "ranks": [1, 2, 3, 4], "flags": [["opinion"], [], [], []], "overall": [7, None, 4, 1]}
    first = client.post("judgments/", body, format="json").json()
    assert (first["rating"], first["version"]) == (None, 1)
    assert client.post("judgments/", body | {"flags": [["rude"]]}, format="json").status_code == 400
    edited = client.put(f"judgments/{first['id']}/", {"ranks": [2, 1, 3, 4]}, format="json").json()
    assert edited["version"] == 2 and edited["changed_at"]
    assert [row.rank for row in Judgment.objects.get().assessments.all()] == [2, 1, 3, 4]
    refused = client.put(f"judgments/{first['id'] + 1}/", {"ranks": [1, 2, 3, 4]}, format="json")
    assert (refused.status_code, "no such" in refused.json()["detail"]) == (400, True)


def test_a_released_pair_is_free_again(api, ada, pairs):
    pairs(1)
    key = api(ada).post("next/").json()["pair"]["key"]
    assert api(ada).post(f"reservations/{key}/release/").status_code == 204
    assert Slot.objects.get().holder is None


def test_generators_and_ids_never_reach_an_annotator(api, ada, pairs):
    pairs(1)
    client = api(ada)
    shown = client.post("next/").content.decode()
    key = json.loads(shown)["pair"]["key"]
    stored = client.post("judgments/", {"key": key, "rating": 1}, format="json").content.decode()
    for answer in (shown, stored):
        assert "policy-1" not in answer and "policy-2" not in answer and "comparison" not in answer
    assert Response.objects.filter(generator="policy-1").exists()


def test_errors_name_the_field(api, ada, pairs):
    pairs(1)
    client = api(ada)
    key = client.post("next/").json()["pair"]["key"]
    answer = client.post("judgments/", {"key": key, "rating": 9}, format="json")
    assert (answer.status_code, answer.json()["field"]) == (400, "rating")
    assert client.post("judgments/", {"key": key}, format="json").json()["field"] == "rating"
    assert client.post("judgments/", {"key": "x", "rating": 1}, format="json").status_code == 400
    assert client.post("skips/", {"key": key, "reason": "lazy"}, format="json").status_code == 400
    assert not Judgment.objects.exists()


def test_who_gets_in_where(api, admin, person, project):
    """Method and address, and the status for a stranger to all, an outsider, an annotator, a researcher, an admin."""
    people = [
        None, User.objects.create_user("outsider"), person("a"), person("r", "researcher"), person("ad", "admin"),
    ]  # fmt: skip
    expected = {
        ("get", "/api/projects/"): [403, 200, 200, 200, 200],
        ("post", "/api/projects/"): [403, 400, 400, 400, 400],
        ("get", ""): [403, 403, 200, 200, 200],
        ("patch", ""): [403, 403, 403, 403, 200],
        ("get", "guidelines/"): [403, 403, 200, 200, 200],
        ("put", "guidelines/"): [403, 403, 403, 403, 400],
        ("get", "members/"): [403, 403, 403, 403, 200],
        ("post", "members/"): [403, 403, 403, 403, 400],
        ("delete", "members/nobody/"): [403, 403, 403, 403, 404],
        ("post", "next/"): [403, 403, 200, 403, 200],
        ("post", "judgments/"): [403, 403, 400, 403, 400],
        ("post", "skips/"): [403, 403, 400, 403, 400],
        ("get", "comparisons/"): [403, 403, 403, 200, 200],
        ("get", "comparisons/1/"): [403, 403, 403, 404, 404],
        ("patch", "comparisons/1/"): [403, 403, 403, 403, 404],
        ("get", "leaks/"): [403, 403, 403, 403, 200],
        ("post", "leaks/"): [403, 403, 403, 403, 200],
        ("patch", "leaks/"): [403, 403, 403, 403, 400],
        ("patch", "leaks/1/"): [403, 403, 403, 403, 400],
        ("post", "imports/"): [403, 403, 403, 403, 415],
        ("get", "datasets/"): [403, 403, 403, 200, 200],
        ("post", "datasets/"): [403, 403, 403, 400, 400],
        ("get", "datasets/1/"): [403, 403, 403, 404, 404],
        ("get", "datasets/1/jsonl/"): [403, 403, 403, 404, 404],
        ("get", "runs/"): [403, 403, 403, 200, 200],
        ("post", "runs/"): [403, 403, 403, 403, 400],
        ("get", "runs/1/"): [403, 403, 403, 404, 404],
        ("post", "runs/1/cancel/"): [403, 403, 403, 403, 404],
        ("post", "runs/1/resume/"): [403, 403, 403, 403, 404],
        ("post", "runs/1/retry/"): [403, 403, 403, 403, 404],
        ("get", "models/"): [403, 403, 403, 200, 200],
        ("post", "models/"): [403, 403, 403, 403, 400],
        ("post", "models/1/promote/"): [403, 403, 403, 403, 404],
        ("get", "rounds/"): [403, 403, 403, 200, 200],
        ("post", "rounds/"): [403, 403, 403, 403, 400],
    }
    found = {
        (method, path): [
            getattr(api(user), method)(path, *([] if method == "get" else [{}]), format="json").status_code
            for user in people
        ]
        for method, path in expected
    }
    assert found == expected


def test_basic_authentication_for_scripts(project, pairs):
    ada = User.objects.create_user("ada", password="correct horse battery")
    project.memberships.create(user=ada, role="annotator")
    client = APIClient()
    client.credentials(HTTP_AUTHORIZATION="Basic YWRhOmNvcnJlY3QgaG9yc2UgYmF0dGVyeQ==")
    assert client.post("/api/projects/kind/next/").status_code == 200


def test_a_browsers_session_needs_the_csrf_token(ada):
    client = APIClient(enforce_csrf_checks=True)
    client.force_login(ada)
    assert client.post("/api/projects/kind/next/").status_code == 403


def test_projects_guidelines_and_people(api, admin):
    client = api(admin)
    made = client.post("/api/projects/", {"name": "New one", "judgments_wanted": 3}, format="json")
    assert (made.status_code, made.json()["slug"]) == (201, "new-one")
    base = "/api/projects/new-one/"
    assert client.patch(base, {"judgments_wanted": 2}, format="json").json()["judgments_wanted"] == 2
    assert client.patch(base, {"judgments_wanted": 99}, format="json").json()["field"] == "judgments_wanted"
    assert client.get(f"{base}guidelines/").json()["number"] == 1
    assert client.put(f"{base}guidelines/", {"text": "Be kind."}, format="json").json()["number"] == 2
    User.objects.create_user("ben")
    added = client.post(f"{base}members/", {"username": "ben", "role": "researcher"}, format="json")
    assert added.json() == {"username": "ben", "role": "researcher"}
    assert client.get(f"{base}members/").json()["count"] == 2
    assert client.delete(f"{base}members/ben/").status_code == 204
    assert client.delete(f"{base}members/root/").json()["field"] == "username"


def test_one_comparison_wants_another_number_of_judgments(api, admin, ada, ben, pairs):
    pairs(2)
    client = api(admin)
    newest, oldest = client.get("comparisons/").json()["results"]
    assert (newest["prompt"][0]["content"], newest["judgments_wanted"], newest["judged"]) == ("Question 1", 1, 0)
    changed = client.patch(f"comparisons/{oldest['id']}/", {"wanted": 2}, format="json")
    assert (changed.status_code, changed.json()["judgments_wanted"]) == (200, 2)
    different = client.get("comparisons/", {"shown": "different"}).json()["results"]
    assert [row["id"] for row in different] == [oldest["id"]]
    assert client.patch(f"comparisons/{oldest['id']}/", {"wanted": 51}, format="json").json()["field"] == "wanted"

    for person in (ada, ben):
        key = api(person).post("next/").json()["pair"]["key"]
        api(person).post("judgments/", {"key": key, "rating": 1}, format="json")
    assert client.get(f"comparisons/{newest['id']}/").json()["judged"] == 1
    assert client.get(f"comparisons/{oldest['id']}/").json()["judged"] == 1
    still_open = client.get("comparisons/", {"shown": "open"}).json()["results"]
    assert [row["id"] for row in still_open] == [oldest["id"]], "it waits for its second judgment"


def test_leaks_are_decided_and_held_back(api, admin, project):
    (prompt,) = add_prompts(project, [[{"role": "user", "content": "Tides?"}]]).rows
    add_responses(project, [NewResponse(prompt, "I am ChatGPT: the Moon.", "secret")])
    Response.objects.update(leaks=[], leak_state="", leaks_checked_at=None)
    client = api(admin)
    assert client.post("leaks/").json() == {"found": 1, "unchecked": 0}
    (leak,) = client.get("leaks/").json()["results"]
    assert (leak["leaks"], leak["state"], leak["generator"]) == (["I am ChatGPT"], "found", "secret")
    assert client.patch("leaks/", {"hold": True}, format="json").json() == {"hold": True}
    project.refresh_from_db()
    assert project.hold_leaks
    answer = client.patch(f"leaks/{leak['id']}/", {"state": "left_out"}, format="json")
    assert answer.json()["state"] == "left_out" and client.get("leaks/").json()["count"] == 0
    assert client.patch(f"leaks/{leak['id']}/", {"state": "burnt"}, format="json").status_code == 400


def test_upload_snapshot_and_download(api, admin, project):
    client = api(admin)
    line = json.dumps({"prompt": "P", "chosen": "a", "rejected": "b"})
    answer = client.post("imports/", {"file": upload(f"{line}\n"), "kind": "preferences"}, format="multipart")
    assert (answer.json()["judgments"], answer.json()["skipped_because"]) == (1, {})
    assert Judgment.objects.get().annotator.username == "import:f"

    made = client.post("datasets/", {"kind": "preferences"}, format="json").json()
    assert (made["rows"], made["facts"]["votes"]) == (1, "majority")
    assert client.get("datasets/").json()["results"] == [made] == [client.get(f"datasets/{made['id']}/").json()]
    download = client.get(f"datasets/{made['id']}/jsonl/")
    assert json.loads(b"".join(download.streaming_content))["chosen"][0]["content"] == "a"
    assert download["Content-Disposition"] == 'attachment; filename="kind-preferences-1.jsonl"'
    assert client.get(f"datasets/{made['id']}/parquet/").status_code == 200
    assert client.get(f"datasets/{made['id']}/docx/").json()["field"] == "format"


def test_a_malformed_upload_names_file_line_and_field_and_changes_nothing(api, admin, project):
    text = '{"prompt": "P", "responses": ["a", "b"]}\n{"prompt": "P", "responses": []}\n'
    body = {"file": upload(text, "mine.jsonl"), "kind": "comparisons"}
    answer = api(admin).post("imports/", body, format="multipart")
    assert answer.status_code == 400
    for part in ("mine.jsonl", "line 2", "responses"):
        assert part in answer.json()["detail"]
    assert not Prompt.objects.exists() and not Comparison.objects.exists()


def test_runs_models_and_rounds(api, admin, project, tmp_path):
    """From the API to the row; how a run goes on is tested with the runs."""
    client = api(admin)
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "model.safetensors").write_bytes(b"")
    given = {"kind": "policy", "name": "base", "source": str(tmp_path)}
    model = client.post("models/", given, format="json").json()
    assert client.post("models/", given, format="json").json()["field"] == "name"
    assert client.post(f"models/{model['id']}/promote/").status_code == 204
    project.refresh_from_db()
    assert project.policy_id == model["id"]

    refused = client.post("runs/", {"recipe": "dpo"}, format="json")
    assert (refused.status_code, refused.json()["field"]) == (400, "dataset")
    line = json.dumps({"prompt": "P", "chosen": "a", "rejected": "b"})
    client.post("imports/", {"file": upload(line), "kind": "preferences"}, format="multipart")
    wrong = client.post("runs/", {"recipe": "dpo", "params": {"beta": "much"}}, format="json")
    assert wrong.json()["field"] == "beta"
    run = client.post("runs/", {"recipe": "dpo", "params": {"beta": 0.2}}, format="json").json()
    assert (run["state"], run["params"]["beta"], run["base_model"]) == ("queued", 0.2, model["id"])
    assert client.get("runs/").json()["count"] == 1
    detail = client.get(f"runs/{run['id']}/?after=0").json()
    assert (detail["run"]["id"], detail["view"]["finished"]) == (run["id"], False)
    assert client.get(f"runs/{run['id']}/?after=x").status_code == 400
    assert client.post(f"runs/{run['id']}/retry/").status_code == 400
    assert client.post(f"runs/{run['id']}/cancel/").json()["state"] == "cancelled"
    assert client.post(f"runs/{run['id']}/resume/").json()["state"] == "queued"

    client.post("imports/", {"file": upload('{"prompt": "Q"}'), "kind": "prompts"}, format="multipart")
    opened = client.post("rounds/", {"prompts": 1}, format="json")
    assert (opened.status_code, opened.json()["policy"]) == (201, model["id"])
    assert client.get("rounds/").json()["results"][0]["number"] == 1


def test_models_and_datasets_of_other_projects_are_unknown(api, admin, project):
    from annotate.models import ModelVersion
    from annotate.projects import create_project

    other = create_project(admin, name="Other")
    foreign = ModelVersion.objects.create(project=other, kind="policy", name="secret", source="a/b")
    answer = api(admin).post("runs/", {"recipe": "dpo", "base_model": foreign.pk}, format="json")
    assert answer.status_code == 400
    assert "base_model" in answer.json() and "secret" not in answer.content.decode()


def test_the_reference_for_people_names_every_operation(client, admin):
    client.force_login(admin)
    html = client.get("/api/").content.decode()
    schema = client.get("/api/schema/", HTTP_ACCEPT="application/vnd.oai.openapi+json").json()
    assert html.count('class="method"') == sum(len(path) for path in schema["paths"].values())
    judgment = html[html.index("…/judgments/</code>") :].split("</tr>")[0]
    assert "Stores a judgment." in judgment and '<code class="required">key</code>' in judgment


def test_the_schema_is_openapi_and_describes_every_address(api, admin, capfd):
    schema = api(admin).get("/api/schema/", HTTP_ACCEPT="application/vnd.oai.openapi+json").json()
    assert "Warning" not in capfd.readouterr().err, "two operations or two sets of choices under one name"
    assert schema["openapi"].startswith("3.")
    addresses = api_urls._project
    # Below a project, and the list of projects itself.
    assert len(schema["paths"]) == len(addresses) + 1
    said = [operation.get("description", "") for path in schema["paths"].values() for operation in path.values()]
    assert all(said)
    assert not [text for text in said if "self." in text]  # what is meant for us, not for those who call
    pair = schema["components"]["schemas"]["Pair"]["properties"]
    assert set(pair) == {"key", "prompt", "kind", "a", "b", "responses", "lease_until"}
