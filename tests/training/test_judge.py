"""A model as judge: of a server that may be slow, failing or talkative, and of one's own by its probabilities."""

import json
import threading

import pytest
import torch

from tests.servers import NEVER
from tests.training.chat_server import chat_server
from tests.training.runs import arguments, in_two_processes, train, write_lines
from tests.training.tiny import save_tiny
from training.chat import encode_completion, encode_prompt
from training.config import ConfigError
from training.models import load_policy, load_tokenizer
from training.recipes.judge import Pair, Verdict, describe, preference
from training.records import Prompt, read_records
from training.rewards.chat_server import ChatServer, NoAnswer
from training.rewards.judge import RATINGS, JudgeSource, LocalJudge, ServerJudge, prefer, read_rubric, verdict_in
from training.rewards.source import Failure
from training.rewards.spec import JudgeReward

ASK = [{"role": "user", "content": "Name a fruit."}]


def server_of(server, **settings):
    settings = {"key_variable": "PREFLOOP_TEST_KEY", "timeout": NEVER, "tries": 3, "pause": 0.01, **settings}
    return ChatServer(server.address, "judge-1", **settings)


def words(text):
    return text or None


# --- the server -------------------------------------------------------------------------------------------------------


def test_the_question_the_model_and_the_key_arrive(monkeypatch):
    monkeypatch.setenv("PREFLOOP_TEST_KEY", "s3cret")
    with chat_server(lambda question, number: "7") as server:
        assert server_of(server).ask("How good?", words) == "7"
    (request,) = server.requests
    assert request["path"] == "/v1/chat/completions" and request["key"] == "Bearer s3cret"
    assert request["body"]["model"] == "judge-1" and request["body"]["messages"][0]["content"] == "How good?"


@pytest.mark.parametrize(
    "trouble",
    [
        (500, "oops", {}),
        (503, "", {}),
        (429, "slow down", {"Retry-After": "0"}),
        (200, "no json", {}),
        (200, '{"choices": []}', {}),
        (200, '{"choices": [{"message": {"content": null}}]}', {}),
        "",
    ],
)
def test_a_passing_trouble_is_tried_again(trouble):
    with chat_server(lambda question, number: trouble if number < 3 else "yes") as server:
        assert server_of(server).ask("?", words) == "yes"
    assert len(server.requests) == 3


def test_tries_are_bounded_and_the_last_trouble_is_told(monkeypatch):
    monkeypatch.setenv("PREFLOOP_TEST_KEY", "s3cret")
    with (
        chat_server(lambda question, number: (500, "s3cret", {})) as server,
        pytest.raises(NoAnswer, match=r"answered HTTP 500: … \(3 tries\)") as error,
    ):
        server_of(server).ask("?", words)
    assert len(server.requests) == 3 and "s3cret" not in str(error.value)


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ('{"error": {"message": "no temperature 0 with this model"}}', ": no temperature 0 with this model"),
        ('{"error": "no such\\nmodel"}', ": no such model"),
        ('{"object": "error", "message": "too long"}', ": too long"),
        ("<html>s3cret\u0007 gateway", ": <html>… gateway"),
        ('{"error": {"message": "' + "x" * 300 + '"}}', ": " + "x" * 200),
        ('{"error": null}', ""),
        ("", ""),
    ],
)
def test_the_servers_own_words_are_told(body, told, monkeypatch):
    monkeypatch.setenv("PREFLOOP_TEST_KEY", "s3cret")
    with chat_server(lambda question, number: (400, body, {})) as server, pytest.raises(NoAnswer) as error:
        server_of(server).ask("?", words)
    assert str(error.value) == f"answered HTTP 400{told}" and error.value.alive


@pytest.mark.parametrize("wait", ["nan", "inf", "-1", "Wed, 21 Oct 2026 07:28:00 GMT", "soon"])
def test_whatever_a_server_says_of_waiting(wait):
    with chat_server(lambda question, number: "yes" if number > 1 else (429, "", {"Retry-After": wait})) as server:
        assert server_of(server).ask("?", words) == "yes"


