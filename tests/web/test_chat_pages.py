"""The chat's pages: blind, without a wait for models, and nothing is lost where one fails."""

import re
import time

import pytest
from django.utils.html import escape
from rest_framework.test import APIClient

from annotate.chat.endpoints import add_endpoint
from annotate.chat.pump import ReplyPump
from annotate.models import Chat, ChatEndpoint, ChatReply, Judgment, ModelVersion, User
from annotate.projects import update_project
from tests.chat_endpoint import fake_endpoint

pytestmark = pytest.mark.django_db(transaction=True)

HTMX = {"HX-Request": "true"}
URL = "/p/kind/chat/"


@pytest.fixture
def endpoint():
    with fake_endpoint() as running:
        yield running


@pytest.fixture
def chatting(project, endpoint):
    staff = User.objects.get(username="root")
    update_project(project, staff, chat=True)
    for name in ("secret-one", "secret-two"):
        add_endpoint(project, staff, name=name, base_url=endpoint.base_url, model_name=name)
    return project


def text(response) -> str:
    return response.content.decode()


def fetch():
    pump = ReplyPump("worker")
    while pump.beat() or ChatReply.objects.filter(state__in=["queued", "running"]).exists():
        time.sleep(0.02)


def start(client, words="Hello <b>") -> tuple[str, str]:
    """(address of the conversation, its page after the first turn)."""
    page = client.post(URL, {"key": "6b4ff8ba-6d3c-4a4a-a0f4-0a7f8c0a3c11"}, follow=True)
    address = page.redirect_chain[-1][0]
    return address, say(client, address, text(page), words)


def say(client, address, html, words) -> str:
    key = re.search(r'name="turn" value="([^"]+)"', html)[1]
    return text(client.post(f"{address}say/", {"turn": key, "text": words}, follow=True))


def turn_of(html) -> str:
    return re.search(r"/chat/turns/([^/]+)/choose/", html)[1]


def test_written_answered_chosen_and_gone_on(browser, chatting, endpoint):
    client = browser("annotator")
    address, html = start(client)
    assert escape("Hello <b>") in html
    assert "Waiting for the first words" in html
    live = re.search(r'hx-get="([^"]+)" hx-trigger="every 1s"', html)[1]
    assert client.get(live, headers=HTMX).status_code == 204, "nothing new, nothing sent"
    fetch()
    part = text(client.get(live, headers=HTMX))
    assert "every 1s" not in part, "all is there: the page stops asking"
    assert "Both answers are there." in part
    assert part.index('id="response-a"') < part.index("Reply") < part.index('id="response-b"')
    turn = turn_of(part)
    page = text(client.post(f"{URL}turns/{turn}/choose/", {"rating": "3", "note": "kinder"}, follow=True))
    judgment = Judgment.objects.get()
    assert (judgment.rating, judgment.note) == (3, "kinder")
    assert escape(judgment.winner.text.split("<")[0]) in page
    assert "Go on" in page
    assert "wait" not in say(client, address, page, "And then?").split("<main")[0]
    assert Chat.objects.get().turns.count() == 2


def test_no_page_names_a_model(browser, chatting, endpoint):
    client = browser("annotator")
    endpoint.plan = ["400", "ok"]
    address, html = start(client)
    pages = [html]
    fetch()
    pages += [text(client.get(address)), text(client.get(f"{URL}turns/{turn_of(html)}/live/", headers=HTMX))]
    client.post(f"{URL}turns/{turn_of(html)}/retry/")
    fetch()
    pages += [text(client.get(address))]
    client.post(f"{URL}turns/{turn_of(html)}/choose/", {"rating": "1"})
    api = APIClient()
    api.force_login(User.objects.get(username="annotator"))
    key = Chat.objects.get().key
    pages += [text(client.get(address)), text(client.get(URL)), text(api.get(f"/api/projects/kind/chats/{key}/"))]
    ids = {str(endpoint.pk) for endpoint in ChatEndpoint.objects.all()}
    for page in pages:
        assert "secret" not in page
        assert "127.0.0.1" not in page
        assert not ids & set(re.findall(r'"endpoint[^>]*?(\d+)', page))
    assert Judgment.objects.get().winner.generator.startswith("secret-")


def test_a_failure_is_said_and_asked_again(browser, chatting, endpoint):
    endpoint.plan = ["400", "400"]
    client = browser("annotator")
    address, html = start(client)
    fetch()
    html = text(client.get(address))
    assert escape("The model’s server answered with an error.") in html
    assert "Ask again" in html
    html = text(client.post(f"{URL}turns/{turn_of(html)}/retry/", follow=True))
    assert "Ask again" not in html
    fetch()
    assert "Go on with it" in text(client.get(address))
    admin = browser("admin")
    assert "secret-one" in text(admin.get(f"{URL}models/"))


