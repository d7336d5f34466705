"""The server of chat completions: streamed and whole answers are the model's own, and many at once do not mix."""

import http.client
import json
import threading

import pytest
import torch

from tests.servers import NEVER
from tests.training.tiny import make_llama, make_tokenizer
from training.chat import decode_completion, encode_prompt
from training.conversing import Converser, Request
from training.sampling import sample
from training.serving import CompletionServer, _Handler

HELLO = [{"role": "user", "content": "Hello"}]


@pytest.fixture(scope="module")
def model():
    return make_llama()


@pytest.fixture(scope="module")
def tokenizer():
    return make_tokenizer()


@pytest.fixture(scope="module")
def server(model, tokenizer):
    server = CompletionServer(("127.0.0.1", 0), _Handler)
    server.converser, server.model_name = Converser(model, tokenizer), "tiny"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


def call(server, body, *, path="/v1/chat/completions", content_type="application/json", method="POST"):
    connection = http.client.HTTPConnection(*server.server_address, timeout=NEVER)
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    connection.request(method, path, data if method == "POST" else None, {"Content-Type": content_type})
    response = connection.getresponse()
    content = response.read()
    connection.close()
    return response.status, content


def greedy(model, tokenizer, messages, max_tokens=12) -> str:
    """What the trainer's own sampling says, one conversation at a time."""
    ((completion,),) = sample(
        model, [encode_prompt(tokenizer, messages)], max_new_tokens=max_tokens, eos_id=tokenizer.eos_token_id,
        pad_id=tokenizer.pad_token_id, temperature=0,
    )  # fmt: skip
    return decode_completion(tokenizer, completion.ids)


def test_a_whole_answer_is_the_models_own(server, model, tokenizer):
    status, content = call(server, {"messages": HELLO, "max_tokens": 12, "temperature": 0})
    answer = json.loads(content)
    assert status == 200
    assert answer["choices"][0]["message"]["content"].strip() == greedy(model, tokenizer, HELLO)
    assert answer["usage"]["prompt_tokens"] == len(encode_prompt(tokenizer, HELLO))
    assert json.loads(call(server, None, path="/v1/models", method="GET")[1])["data"][0]["id"] == "tiny"


def test_a_streamed_answer_is_the_same_in_pieces(server, model, tokenizer):
    body = {"messages": HELLO, "max_tokens": 12, "temperature": 0, "stream": True}
    status, content = call(server, body)
    events = [line[6:] for line in content.decode().split("\n\n") if line]
    assert (status, events[-1]) == (200, "[DONE]")
    chunks = [json.loads(event)["choices"][0] for event in events[:-1]]
    text = "".join(chunk["delta"].get("content", "") for chunk in chunks)
    assert text.strip() == greedy(model, tokenizer, HELLO)
    assert chunks[-1]["finish_reason"] in {"stop", "length"}
    assert len(chunks) > 4, "piece by piece, not all at the end"


def test_many_at_once_are_each_answered_as_if_alone(model, tokenizer):
    """Prompts of different lengths and limits share one batch; rows leave it at different times."""
    converser = Converser(model, tokenizer)
    conversations = [[{"role": "user", "content": "x" * number}] for number in range(1, 9)]
    requests = [
        Request(messages, max_tokens=4 + number, temperature=0) for number, messages in enumerate(conversations)
    ]
    for request in requests:
        converser.submit(request)
    for number, (request, messages) in enumerate(zip(requests, conversations, strict=True)):
        assert "".join(request).strip() == greedy(model, tokenizer, messages, 4 + number)


def test_the_seed_decides_and_nothing_else_does(model, tokenizer):
    converser = Converser(model, tokenizer)

    def drawn(seed):
        return "".join(converser.submit(Request(HELLO, max_tokens=16, seed=seed)))

    assert drawn(1) == drawn(1)
    assert len({drawn(seed) for seed in range(4)}) > 1


def test_a_character_of_several_tokens_is_sent_whole(model, tokenizer):
    """A byte is a token here, so "é" comes as two: never as the replacement character."""
    ids = tokenizer("né", add_special_tokens=False).input_ids
    converser = Converser.__new__(Converser)
    converser.model, converser.tokenizer = _Spelling(model, [*ids, tokenizer.eos_token_id]), tokenizer
    request = Request(HELLO, max_tokens=20, temperature=0)
    converser._answer([request])
    request.pieces.put(None)
    assert list(request) == ["n", "é"]


def test_who_has_gone_is_answered_no_further(model, tokenizer):
    converser = Converser.__new__(Converser)
    converser.model, converser.tokenizer = model, tokenizer
    request = Request(HELLO, max_tokens=400, temperature=1.0, abandoned=True)
    converser._answer([request])
    assert request.completion_tokens == 0


def test_a_conversation_longer_than_the_model_loses_its_start(server):
    long = [{"role": "user", "content": "a" * 900}]
    status, content = call(server, {"messages": long, "max_tokens": 400})
    assert status == 200
    assert json.loads(content)["usage"]["prompt_tokens"] == 512 - 256


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({}, "messages must be"),
        ({"messages": []}, "messages must be"),
        ({"messages": [{"role": "robot", "content": "x"}]}, "messages[0]"),
        ({"messages": HELLO, "n": 2}, "n other than 1"),
        ({"messages": HELLO, "temperature": "hot"}, "temperature must be a number"),
        ({"messages": HELLO, "max_tokens": 10**6}, "max_tokens must be from 1"),
        (b"{", "one JSON object"),
    ],
)
def test_a_wrong_request_is_told_what_is_wrong(server, body, said):
    status, content = call(server, body)
    assert (status, said in json.loads(content)["error"]["message"]) == (400, True)


def test_a_form_of_another_site_is_refused(server):
    assert call(server, {"messages": HELLO}, content_type="text/plain")[0] == 400
    assert call(server, {}, path="/elsewhere")[0] == 404


class _Spelling(torch.nn.Module):
    """The model's shapes with logits that spell out given ids."""

    def __init__(self, model, ids):
        super().__init__()
        self.model, self.ids, self.config = model, ids, model.config
        self.step = 0

    def get_input_embeddings(self):
        return self.model.get_input_embeddings()

    def forward(self, **inputs):
        output = self.model(**inputs)
        output.logits[:] = 0
        output.logits[:, -1, self.ids[self.step]] = 1
        self.step += 1
        return output
