"""The page of datasets while a worker makes one: asked for by a click, followed, and started from when it is ready."""

import re

import pytest

from annotate.background import claims, presence
from annotate.datasets import snapshots
from annotate.datasets.tasks import make_snapshot
from annotate.labeling.queue import reserve_next
from annotate.labeling.submit import submit_judgment
from annotate.models import Dataset, ModelVersion, User
from tests.web.conftest import CHROMIUM

DATASETS = "/p/kind/datasets/"
WISH = {"kind": "preferences", "votes": "majority"}


@pytest.fixture
def sent(monkeypatch, pairs, project):
    """Two judged pairs, which are many; gives the messages to the worker."""
    pairs(2)
    annotator = User.objects.get(username="annotator")
    for _ in range(2):
        submit_judgment(annotator, reserve_next(project, annotator).key, 1)
    sent = []
    monkeypatch.setattr(snapshots, "AT_ONCE", 0)
    monkeypatch.setattr(make_snapshot, "apply_async", lambda args, **_: sent.append(args[0]))
    monkeypatch.setattr("annotate.background.claims.transaction.on_commit", lambda send: send())
    return sent


@pytest.fixture
def researcher(browser):
    return browser("researcher")


def words(answer) -> str:
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", answer.content.decode()))


def look(client, html: str):
    """What the page of `html` asks by itself, seconds later."""
    address = re.search(r'hx-get="([^"]+)"', html).group(1)
    return client.get(address, headers={"HX-Request": "true"})


def test_from_the_click_to_the_form_of_a_run(browser, researcher, project, sent):
    presence.say(["default"])
    listed = researcher.post(DATASETS, WISH, follow=True)
    assert "a worker freezes them" in words(listed)
    html = listed.content.decode()
    dataset = Dataset.objects.get()
    assert sent == [dataset.pk] and f'id="dataset-{dataset.pk}"' in html
    assert "Waiting for a worker" in html and f"{dataset.pk}/download" not in html
    assert look(researcher, html).status_code == 204, "nothing new, so nothing on the page moves"

    mine = claims.claim(Dataset, dataset.pk)
    Dataset.objects.filter(pk=dataset.pk).update(rows=1000)
    under_way = look(researcher, html)
    assert "Being made" in words(under_way) and "1,000 so far" in words(under_way)
    assert "announcer" not in under_way.content.decode(), "said once it is ready, not at each step"

    ModelVersion.objects.create(project=project, kind="policy", name="starter", source="models/web-starter")
    form = browser("admin").get("/p/kind/runs/new/reward/").content.decode()
    assert "Preferences of the project, as of now" in form and "2 rows" not in form
    snapshots.make(mine)
    ready = look(researcher, under_way.content.decode())
    assert "Preferences 1 is ready and holds 2 rows." in words(ready)
    assert "hx-get" not in ready.content.decode() and f"{dataset.pk}/download/jsonl" in ready.content.decode()
    assert 'hx-swap-oob' in ready.content.decode()
    form = browser("admin").get("/p/kind/runs/new/reward/").content.decode()
    assert "Preferences 1: 2 rows" in form
    assert researcher.get(f"{DATASETS}{dataset.pk}/download/jsonl/").status_code == 200


def test_a_double_click_asks_once(researcher, sent):
    for _ in range(2):
        researcher.post(DATASETS, WISH | {"note": "for the paper"})
    dataset = Dataset.objects.get()
    assert sent == [dataset.pk]
    make_snapshot(dataset.pk)
    researcher.post(DATASETS, WISH | {"note": "for the paper"})
    make_snapshot(sent[1])
    assert snapshots.snapshots_of(dataset.project).count() == 1, "also where the first click was answered meanwhile"


def test_without_a_worker_the_page_says_so(researcher, sent):
    html = researcher.post(DATASETS, WISH, follow=True).content.decode()
    assert "No worker is running" in html
    assert look(researcher, html).status_code == 204
    presence.say(["default"])
    assert "Waiting for a worker" in words(look(researcher, html))


def test_a_failure_is_told_with_a_button_to_try_again(researcher, browser, sent, monkeypatch):
    def full(_):
        raise OSError(28, "No space left on device")

    html = researcher.post(DATASETS, WISH, follow=True).content.decode()
    with monkeypatch.context() as patch:
        patch.setattr("annotate.datasets.snapshots.os.fsync", full)
        make_snapshot(sent[0])
    told = look(researcher, html)
    assert "The snapshot could not be made. The disk is full" in words(told)
    assert "hx-get" not in told.content.decode()
    button = re.search(r'action="([^"]+/again/)"', told.content.decode()).group(1)
    assert button in researcher.get(DATASETS).content.decode()
    assert browser("annotator").post(button).status_code == 403
    again = researcher.post(button, follow=True)
    assert "No worker is running" in words(again) and sent == [sent[0]] * 2
    assert researcher.post(button).status_code == 404, "it is being made already"


def test_nothing_new_leads_to_the_snapshot_that_is_there(researcher, sent):
    researcher.post(DATASETS, WISH)
    make_snapshot(sent[0])
    html = researcher.post(DATASETS, WISH, follow=True).content.decode()
    make_snapshot(sent[1])
    told = look(researcher, html)
    assert "Nothing has changed since Preferences 1, so that is your snapshot." in words(told)
    assert f'href="#dataset-{sent[0]}"' in told.content.decode()
    assert f"dataset-{sent[1]}" not in researcher.get(DATASETS).content.decode()


def test_without_script_a_reload_shows_it(researcher, sent):
    html = researcher.post(DATASETS, WISH, follow=True).content.decode()
    assert re.search(r"<noscript><a href=\"/p/kind/datasets/\">Look again</a></noscript>", html)
    make_snapshot(sent[0])
    assert "Preferences 1" in words(researcher.get(DATASETS))


@pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium")
@pytest.mark.django_db(transaction=True)
@pytest.mark.slow
def test_the_row_becomes_ready_by_itself_and_is_announced(open_page, sent):
    presence.say(["default"])
    page = open_page("researcher", DATASETS)
    page.get_by_role("button", name="Make a snapshot").click()
    row = page.get_by_role("row", name="Preferences")
    row.get_by_text("Waiting for a worker").wait_for()
    make_snapshot(sent[0])
    row.get_by_role("link", name="JSONL").wait_for()
    assert page.locator("#announcer").inner_text() == "Preferences 1 is ready and holds 2 rows."
    assert page.locator("tbody tr").count() == 1
    assert not page.complaints