def test_what_was_sent_stays_where_it_is_refused(browser, chatting):
    client = browser("annotator")
    address, html = start(client)
    fetch()
    refused = client.post(f"{URL}turns/{turn_of(html)}/choose/", {"note": "my reason"})
    assert (refused.status_code, "my reason" in text(refused)) == (422, True)
    long = "x" * 20_001
    client.post(f"{URL}turns/{turn_of(html)}/choose/", {"rating": "1"})
    page = text(client.get(address))
    assert long in say(client, address, page, long)


def test_a_draft_is_kept_and_a_conversation_taken_up_again(browser, chatting):
    client = browser("annotator")
    client.post(URL, {"key": "6b4ff8ba-6d3c-4a4a-a0f4-0a7f8c0a3c11"})
    address = f"{URL}6b4ff8ba-6d3c-4a4a-a0f4-0a7f8c0a3c11/"
    assert client.post(f"{address}draft/", {"text": "Half a"}, headers=HTMX).status_code == 204
    assert "Half a</textarea>" in text(client.get(address))
    client.post(f"{address}end/")
    assert "Take it up again" in text(client.get(address))
    client.post(f"{address}end/", {"again": "yes"})
    assert "Half a</textarea>" in text(client.get(address))


def test_another_persons_conversation_is_not_found(browser, chatting):
    address, html = start(browser("annotator"))
    other = browser("admin")
    turn = turn_of(html)
    assert other.get(address).status_code == 404
    assert other.post(f"{address}say/", {"turn": turn, "text": "x"}).status_code == 404
    for part in ("choose", "retry"):
        assert other.post(f"{URL}turns/{turn}/{part}/").status_code == 404
    assert other.get(f"{URL}turns/{turn}/live/").status_code == 404


def test_an_admin_connects_pauses_and_removes(browser, project):
    client = browser("admin")
    settings = client.get("/p/kind/settings/").context["form"].initial
    kept = {name: value for name, value in settings.items() if value is not None and value is not False}
    client.post("/p/kind/settings/", kept | {"chat": "on"})
    sent = {"name": "One", "base_url": "http://127.0.0.1:9/v1/", "model_name": "m", "temperature": 1, "max_tokens": 9}
    assert "No model answers yet" in text(client.get(URL))
    wrong = client.post(f"{URL}models/", sent | {"base_url": "file:///etc"})
    assert (wrong.status_code, "begins with http" in text(wrong)) == (422, True)
    client.post(f"{URL}models/", sent)
    endpoint = ChatEndpoint.objects.get()
    assert endpoint.base_url == "http://127.0.0.1:9/v1"
    client.post(f"{URL}models/{endpoint.pk}/disable/")
    assert "No model answers yet" in text(client.get(URL))
    client.post(f"{URL}models/{endpoint.pk}/remove/")
    assert not ChatEndpoint.objects.exists()


def test_a_policy_of_the_registry_is_served_by_a_button(browser, chatting):
    model = ModelVersion.objects.create(project=chatting, kind="policy", name="ppo-7", source="models/none")
    client = browser("admin")
    assert "Serve for chat" in text(client.get("/p/kind/models/"))
    html = text(client.post(f"/p/kind/models/{model.pk}/serve/", follow=True))
    assert "being started" in html
    endpoint = ChatEndpoint.objects.get(model=model)
    assert endpoint.served
    client.post(f"{URL}models/{endpoint.pk}/remove/")
    assert ChatEndpoint.objects.filter(model=model).exists(), "not while it is served"
    client.post(f"{URL}models/{endpoint.pk}/stop/")
    endpoint.refresh_from_db()
    assert not endpoint.served
    reward = ModelVersion.objects.create(project=chatting, kind="reward", name="rm", source="models/none")
    assert "Only a policy can chat" in text(client.post(f"/p/kind/models/{reward.pk}/serve/", follow=True))


def test_the_rest_side(chatting):
    client = APIClient()
    client.force_login(User.objects.get(username="annotator"))

    def call(path, body=None, method="post"):
        answer = getattr(client, method)(f"/api/projects/kind/{path}", body, format="json")
        return answer.status_code, answer.json() if answer.content else None

    _, chat = call("chats/", {})
    turn = "6b4ff8ba-6d3c-4a4a-a0f4-0a7f8c0a3c12"
    status, said = call(f"chats/{chat['key']}/turns/", {"turn": turn, "text": "Hello"})
    assert (status, [reply["state"] for reply in said["replies"]]) == (201, ["queued", "queued"])
    assert call(f"chat-turns/{turn}/choice/", {"rating": 1})[0] == 400
    fetch()
    assert call(f"chat-turns/{turn}/choice/", {"rating": 4})[1]["chosen"] == "B"
    assert call(f"chats/{chat['key']}/draft/", {"text": "And"}, "put")[0] == 204
    assert call(f"chats/{chat['key']}/", None, "get")[1]["draft"] == "And"
    assert call("chat-endpoints/", None, "get")[0] == 403
    client.force_login(User.objects.get(username="admin"))
    assert call("chat-endpoints/", None, "get")[1]["count"] == 2
    assert call(f"chats/{chat['key']}/", None, "get")[0] == 404
