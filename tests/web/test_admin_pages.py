"""Projects, guidelines, people, uploads and datasets through their pages."""

import gzip
import hashlib
import io
import json

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import OperationalError
from django.test import override_settings

from annotate.models import Comparison, Dataset, Demonstration, GuidelineVersion, Judgment, Membership, Prompt, User
from annotate.projects import create_project

HUMAN = "\n\nHuman: Hi\n\nAssistant: "


def text(response) -> str:
    return response.content.decode()


def lines(*rows: dict) -> bytes:
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


def upload(client, what: str, content: bytes, name: str = "rows.jsonl"):
    return client.post("/p/kind/data/", {"what": what, "file": SimpleUploadedFile(name, content)})


def test_home_shows_each_person_their_projects(browser, pairs, project):
    pairs(4)
    annotator = text(browser("annotator").get("/"))
    assert "Kind answers" in annotator
    assert "0 of 4 judgments" in annotator
    assert 'href="/p/kind/label/"' in annotator
    assert 'href="/p/kind/"' not in annotator
    assert 'href="/p/kind/"' in text(browser("researcher").get("/"))
    assert "Nobody has added you" in text(browser("outsider").get("/"))
    assert "New project" in text(browser("root").get("/"))


def test_home_asks_as_often_for_many_projects_as_for_one(browser, django_assert_max_num_queries):
    root = User.objects.get(username="root")
    for number in range(8):
        create_project(root, name=f"Project {number}")
    client = browser("root")
    with django_assert_max_num_queries(7):
        client.get("/")


def test_the_overview_says_what_makes_sense_next(browser, pairs, project):
    client = browser("admin")
    empty = text(client.get("/p/kind/"))
    assert 'class="button primary" href="/p/kind/data/"' in empty
    pairs(4)
    assert 'class="button primary" href="/p/kind/label/"' in text(client.get("/p/kind/"))
    watching = text(browser("researcher").get("/p/kind/"))
    assert 'class="button primary"' not in watching.split("<main")[1]


def test_settings_are_saved_and_wrong_ones_told_at_their_field(browser, project):
    client = browser("admin")
    good = {"name": "Kinder", "description": "d", "judgments_wanted": 3, "lease_minutes": 10,
            "demonstrations_wanted": 1, "edit_last": 50, "qualification_questions": 5, "pause_after": 20,
            "qualification_pass": "80", "rate_per_hour": "18.50",
            "queue_policy": "breadth", "random_share": "25", "gold_share": "0"}
    assert client.post("/p/kind/settings/", good).status_code == 302
    project.refresh_from_db()
    assert (project.qualification_pass, project.pause_below_gold) == (0.8, None), "asked in percent, kept as a share"
    assert (project.queue_policy, project.random_share, project.gold_share) == ("breadth", 0.25, 0)
    assert 'value="80"' in client.get("/p/kind/settings/").content.decode()
    assert (project.name, project.judgments_wanted, project.lease_seconds) == ("Kinder", 3, 600)
    html = text(client.post("/p/kind/settings/", good | {"judgments_wanted": 51}))
    assert 'id="id_judgments_wanted_error"' in html
    project.refresh_from_db()
    assert project.judgments_wanted == 3


def test_two_admins_who_edit_the_guidelines_do_not_overwrite_each_other_unawares(browser, project):
    url, client = "/p/kind/guidelines/edit/", browser("root")
    before = project.guideline_versions.first().number
    assert f'name="based_on" value="{before}"' in text(client.get(url))
    sent = {"save": "yes", "based_on": str(before)}
    assert client.post(url, sent | {"text": "Hers."}).status_code == 302
    late = text(client.post(url, sent | {"text": "His."}))
    assert f"Somebody saved version {before + 1} while you were writing" in late and "His.</textarea>" in late
    assert project.guideline_versions.first().text == "Hers.\n"
    assert client.post(url, {"save": "yes", "based_on": str(before + 1), "text": "His."}).status_code == 302
    assert client.post(url, {"save": "yes", "based_on": "9" * 5000, "text": "His."}).status_code == 302
    assert project.guideline_versions.first().text == "His.\n"


