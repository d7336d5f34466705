"""A slow model blocks nobody: ten conversations at once, each with a quick model and one that says nothing yet."""

import threading

import pytest

from annotate.chat.chats import say, start_chat
from annotate.chat.endpoints import add_endpoint
from annotate.chat.pump import ReplyPump
from annotate.models import ChatReply
from annotate.projects import update_project
from tests.chat_endpoint import fake_endpoint
from tests.servers import wait_for

pytestmark = pytest.mark.django_db(transaction=True)

CONVERSATIONS = 10


@pytest.fixture
def slow(project, admin):
    """The slow one of the project's two models: it says a word for each permit, the other one all at once."""
    update_project(project, admin, chat=True)
    with fake_endpoint() as slow, fake_endpoint() as quick:
        slow.permits, slow.answers = threading.Semaphore(0), lambda messages, number: ["word "] * 4
        for name, endpoint in (("slow", slow), ("quick", quick)):
            add_endpoint(project, admin, name=name, base_url=endpoint.base_url, model_name=name)
        yield slow


def ask(project, user, number: int) -> None:
    say(user, start_chat(project, user).key, f"6b4ff8ba-6d3c-4a4a-a0f4-0a7f8c0a3c{number:02d}", "Hello")


def until_all_said(pump, model: str) -> None:
    """Until every reply of this model is there."""

    def all_said() -> bool:
        pump.beat()
        return not ChatReply.objects.exclude(state="done").filter(endpoint__name=model).exists()

    wait_for(all_said, f"the end of what the model {model} says")


def test_ten_quick_replies_are_there_while_ten_slow_ones_have_said_nothing(slow, project, person):
    for number in range(CONVERSATIONS):
        ask(project, person(f"p{number}"), number)
    pump = ReplyPump("worker")
    until_all_said(pump, "quick")
    assert ChatReply.objects.filter(endpoint__name="slow", state="running").count() == CONVERSATIONS
    wait_for(lambda: slow.open == CONVERSATIONS, "all slow ones side by side")
    slow.permits.release(4 * CONVERSATIONS)
    until_all_said(pump, "slow")


def test_a_model_that_has_all_it_may_leaves_room_for_the_others(slow, project, person):
    """Two streams a model: of three slow replies the third waits, and none of the three quick ones does."""
    for number in range(3):
        ask(project, person(f"p{number}"), number)
    pump = ReplyPump("worker", most=4, each=2)
    until_all_said(pump, "quick")
    states = sorted(ChatReply.objects.filter(endpoint__name="slow").values_list("state", flat=True))
    assert states == ["queued", "running", "running"]
    pump.stop()
