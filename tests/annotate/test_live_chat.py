"""Live chat as services: two replies, a choice that is a judgment, endpoints that fail, and who may do what."""

import json
import threading
import time
from datetime import timedelta

import pytest
from django.core.exceptions import PermissionDenied
from django.utils import timezone

from annotate.chat import replies
from annotate.chat.chats import chat_of, choose, retry, save_draft, say, set_ended, start_chat
from annotate.chat.client import ReplyError, Target, check_address, stream_reply
from annotate.chat.endpoints import add_endpoint, set_enabled
from annotate.chat.pump import ReplyPump
from annotate.datasets.judgments import judgment_line
from annotate.datasets.snapshots import create_snapshot, dataset_path
from annotate.errors import UserError
from annotate.labeling.counters import recount
from annotate.labeling.editing import edit_judgment, own_judgments
from annotate.labeling.holding import set_hold
from annotate.models import ChatEndpoint, ChatReply, Comparison, DayTally, Judgment, Prompt
from annotate.projects import update_project
from annotate.quality.selectors import read_judgments, read_responses
from tests.chat_endpoint import fake_endpoint
from tests.servers import NEVER, wait_for
from training import records

pytestmark = pytest.mark.django_db(transaction=True)

TURN = "6b4ff8ba-6d3c-4a4a-a0f4-0a7f8c0a3c{:02d}"


@pytest.fixture
def endpoint():
    with fake_endpoint() as running:
        yield running


@pytest.fixture
def chatting(project, admin, endpoint):
    """The project with its chat on and two models, of one server."""
    update_project(project, admin, chat=True)
    for name in ("secret-one", "secret-two"):
        add_endpoint(project, admin, name=name, base_url=endpoint.base_url, model_name=name)
    return project


def fetch(pump=None):
    """Until nothing is under way."""
    pump = pump or ReplyPump("worker")
    give_up_at = time.monotonic() + NEVER
    while pump.beat() or ChatReply.objects.filter(state__in=["queued", "running"]).exists():
        assert time.monotonic() < give_up_at, list(ChatReply.objects.values())
        time.sleep(0.02)


def sides(turn):
    return list(turn.replies.order_by("side"))


def test_a_conversation_becomes_judgments_that_are_exported(chatting, ada, endpoint):
    """Two turns; the second is asked with the reply that was chosen; both lines are of one group."""
    chat = start_chat(chatting, ada)
    turn = say(ada, chat.key, TURN.format(1), " Hello\r\nyou ")
    assert say(ada, chat.key, TURN.format(1), "Hello") == turn
    fetch()
    first, second = sides(turn)
    assert {first.generator, second.generator} == {"secret-one", "secret-two"}
    assert first.text.endswith("to Hello\nyou")
    with pytest.raises(UserError, match="choose one"):
        say(ada, chat.key, TURN.format(2), "And?")
    with pytest.raises(UserError, match="ratings"):
        choose(ada, turn.key, "")
    choose(ada, turn.key, "4", note="warmer", helpful="-1", flags=["", "4"], renderer=2, active_seconds="1e9")
    choose(ada, turn.key, "1")
    judgment = Judgment.objects.get()
    assert (judgment.rating, judgment.winner.text, judgment.left.text) == (4, second.text, first.text)
    assert (judgment.note, judgment.helpful, judgment.winner.generator) == ("warmer", -1, second.generator)
    assert judgment.active_seconds == judgment.seconds > 0, "no more than our own clock allows"
    assert (judgment.renderer, judgment.assessments.get().response.text) == (2, second.text)

    later = say(ada, chat.key, TURN.format(2), "And then?")
    fetch()
    asked = endpoint.requests[-1]["messages"]
    assert asked == [
        {"role": "user", "content": "Hello\nyou"},
        {"role": "assistant", "content": second.text},
        {"role": "user", "content": "And then?"},
    ]
    choose(ada, later.key, 2)
    lines = list(records.read_records(dataset_path(create_snapshot(chatting, "preferences")), "preferences"))
    assert {line.group for line in lines} == {f"chat:{chat.key}"}
    assert sorted((len(line.messages), line.strength) for line in lines) == [(1, "better"), (3, "slightly_better")]
    assert not Prompt.objects.filter(in_pool=True).exists()