def test_guidelines_preview_without_saving_and_versions_stay(browser, project):
    client = browser("admin")
    attack = "# Rules\n\n<script>alert(1)</script>"
    sent = {"text": attack, "preview": "yes"}
    preview = text(client.post("/p/kind/guidelines/edit/", sent, headers={"HX-Request": "true"}))
    assert "<h3>Rules</h3>" in preview
    assert "<script" not in preview
    whole = text(client.post("/p/kind/guidelines/edit/", sent))
    assert "<h3>Rules</h3>" in whole
    assert GuidelineVersion.objects.count() == 1
    client.post("/p/kind/guidelines/edit/", {"text": attack, "save": "yes"})
    assert GuidelineVersion.objects.count() == 2
    client.post("/p/kind/guidelines/edit/", {"text": attack, "save": "yes"})
    assert GuidelineVersion.objects.count() == 2, "the same text makes no version"
    assert "<h3>Rules</h3>" in text(browser("annotator").get("/p/kind/guidelines/"))
    assert "older version" in text(client.get("/p/kind/guidelines/1/"))
    assert "Text" in text(client.post("/p/kind/guidelines/edit/", {"text": "  ", "save": "yes"}))
    assert GuidelineVersion.objects.count() == 2


def test_people_are_added_changed_and_removed(browser, project):
    client = browser("admin")

    def roles() -> dict:
        return dict(Membership.objects.values_list("user__username", "role"))

    client.post("/p/kind/people/", {"do": "add", "username": "outsider", "role": "annotator"})
    assert roles()["outsider"] == "annotator"
    client.post("/p/kind/people/", {"do": "set", "username": "outsider", "role": "researcher"})
    assert roles()["outsider"] == "researcher"
    client.post("/p/kind/people/", {"do": "remove", "username": "outsider"})
    assert "outsider" not in roles()
    assert "no account named" in text(
        client.post("/p/kind/people/", {"do": "add", "username": "ghost", "role": "annotator"})
    )
    newcomer = {"do": "add", "username": "newcomer", "role": "annotator", "is_new": "on"}
    made = text(client.post("/p/kind/people/", newcomer))
    password = made.split("<code>")[1].split("</code>")[0]
    assert User.objects.get(username="newcomer").check_password(password)


def test_the_last_admin_stays(browser, project):
    client = browser("root")
    client.post("/p/kind/people/", {"do": "remove", "username": "admin"})
    html = text(client.post("/p/kind/people/", {"do": "remove", "username": "root"}, follow=True))
    assert "only admin" in html
    assert Membership.objects.filter(user__username="root").exists()


@pytest.mark.parametrize(
    ("what", "row", "model", "count"),
    [
        ("prompts", {"prompt": "Why?"}, Prompt, 1),
        ("comparisons", {"prompt": "Why?", "responses": [{"text": "a"}, {"text": "b"}, {"text": "c"}]}, Comparison, 3),
        ("preferences", {"prompt": "Why?", "chosen": "a", "rejected": "b"}, Judgment, 1),
        ("demonstrations", {"prompt": "Why?", "completion": "Because."}, Demonstration, 1),
        ("hh", {"chosen": f"{HUMAN}Hello", "rejected": f"{HUMAN}No"}, Judgment, 1),
    ],
)
def test_an_upload_lands_and_is_reported(browser, project, what, row, model, count):
    response = upload(browser("admin"), what, lines(row))
    assert response.status_code == 200
    assert "rows.jsonl is in" in text(response)
    assert model.objects.count() == count