def test_what_trying_again_cannot_help_is_not_tried_again():
    with (
        chat_server(lambda question, number: (401, "who are you", {})) as server,
        pytest.raises(NoAnswer, match=r"answered HTTP 401: who are you$"),
    ):
        server_of(server).ask("?", words)
    assert len(server.requests) == 1


def test_a_server_that_keeps_one_waiting_or_is_not_there():
    answers = threading.Event()
    with chat_server(lambda question, number: answers.wait(NEVER) and "late") as server:
        with pytest.raises(NoAnswer, match="did not answer"):
            server_of(server, timeout=0.1, tries=2).ask("?", words)
        answers.set()
    with pytest.raises(NoAnswer, match="did not answer"):
        server_of(server).ask("?", words)


def test_the_key_follows_no_redirect(monkeypatch):
    monkeypatch.setenv("PREFLOOP_TEST_KEY", "s3cret")
    with (
        chat_server(lambda question, number: "yes") as other,
        chat_server(lambda question, number: (302, "", {"Location": other.address})) as server,
        pytest.raises(NoAnswer, match="HTTP 302"),
    ):
        server_of(server).ask("?", words)
    assert other.requests == []


def test_an_address_is_one_of_the_web():
    with pytest.raises(ConfigError, match="http"):
        ChatServer("file:///etc/passwd", "m", key_variable="K", timeout=1, tries=1)


# --- verdicts ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "answers", "verdict"),
    [
        ("7", RATINGS, "7"),
        ("10", RATINGS, "10"),
        ("**Rating: 8/10**", RATINGS, "8"),
        ("8 out of 10.", RATINGS, "8"),
        ("8.5", RATINGS, None),
        ("between 3 and 5", RATINGS, None),
        ("11", RATINGS, None),
        ("Yes.", ("yes", "no"), "yes"),
        ("yes and no", ("yes", "no"), None),
        ("I know", ("yes", "no"), None),
        ("Answer B is a better one.", ("A", "B"), "B"),
        ("A", ("A", "B"), "A"),
        ("neither", ("A", "B"), None),
        ("<think>maybe 7 or 8</think>8", RATINGS, "8"),
        ("A is fluent, B is right.\n</think>\n\nB", ("A", "B"), "B"),
        ("<think>7, since it is long and", RATINGS, None),
    ],
)
def test_a_verdict_is_one_of_the_answers_or_none(text, answers, verdict):
    assert verdict_in(text, answers) == verdict


def judge_spec(server=None, **settings):
    place = {"model": "judge-1"} | ({"address": server.address} if server else {})
    return JudgeReward(**place, tries=2, timeout=NEVER, key_variable="PREFLOOP_TEST_KEY", **settings)


def test_a_rating_from_1_to_10_is_a_score_from_0_to_1():
    def rate(question, number):
        return "10" if "<answer>\napple\n" in question else "1" if "<answer>\nplum\n" in question else "4"

    with chat_server(rate) as server:
        spec = judge_spec(server)
        scores = JudgeSource(spec, ServerJudge(spec)).score([Prompt(ASK)] * 3, ["apple", "plum", "a {brace}"])
    assert scores == pytest.approx([1, 0, 3 / 9])
    assert all(read_rubric("helpful") in request["body"]["messages"][0]["content"] for request in server.requests)


def test_yes_or_no_and_a_judge_that_says_neither():
    with chat_server(lambda question, number: "maybe" if "plum" in question else "Yes") as server:
        spec = judge_spec(server, scale="yes_no")
        good, failed = JudgeSource(spec, ServerJudge(spec)).score([Prompt(ASK)] * 2, ["apple", "plum"])
    assert good == 1 and failed == Failure("answered 'maybe', which is no verdict (2 tries)")


