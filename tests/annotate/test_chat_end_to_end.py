"""The chat with everything real: a served model of the registry, and a slow one that leaves the site fast."""

import http.client
import json
import re
import shutil
import sys
import threading
import time
from datetime import timedelta
from urllib.parse import urlencode

import pytest
from django.conf import settings
from django.utils import timezone

from annotate.chat.chats import choose, say, start_chat
from annotate.chat.endpoints import serve_model, stop_serving
from annotate.chat.pump import ReplyPump
from annotate.chat.serving import ModelServers
from annotate.datasets.snapshots import create_snapshot, dataset_path
from annotate.models import ChatEndpoint
from annotate.projects import update_project
from annotate.runs.registry import add_external
from tests.annotate.installation import Installation
from tests.chat_endpoint import fake_endpoint
from tests.servers import NEVER
from training import records

TURN = "6b4ff8ba-6d3c-4a4a-a0f4-0a7f8c0a3c01"
PEOPLE = 20
# What gunicorn says once it has its port.
LISTENS = re.compile(r"Listening at: http://127\.0\.0\.1:(\d+)")


@pytest.mark.django_db(transaction=True)
def test_a_served_model_streams_is_chosen_stored_and_exported(project, admin, ada, tmp_path):
    """`python -m training serve` with a tiny model, started by the worker's keeper, ended by the admin."""
    from tests.training.tiny import make_llama, save_tiny

    update_project(project, admin, chat=True)
    directory = settings.MODELS_DIR / "tiny-chat"
    save_tiny(directory, make_llama())
    model = add_external(project, "policy", "tiny", str(directory))
    endpoint = serve_model(model, admin, max_tokens=24)
    servers, pump = ModelServers("worker"), ReplyPump("worker")
    try:
        turn = say(ada, start_chat(project, ada).key, TURN, "Hello")
        give_up_at = time.monotonic() + 2 * NEVER
        while not all(reply.state == "done" for reply in turn.replies.all()):
            assert time.monotonic() < give_up_at, list(turn.replies.values())
            assert not turn.replies.filter(state="failed").exists(), list(turn.replies.values())
            servers.beat()
            pump.beat()
            time.sleep(0.1)
        assert {reply.generator for reply in turn.replies.all()} == {"tiny"}
        choose(ada, turn.key, 1)
        (line,) = records.read_records(dataset_path(create_snapshot(project, "preferences")), "preferences")
        chosen, rejected = turn.replies.order_by("side")
        assert (line.chosen, line.rejected) == (chosen.text, rejected.text)
        assert (line.group, line.messages) == (f"chat:{turn.chat_id}", [{"role": "user", "content": "Hello"}])

        (process,) = servers.processes.values()
        servers.beat(timezone.now() + timedelta(hours=1))
        assert [*servers.processes.values()] == [process], "a worker that was held up goes on with what it serves"
        stop_serving(endpoint, admin)
        servers.beat()
        assert process.poll() is not None
        endpoint.refresh_from_db()
        assert (endpoint.base_url, endpoint.server, endpoint.lease_until) == ("", "", None)
    finally:
        servers.stop()
        shutil.rmtree(directory)


@pytest.mark.django_db(transaction=True)
def test_a_model_that_cannot_be_served_says_why(project, admin):
    directory = settings.MODELS_DIR / "broken-chat"
    directory.mkdir(parents=True)
    (directory / "config.json").write_text("{}")
    (directory / "x.safetensors").write_bytes(b"none")
    try:
        endpoint = serve_model(add_external(project, "policy", "broken", str(directory)), admin)
        servers = ModelServers("worker")
        give_up_at = time.monotonic() + 2 * NEVER
        while ChatEndpoint.objects.get().served:
            assert time.monotonic() < give_up_at
            servers.beat()
            time.sleep(0.2)
        endpoint.refresh_from_db()
        assert "broken-chat" in endpoint.problem
        assert servers.processes == {}
    finally:
        shutil.rmtree(directory)