def test_a_choice_counts_as_made_here(chatting, ada, endpoint):
    """Among the day's work, in one's own history, where it may be changed, and in the export."""
    turn = say(ada, start_chat(chatting, ada).key, TURN.format(1), "Hello")
    fetch()
    judgment = choose(ada, turn.key, "4", active_seconds="0").judgment
    tally = DayTally.objects.get(user=ada)
    assert (tally.judgments, tally.seconds) == (1, 0.0)
    assert recount(chatting) == []
    assert [own.pk for own in own_judgments(chatting, ada)] == [judgment.pk]
    assert edit_judgment(chatting, ada, judgment.pk, rating=1).winner == judgment.left
    assert judgment_line(Judgment.objects.get())["imported"] is False
    assert read_judgments(chatting, read_responses(chatting)).shown_here.tolist() == [True]


def test_a_reply_that_tells_who_wrote_it_is_not_shown_where_that_is_held_back(chatting, ada, admin):
    """Not while it comes either; asked again it may come out otherwise."""
    set_hold(chatting, True, user=admin)
    turn = say(ada, start_chat(chatting, ada).key, TURN.format(1), "Tides?")
    telling, other = replies.claim("worker", 2)
    replies.write({telling: "I am ChatGPT, made by", other: "The tides come"})
    assert sorted(reply.text for reply in sides(turn)) == ["", "The tides come"]
    replies.finish(telling, "I am ChatGPT, made by OpenAI.")
    replies.finish(other, "The tides come twice a day.")
    (told,) = turn.replies.filter(state="failed")
    assert (told.text, told.error) == ("", replies.TELLS)
    assert "I am ChatGPT" in told.endpoint.problem
    retry(ada, turn.key)
    (again,) = replies.claim("worker", 2)
    assert again.target.seed != telling.target.seed
    replies.finish(again, "They follow the Moon.")
    assert [reply.state for reply in sides(turn)] == ["done", "done"]


def test_one_model_answers_twice_with_two_seeds(chatting, ada, admin, endpoint):
    set_enabled(chatting.chat_endpoints.get(name="secret-one"), admin, False)
    say(ada, start_chat(chatting, ada).key, TURN.format(1), "Hello")
    fetch()
    assert {request["model"] for request in endpoint.requests} == {"secret-two"}
    assert len({request["seed"] for request in endpoint.requests}) == 2


def test_two_replies_of_the_same_text_need_no_verdict(chatting, ada, endpoint):
    endpoint.answers = lambda messages, number: ["The same."]
    chat = start_chat(chatting, ada)
    turn = say(ada, chat.key, TURN.format(1), "Hello")
    fetch()
    choose(ada, turn.key)
    assert not Comparison.objects.exists()
    assert say(ada, chat.key, TURN.format(2), "And?").number == 2


def test_the_same_words_in_two_conversations_are_judged_once(chatting, ada, endpoint):
    endpoint.answers = lambda messages, number: [f"Reply {number % 2}"]
    for number in (1, 2):
        turn = say(ada, start_chat(chatting, ada).key, TURN.format(number), "Hello")
        fetch()
        choose(ada, turn.key, 1)
    assert Judgment.objects.count() >= 1
    assert Judgment.objects.filter(annotator=ada).values("comparison").distinct().count() == Judgment.objects.count()


def test_a_model_that_is_busy_is_asked_again_and_one_that_fails_says_so(chatting, ada, endpoint, monkeypatch):
    monkeypatch.setattr("annotate.chat.client.WAITS", (0.01, 0.01))
    endpoint.plan = ["503", "503", "429", "ok", "ok"]
    turn = say(ada, start_chat(chatting, ada).key, TURN.format(1), "Hello")
    fetch()
    assert [reply.state for reply in sides(turn)] == ["done", "done"]

    endpoint.plan = ["400", "400"]
    choose(ada, turn.key, 1)
    turn = say(ada, turn.chat.key, TURN.format(2), "And?")
    fetch()
    for reply in sides(turn):
        assert (reply.state, reply.error) == ("failed", "The model’s server answered with an error.")
    assert "400" in ChatEndpoint.objects.exclude(problem="").first().problem
    with pytest.raises(UserError, match="wait until both"):
        choose(ada, turn.key, 1)
    retry(ada, turn.key)
    fetch()
    assert choose(ada, turn.key, 1).chosen.state == "done"
    assert not ChatEndpoint.objects.exclude(problem="").exists(), "answered: the problem is over"