def test_a_server_that_is_silent_is_not_asked_to_the_end():
    """One that is busy with as many questions as it is asked at once, and one that speaks of the question alone."""
    with chat_server(lambda question, number: (503, "restarting", {"Retry-After": "0"})) as server:
        verdicts = ServerJudge(judge_spec(server, parallel=4)).verdicts(["?"] * 40, RATINGS)
    assert 4 * 2 <= len(server.requests) <= 7 * 2  # who had begun before the fourth gave up has gone on
    assert verdicts[0] == Failure("answered HTTP 503: restarting (2 tries)")
    assert verdicts[-1].reason.startswith("has answered none of 4 questions, the last of which it answered HTTP 503")
    with chat_server(lambda question, number: (400, "too long", {})) as server:
        ServerJudge(judge_spec(server, parallel=4)).verdicts(["?"] * 40, RATINGS)
    assert len(server.requests) == 40
    with chat_server(lambda question, number: (503, "", {"Retry-After": "0"}) if number > 1 else "7") as server:
        ServerJudge(judge_spec(server, parallel=1)).verdicts(["?"] * 10, RATINGS)
    assert len(server.requests) == 1 + 9 * 2


def test_a_rubric_of_ones_own(tmp_path):
    (tmp_path / "rubric.txt").write_text("Fruit only.\n")
    assert read_rubric(str(tmp_path / "rubric.txt")) == "Fruit only."
    with pytest.raises(ConfigError, match="rubric=kind is neither one of helpful, truthful, harmless"):
        read_rubric("kind")


@pytest.fixture(scope="module")
def policy(tmp_path_factory):
    return save_tiny(tmp_path_factory.mktemp("judge"))


def test_a_local_judge_is_read_by_its_tokens_probabilities(policy):
    questions = ["Is it?", "A longer question, is it good?"]
    verdicts = LocalJudge(policy).verdicts(questions, RATINGS)
    model, tokenizer = load_policy(policy), load_tokenizer(policy)
    for question, verdict in zip(questions, verdicts, strict=True):
        prompt = encode_prompt(tokenizer, [{"role": "user", "content": question}])
        totals = []
        for answer in RATINGS:
            ids = encode_completion(tokenizer, answer)
            with torch.no_grad():
                logprobs = model(torch.tensor([prompt + ids])).logits[0].log_softmax(-1)
            totals.append(sum(logprobs[len(prompt) + i - 1, token] for i, token in enumerate(ids)))
        assert verdict == pytest.approx(torch.stack(totals).softmax(0).tolist(), abs=1e-5)


def test_a_pair_is_asked_in_both_orders():
    """A judge that always says A: half for each, whichever is shown first."""
    with chat_server(lambda question, number: "A") as server:
        ((first, second),) = prefer(ServerJudge(judge_spec(server)), "Rubric.", [(ASK, "apple", "ash")])
    assert (first, second) == (1.0, 0.0)
    shown = [request["body"]["messages"][0]["content"] for request in server.requests]
    assert sorted(text.index("apple") < text.index("ash") for text in shown) == [False, True]


# --- the recipe -------------------------------------------------------------------------------------------------------


def test_figures_by_hand():
    judged = [
        (Pair(ASK, "a", "b", human=1.0), Verdict(0.9, 0.7)),  # a, clearly
        (Pair(ASK, "a", "b", human=1.0), Verdict(0.4, 0.3)),  # b
        (Pair(ASK, "a", "b", human=0.0), Verdict(0.8, 0.3)),  # the first shown
        (Pair(ASK, "a", "b", human=0.5), Verdict(0.6, 0.6)),  # a, slightly
    ]
    assert describe(judged) == pytest.approx({
        "pairs": 4, "order_agreement": 0.75, "ties": 1, "a_wins": 0.5, "b_wins": 0.25, "human_pairs": 2,
        "human_agreement": 0.5, "first_shown_wins": (0.9 + 0.3 + 0.4 + 0.7 + 0.8 + 0.7 + 0.6 + 0.4) / 8,
    })  # fmt: skip
    rows = [preference(pair, verdict, clear=0.75) for pair, verdict in judged]
    assert [(row.chosen, row.strength, row.probability) for row in rows] == [
        ("a", "better", 0.8), ("b", "slightly_better", 0.65), ("a", "tie", 0.55), ("a", "slightly_better", 0.6)
    ]  # fmt: skip