SEED = """
import json, uuid
from django.test import Client
from annotate.chat.chats import start_chat
from annotate.chat.endpoints import add_endpoint
from annotate.labeling.comparisons import *
from annotate.models import *
from annotate.projects import create_project, update_project
root = User.objects.create_user("root", is_staff=True)
project = create_project(root, name="Slow", slug="slow")
update_project(project, root, chat=True, must_acknowledge_guidelines=False)
add_endpoint(project, root, name="slow", base_url={address!r}, model_name="slow")
prompts = add_prompts(project, [[{{"role": "user", "content": str(n)}}] for n in range(50)]).rows
new = [NewResponse(prompt, text) for prompt in prompts for text in ("one", "two")]
rows = add_responses(project, new).rows
add_comparisons(project, [NewPair(one, other) for one, other in zip(rows[::2], rows[1::2])])
people = []
for number in range({people}):
    user = User.objects.create_user(f"person-{{number}}")
    Membership.objects.create(project=project, user=user, role="annotator")
    client = Client()
    client.force_login(user)
    people.append([client.cookies["sessionid"].value, str(start_chat(project, user).key)])
print(json.dumps(people))
"""


@pytest.mark.slow
def test_twenty_people_with_a_slow_model_leave_the_labeling_page_to_others(tmp_path):
    """A site of two threads, a worker, and a model that says nothing until it may: nobody else waits for it.

    If a request were held for a reply, two people would have taken both threads and the page would never come.
    """
    with fake_endpoint() as endpoint:
        endpoint.permits = threading.Semaphore(0)
        endpoint.answers = lambda messages, number: [f"{number}-{piece} " for piece in range(4)]
        installation = Installation(tmp_path)
        people = json.loads(installation.python(SEED.format(address=endpoint.base_url, people=PEOPLE)))
        try:
            site = [sys.executable, "-m", "gunicorn", "annotate.wsgi", "--bind", "127.0.0.1:0",
                    "--workers", "1", "--threads", "2"]  # fmt: skip
            installation.start(site)
            installation.start_worker()
            installation.wait_for("address", lambda: LISTENS.search(installation.log.read_text()))
            port = int(LISTENS.search(installation.log.read_text())[1])
            installation.wait_for("site", lambda: _answers(port))
            _get(port, people[0][0], "/p/slow/label/")
            talks = [threading.Thread(target=_talk, args=[port, *person]) for person in people]
            for talk in talks:
                talk.start()
            installation.wait_for("replies under way", lambda: endpoint.open >= 2 * PEOPLE)
            for _look in range(20):
                assert "response-a" in _get(port, people[0][0], "/p/slow/label/")
            assert endpoint.open == 2 * PEOPLE, "all of them wait all the while"
            endpoint.permits.release(2 * PEOPLE * 4)
            for talk in talks:
                talk.join(NEVER)
            assert not any(talk.is_alive() for talk in talks), "somebody never saw both answers"
        finally:
            installation.stop()


def _talk(port: int, session: str, chat: str) -> None:
    """As the page does it: says something, then looks once a second until both answers are there."""
    html = _get(port, session, f"/p/slow/chat/{chat}/")
    turn = re.search(r'name="turn" value="([^"]+)"', html)[1]
    token = re.search(r'name="csrfmiddlewaretoken" value="([^"]+)"', html)[1]
    cookie = _cookies.pop((port, session))
    said = {"turn": turn, "text": "Hello", "csrfmiddlewaretoken": token}
    _get(port, session, f"/p/slow/chat/{chat}/say/", said, cookie)
    while "rating" not in _get(port, session, f"/p/slow/chat/turns/{turn}/live/"):
        time.sleep(1)


_cookies: dict = {}


def _get(port: int, session: str, path: str, form: dict | None = None, token: str = "") -> str:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=NEVER)
    headers = {"Cookie": f"sessionid={session}" + (f"; csrftoken={token}" if token else "")}
    if form:
        headers["Content-Type"] = "application/x-www-form-urlencoded"
    connection.request("POST" if form else "GET", path, urlencode(form) if form else None, headers)
    response = connection.getresponse()
    if found := re.search(r"csrftoken=([^;]+)", response.headers.get("Set-Cookie") or ""):
        _cookies[port, session] = found[1]
    body = response.read().decode()
    connection.close()
    assert response.status in (200, 302), (response.status, path, body[:500])
    return body


def _answers(port: int) -> bool:
    try:
        return bool(_get(port, "nobody", "/login/"))
    except OSError:
        return False