def test_only_the_failed_reply_is_asked_again(chatting, ada, endpoint):
    endpoint.plan = ["break", "ok"]
    turn = say(ada, start_chat(chatting, ada).key, TURN.format(1), "Hello")
    fetch()
    states = sorted(reply.state for reply in sides(turn))
    assert states == ["done", "failed"]
    done = turn.replies.get(state="done")
    retry(ada, turn.key)
    fetch()
    done.refresh_from_db()
    assert (done.attempt, len(endpoint.requests)) == (1, 3)


def test_the_text_comes_piece_by_piece(chatting, ada, endpoint):
    endpoint.permits = threading.Semaphore(0)
    endpoint.answers = lambda messages, number: [f"{piece} " for piece in range(8)]
    turn = say(ada, start_chat(chatting, ada).key, TURN.format(1), "Hello")
    pump = ReplyPump("worker")

    def words() -> int:
        pump.beat()
        return sum(len(reply.text.split()) for reply in turn.replies.all())

    for said in range(1, 2 * 8 + 1):
        endpoint.permits.release()
        wait_for(lambda said=said: words() == said, f"piece {said}")
    fetch(pump)
    assert turn.replies.first().text == "0 1 2 3 4 5 6 7"


def test_a_worker_that_dies_loses_its_replies_to_the_next(chatting, ada):
    turn = say(ada, start_chat(chatting, ada).key, TURN.format(1), "Hello")
    now = timezone.now()
    (dead, other) = replies.claim("dead", 9, now)
    assert replies.claim("next", 9, now) == []
    later = now + timedelta(seconds=31)
    (claimed, _) = replies.claim("next", 9, later)
    replies.write({dead: "stale"}, later)
    replies.finish(dead, "stale", now=later)
    assert turn.replies.get(pk=claimed.reply).state == "running"
    replies.finish(claimed, "fresh", now=later)
    assert turn.replies.get(pk=claimed.reply).text == "fresh"
    replies.hand_back(other)  # lost as well: nothing happens
    for number in range(2, 5):
        replies.claim(f"worker-{number}", 9, now + timedelta(minutes=number))
    assert turn.replies.get(pk=other.reply).error == "The model cannot be reached."


def test_a_worker_that_stops_hands_back(chatting, ada, endpoint):
    endpoint.permits = threading.Semaphore(0)
    turn = say(ada, start_chat(chatting, ada).key, TURN.format(1), "Hello")
    pump = ReplyPump("worker")
    pump.beat()
    pump.stop()
    assert [(reply.state, reply.attempt) for reply in sides(turn)] == [("queued", 0)] * 2
    endpoint.permits.release(100)
    fetch()
    assert [reply.state for reply in sides(turn)] == ["done", "done"]


def test_a_conversation_is_kept_and_taken_up_again(chatting, ada):
    chat = start_chat(chatting, ada, key=TURN.format(50))
    assert start_chat(chatting, ada, key=TURN.format(50)) == chat
    save_draft(ada, chat.key, "Half a")
    set_ended(ada, chat.key, True)
    assert chat_of(chat.key, ada).draft == "Half a"
    assert set_ended(ada, chat.key, False).ended_at is None


def test_who_may_chat(chatting, ada, ben, person, admin):
    chat = start_chat(chatting, ada)
    for service in (lambda: say(ben, chat.key, TURN.format(1), "x"), lambda: save_draft(ben, chat.key, "x")):
        with pytest.raises(UserError, match="not yours"):
            service()
    with pytest.raises(PermissionDenied):
        start_chat(chatting, person("rosa", "researcher"))
    with pytest.raises(PermissionDenied):
        add_endpoint(chatting, ada, name="mine", base_url="http://127.0.0.1/v1", model_name="x")
    update_project(chatting, admin, chat=False)
    with pytest.raises(UserError, match="no chat"):
        say(ada, chat.key, TURN.format(1), "x")