def prefers_short(question, number):
    first = question.split("<answer_a>\n")[1].split("\n</answer_a>")[0]
    second = question.split("<answer_b>\n")[1].split("\n</answer_b>")[0]
    return "A" if len(first) <= len(second) else "B"


def test_comparisons_become_preferences_that_can_be_trained_on(tmp_path):
    data = write_lines(
        tmp_path / "data.jsonl",
        [
            {"prompt": "Name a fruit.", "responses": ["A pear, of course.", "Pear.", "Apple."]},
            {"prompt": "Name a tree.", "chosen": "Elm.", "rejected": "An elm tree.", "group": "trees"},
            {"prompt": "Name a tree.", "chosen": "An elm tree.", "rejected": "Ash."},
        ],
    )
    with chat_server(prefers_short) as server:
        run = train("judge", tmp_path / "run", model="judge-1", address=server.address, data=data)
    assert run.code == 0 and len(server.requests) == 2 * 5
    rows = read_records(run.output / "preferences.jsonl", "preferences")
    assert [(row.chosen, row.rejected, row.strength, row.probability) for row in rows] == [
        ("Pear.", "A pear, of course.", "better", 1.0),
        ("Apple.", "A pear, of course.", "better", 1.0),
        ("Pear.", "Apple.", "better", 1.0),
        ("Elm.", "An elm tree.", "better", 1.0),
        ("Ash.", "An elm tree.", "better", 1.0),
    ]
    assert rows[3].group == "trees"
    metrics = run.metrics
    assert metrics["order_agreement"] == 1 and metrics["human_agreement"] == 0.5 and metrics["human_pairs"] == 2
    assert json.loads((run.output / "config.json").read_text())["recipe"] == "judge"


def test_a_judge_that_fails_ends_the_run_or_loses_the_pair(tmp_path):
    data = write_lines(
        tmp_path / "data.jsonl", [{"prompt": "?", "responses": [text, "no"]} for text in ("yes", "plum", "well")]
    )

    def behave(question, number):
        return (400, "", {}) if "plum" in question else prefers_short(question, number)

    with chat_server(behave) as server:
        settings = {"model": "judge-1", "address": server.address, "data": data}
        failed = train("judge", tmp_path / "fail", **settings)
        masked = train("judge", tmp_path / "mask", **settings, on_reward_error="mask")
    assert failed.code == 1 and "judge-1" in failed.error and "HTTP 400" in failed.error and "plum" in failed.error
    assert not (failed.output / "preferences.jsonl").exists()
    assert masked.code == 0 and masked.metrics["failures"] == 1 and masked.metrics["pairs"] == 2
    assert "1 of 3 pairs are left out" in masked.of_kind("message")[-1]["text"]


def test_of_several_processes_each_asks_for_its_share(tmp_path):
    pairs = [{"prompt": f"{n}?", "responses": ["yes", "no, " + "n" * n]} for n in range(5)]
    data = write_lines(tmp_path / "data.jsonl", pairs)
    with chat_server(prefers_short) as server:
        words = arguments("judge", tmp_path / "run", model="judge-1", address=server.address, data=data)
        in_two_processes(
            "import sys\nfrom training.__main__ import main\nsys.exit(main(sys.argv[1:]))", tmp_path, *words
        )
    assert len(server.requests) == 2 * len(pairs)
    rows = read_records(tmp_path / "run" / "preferences.jsonl", "preferences")
    assert [row.messages[0]["content"] for row in rows] == [pair["prompt"] for pair in pairs]


def test_a_local_judge_labels_too(policy, tmp_path):
    data = write_lines(tmp_path / "data.jsonl", [{"prompt": "?", "responses": ["yes", "no"]}] * 3)
    run = train("judge", tmp_path / "run", model=policy, data=data)
    assert run.code == 0 and run.metrics["pairs"] == 3
    probabilities = {row.probability for row in read_records(run.output / "preferences.jsonl", "preferences")}
    assert len(probabilities) == 1 and 0.5 <= probabilities.pop() < 1