def test_a_compressed_upload_lands(browser, project):
    packed = io.BytesIO()
    with gzip.open(packed, "wb") as file:
        file.write(lines({"prompt": "Why?"}))
    assert "is in" in text(upload(browser("admin"), "prompts", packed.getvalue(), "rows.jsonl.gz"))


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (lines({"prompt": "a"}, {"prompt": 7}), ["rows.jsonl, line 2", "prompt"]),
        (lines({"prompt": "a"}) + b"{broken\n", ["rows.jsonl, line 2"]),
        (lines({"prompt": "a"}, {"question": "b"}), ["rows.jsonl, line 2", "prompt"]),
        (b"", ["The submitted file is empty"]),
        (b"\xff\xfe\x00", ["rows.jsonl"]),
    ],
)
def test_a_wrong_upload_names_file_line_and_field_and_changes_nothing(browser, project, content, told):
    response = upload(browser("admin"), "prompts", content)
    assert response.status_code == 422
    html = text(response)
    for words in told:
        assert words in html
    assert not Prompt.objects.exists()


def test_an_uploads_name_cannot_run_in_the_page(browser, project):
    name = "<img src=x onerror=alert(1)>.jsonl"
    for content in (lines({"prompt": "a"}), b"{broken\n"):
        html = text(upload(browser("admin"), "prompts", content, name))
        assert "<img" not in html


def test_snapshots_are_made_listed_and_downloaded(browser, project):
    upload(browser("admin"), "preferences", lines({"prompt": "Why?", "chosen": "a", "rejected": "b"}))
    client = browser("researcher")
    client.post("/p/kind/datasets/", {"kind": "preferences", "votes": "majority", "note": "for the paper"})
    dataset = Dataset.objects.get()
    html = text(client.get("/p/kind/datasets/"))
    assert "one row per pair, by majority, 1 judgments" in html
    assert dataset.sha256 in html
    assert "for the paper" in html
    response = client.get(f"/p/kind/datasets/{dataset.pk}/download/jsonl/")
    body = b"".join(response.streaming_content)
    row = json.loads(body)
    assert row["chosen"][0]["content"] == "a"
    assert "kind-preferences-1.jsonl" in response["Content-Disposition"]
    assert hashlib.sha256(body).hexdigest() == dataset.sha256
    parquet = b"".join(client.get(f"/p/kind/datasets/{dataset.pk}/download/parquet/").streaming_content)
    assert parquet[:4] == b"PAR1"
    assert client.get(f"/p/kind/datasets/{dataset.pk}/download/exe/").status_code == 404


def test_a_password_is_changed(browser, project):
    client = browser("annotator")
    sent = {"old_password": "correct-horse", "new_password1": "battery-staple-9", "new_password2": "battery-staple-9"}
    assert client.post("/password/", sent | {"old_password": "wrong"}).status_code == 200
    assert client.post("/password/", sent).status_code == 302
    assert User.objects.get(username="annotator").check_password("battery-staple-9")
    assert client.get("/").status_code == 200, "still signed in"


@override_settings(DEBUG=False)
def test_error_pages_say_what_to_do(browser, project, monkeypatch):
    client = browser("annotator")
    missing = client.get("/p/nothing-here/")
    assert missing.status_code == 404
    assert "There is no such page" in text(missing)
    assert "You may not open this page" in text(client.get("/p/kind/settings/"))
    client.raise_request_exception = False
    monkeypatch.setattr("annotate.web.projects.access.projects_for", lambda user: 1 / 0)
    broken = client.get("/")
    assert broken.status_code == 500
    assert "Something broke on our side" in text(broken)


@override_settings(DEBUG=False)
def test_a_full_disk_is_said_in_plain_words(browser, project, monkeypatch):
    """The words are SQLite's; the statement that met them was rolled back."""

    def full(user):
        raise OperationalError("database or disk is full")

    client = browser("annotator")
    client.raise_request_exception = False
    monkeypatch.setattr("annotate.web.projects.access.projects_for", full)
    page = client.get("/")
    assert (page.status_code, "The disk of the server is full" in text(page)) == (507, True)
    asked = client.get("/api/projects/")
    assert (asked.status_code, asked.json()["detail"]) == (507, "The disk of the server is full. Nothing was saved.")