def test_without_a_model_the_person_is_told_at_once(project, admin, ada):
    update_project(project, admin, chat=True)
    chat = start_chat(project, ada)
    with pytest.raises(UserError, match="No model answers"):
        say(ada, chat.key, TURN.format(1), "Hello")


# ---- the client and where it may go ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "address",
    ["", "models.example/v1", "ftp://models.example", "file:///etc/passwd", "http://", "http://me:pass@models.example",
     "http://models.example/v1?key=1", "http://models.example:99999/v1"],
)  # fmt: skip
def test_addresses_that_are_none(project, admin, address):
    with pytest.raises(UserError) as refused:
        add_endpoint(project, admin, name="n", base_url=address, model_name="m")
    assert refused.value.field == "base_url"


@pytest.mark.parametrize("variable", ["SECRET_KEY", "DATABASE_URL", "chat_key_x", "CHAT_KEY_", "CHAT_KEY_X Y"])
def test_only_keys_that_are_meant_for_it_can_be_named(project, admin, variable):
    with pytest.raises(UserError) as refused:
        add_endpoint(
            project, admin, name="n", base_url="https://m.example/v1", model_name="m", key_variable=variable
        )
    assert refused.value.field == "key_variable"


def test_the_key_goes_from_the_environment_to_the_endpoint_only(chatting, admin, ada, endpoint, monkeypatch):
    monkeypatch.setenv("CHAT_KEY_TEST", "s3cret")
    ChatEndpoint.objects.update(key_variable="CHAT_KEY_TEST")
    say(ada, start_chat(chatting, ada).key, TURN.format(1), "Hello")
    fetch()
    assert {headers["Authorization"] for headers in endpoint.headers} == {"Bearer s3cret"}
    assert "s3cret" not in json.dumps(list(ChatEndpoint.objects.values()), default=str)


def test_redirects_are_not_followed_and_nonsense_is_refused(endpoint):
    target = Target(check_address(endpoint.base_url + "/"), "m")
    for wrong in ("302", "garbage"):
        endpoint.plan = [wrong]
        with pytest.raises(ReplyError) as refused:
            list(stream_reply(target, [{"role": "user", "content": "x"}]))
        assert refused.value.said == "The model’s server answered with an error."
    assert len(endpoint.requests) == 2
    assert {request["path"] for request in endpoint.requests} == {"/v1/chat/completions"}


def test_a_reply_without_end_is_ended(endpoint, monkeypatch):
    monkeypatch.setattr("annotate.chat.client.LONGEST_REPLY", 1000)
    endpoint.answers = lambda messages, number: ("x" * 100 for _ in range(10**6))
    with pytest.raises(ReplyError, match="too long"):
        list(stream_reply(Target(endpoint.base_url, "m"), [{"role": "user", "content": "x"}]))


def test_a_silent_model_is_given_up(endpoint, monkeypatch):
    monkeypatch.setattr("annotate.chat.client.SILENCE_SECONDS", 0.2)
    endpoint.permits = threading.Semaphore(0)
    with pytest.raises(ReplyError) as refused:
        list(stream_reply(Target(endpoint.base_url, "m"), [{"role": "user", "content": "x"}]))
    assert refused.value.said == "The model took too long to answer."


def test_link_local_addresses_are_never_spoken_to(endpoint, monkeypatch):
    """Where clouds keep their credentials. Nothing is there here, so the socket is made to say that it is."""
    import http.client

    class Elsewhere(http.client.HTTPConnection):
        def connect(self):
            super().connect()
            self.sock = _Peer(self.sock)

    class _Peer:
        def __init__(self, sock):
            self._sock = sock

        def getpeername(self):
            return ("169.254.169.254", 80)

        def __getattr__(self, name):
            return getattr(self._sock, name)

    monkeypatch.setattr("annotate.chat.client.http.client.HTTPConnection", Elsewhere)
    with pytest.raises(ReplyError, match="not an address of models"):
        list(stream_reply(Target(endpoint.base_url, "m"), [{"role": "user", "content": "x"}]))
    assert endpoint.requests == []


def test_nobody_at_the_address(monkeypatch):
    waits = []
    with pytest.raises(ReplyError, match="cannot be reached"):
        list(stream_reply(Target("http://127.0.0.1:9/v1", "m"), [], sleep=waits.append))
    assert waits == [1.0, 3.0]
