"""A slow model blocks nobody: ten conversations at once, each with a model that trickles and one that is quick."""

import time

import pytest

from annotate.chat.chats import say, start_chat
from annotate.chat.endpoints import add_endpoint
from annotate.chat.pump import ReplyPump
from annotate.models import ChatReply
from annotate.projects import update_project
from tests.chat_endpoint import fake_endpoint

pytestmark = pytest.mark.django_db(transaction=True)

CONVERSATIONS = 10
A_TOKEN_A_SECOND = 1.0
TOKENS = 4


@pytest.fixture
def slow_and_quick(project, admin):
    """Two models: one says a token a second, the other all at once."""
    update_project(project, admin, chat=True)
    with fake_endpoint() as slow, fake_endpoint() as quick:
        slow.pause, slow.answers = A_TOKEN_A_SECOND, lambda messages, number: ["word "] * TOKENS
        for name, endpoint in (("slow", slow), ("quick", quick)):
            add_endpoint(project, admin, name=name, base_url=endpoint.base_url, model_name=name)
        yield project


def ask(project, user, number: int) -> None:
    say(user, start_chat(project, user).key, f"6b4ff8ba-6d3c-4a4a-a0f4-0a7f8c0a3c{number:02d}", "Hello")


def until(pump, model: str, seconds: float) -> float:
    """Seconds until every reply of this model is there."""
    begun = time.monotonic()
    while ChatReply.objects.exclude(state="done").filter(endpoint__name=model).exists():
        assert time.monotonic() - begun < seconds, list(ChatReply.objects.values("state", "text", "endpoint__name"))
        pump.beat()
        time.sleep(0.05)
    return time.monotonic() - begun


def test_ten_quick_replies_are_there_while_ten_slow_ones_trickle(slow_and_quick, person):
    for number in range(CONVERSATIONS):
        ask(slow_and_quick, person(f"p{number}"), number)
    pump = ReplyPump("worker")
    quick = until(pump, "quick", seconds=A_TOKEN_A_SECOND * TOKENS - 1)
    assert ChatReply.objects.filter(endpoint__name="slow", state="running").count() == CONVERSATIONS
    slow = until(pump, "slow", seconds=20)
    print(f"{CONVERSATIONS} conversations: quick replies {quick:.2f} s, slow ones {quick + slow:.2f} s")
    # All slow ones side by side: no longer than one alone, and a little.
    assert quick + slow < 2 * A_TOKEN_A_SECOND * TOKENS


def test_a_model_that_has_all_it_may_leaves_room_for_the_others(slow_and_quick, person):
    """Two streams a model: of three slow replies the third waits, and none of the three quick ones does."""
    for number in range(3):
        ask(slow_and_quick, person(f"p{number}"), number)
    pump = ReplyPump("worker", most=4, each=2)
    until(pump, "quick", seconds=A_TOKEN_A_SECOND * TOKENS - 1)
    states = sorted(ChatReply.objects.filter(endpoint__name="slow").values_list("state", flat=True))
    assert states == ["queued", "running", "running"]
    pump.stop()
