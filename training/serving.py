"""`python -m training serve MODEL`: a model as an OpenAI-compatible server of chat completions, on this machine only.

GET /v1/models and POST /v1/chat/completions, streamed as server-sent events or whole. Nothing is asked of the caller
but that it can reach the address, so the address is a loopback one unless said otherwise.
"""

import argparse
import json
import math
import secrets
import signal
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from training.config import ConfigError
from training.records import ROLES

LONGEST_BODY = 4 * 2**20
MOST_TOKENS = 8192
DEFAULT_TOKENS = 512


class BadRequest(ValueError):
    """What the caller sent cannot be answered; the message says why."""


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m training serve", description=__doc__.splitlines()[0])
    parser.add_argument("model", help="a local directory or a hub id")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default 127.0.0.1)")
    parser.add_argument("--port", type=int, default=8080, help="0 takes a free one (default 8080)")
    parser.add_argument("--name", help="how the model is called in answers (its last path part by default)")
    parser.add_argument("--device", default="auto", choices=["auto", "cpu", "cuda"])
    options = parser.parse_args(arguments)
    try:
        server = _server(options)
    except ConfigError as error:
        print(error, file=sys.stderr)
        return 2
    for number in (signal.SIGTERM, signal.SIGINT):
        # shutdown() waits for the loop in serve_forever, so it may not be called from within that loop's thread.
        signal.signal(number, lambda *_: threading.Thread(target=server.shutdown).start())
    host, port = server.server_address[:2]
    print(f"serving {options.model} on http://{f'[{host}]' if ':' in host else host}:{port}/v1", flush=True)
    server.serve_forever()
    server.server_close()
    return 0


def _server(options: argparse.Namespace) -> "CompletionServer":
    import torch

    from training.conversing import Converser
    from training.models import load_policy, load_tokenizer

    if options.device == "cuda" and not torch.cuda.is_available():
        raise ConfigError("device cuda, but torch finds no CUDA device here")
    device = "cuda" if options.device != "cpu" and torch.cuda.is_available() else "cpu"
    try:
        # Before the model is loaded, which may take minutes.
        server = CompletionServer((options.host, options.port), _Handler)
    except (OSError, OverflowError) as error:
        raise ConfigError(f"{options.host}:{options.port} cannot be listened on: {error}") from None
    policy = load_policy(options.model, device=device)
    server.converser = Converser(policy, load_tokenizer(options.model))
    server.model_name = options.name or Path(options.model).name
    return server


class CompletionServer(ThreadingHTTPServer):
    """A thread a connection; all of them read from the one thread that computes."""

    daemon_threads = True
    request_queue_size = 128
    converser = None
    model_name = ""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = 60

    def do_GET(self) -> None:
        if self.path != "/v1/models":
            return self._refuse(404, "there is nothing at this address")
        model = {"id": self.server.model_name, "object": "model", "created": 0, "owned_by": "prefloop"}
        return self._json({"object": "list", "data": [model]})

    def do_POST(self) -> None:
        if self.path != "/v1/chat/completions":
            return self._refuse(404, "there is nothing at this address")
        try:
            body = self._body()
            request = read_request(body)
        except BadRequest as error:
            # What is left of the body would be taken for the next request.
            self.close_connection = True
            return self._refuse(400, str(error))
        self.server.converser.submit(request)
        try:
            if body.get("stream"):
                return self._stream(request)
            return self._whole(request)
        except (BrokenPipeError, ConnectionResetError, TimeoutError):
            self.close_connection = True
        finally:
            request.abandoned = True

    def _body(self) -> dict:
        # A page of another site may send a form to a loopback address, but no JSON.
        if self.headers.get_content_type() != "application/json":
            raise BadRequest("the body must be application/json")
        length = self.headers.get("Content-Length", "")
        if not length.isdecimal() or int(length) > LONGEST_BODY:
            raise BadRequest(f"the body needs a length of at most {LONGEST_BODY} bytes")
        try:
            body = json.loads(self.rfile.read(int(length)))
        except ValueError:
            body = None
        if not isinstance(body, dict):
            raise BadRequest("the body must be one JSON object")
        return body

    def _whole(self, request) -> None:
        text = "".join(request)
        if request.error:
            return self._refuse(500, request.error)
        message = {"role": "assistant", "content": text}
        usage = {
            "prompt_tokens": request.prompt_tokens, "completion_tokens": request.completion_tokens,
            "total_tokens": request.prompt_tokens + request.completion_tokens,
        }  # fmt: skip
        return self._json(self._answer("chat.completion", {"message": message}, request.finish_reason, usage=usage))

    def _stream(self, request) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Cache-Control", "no-store")
        self.send_header("Connection", "close")
        self.end_headers()
        self.close_connection = True
        self._event(self._answer("chat.completion.chunk", {"delta": {"role": "assistant", "content": ""}}, None))
        for piece in request:
            self._event(self._answer("chat.completion.chunk", {"delta": {"content": piece}}, None))
        if request.error:
            return self._event({"error": {"message": request.error}})
        self._event(self._answer("chat.completion.chunk", {"delta": {}}, request.finish_reason))
        self.wfile.write(b"data: [DONE]\n\n")

    def _answer(self, kind: str, choice: dict, finish_reason: str | None, **more) -> dict:
        choices = [{"index": 0, **choice, "finish_reason": finish_reason}]
        return {
            "id": f"chatcmpl-{id(self):x}", "object": kind, "created": int(time.time()),
            "model": self.server.model_name, "choices": choices, **more,
        }  # fmt: skip

    def _event(self, value: dict) -> None:
        self.wfile.write(b"data: " + json.dumps(value, ensure_ascii=False).encode() + b"\n\n")
        self.wfile.flush()

    def _refuse(self, status: int, message: str) -> None:
        self._json({"error": {"message": message, "type": "invalid_request_error"}}, status)

    def _json(self, value: dict, status: int = 200) -> None:
        body = json.dumps(value, ensure_ascii=False).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_) -> None:
        """Nothing: what people write to a model is nobody else's business, and a log would keep it."""


def read_request(body: dict):
    """The conversation that a body asks to go on. Raises BadRequest naming the field."""
    from training.conversing import Request

    messages = body.get("messages")
    if not isinstance(messages, list) or not messages:
        raise BadRequest("messages must be a list of at least one message")
    read = []
    for number, message in enumerate(messages):
        role, content = (message.get("role"), message.get("content")) if isinstance(message, dict) else (None, None)
        if role not in ROLES or not isinstance(content, str):
            raise BadRequest(f"messages[{number}] needs a role ({', '.join(ROLES)}) and a content that is a text")
        read.append({"role": role, "content": content})
    for name, only in (("n", 1), ("top_p", 1), ("presence_penalty", 0), ("frequency_penalty", 0)):
        if body.get(name, only) not in (only, None):
            raise BadRequest(f"{name} other than {only} is not supported")
    tokens = body.get("max_completion_tokens") or body.get("max_tokens") or DEFAULT_TOKENS
    seed, temperature = body.get("seed"), body.get("temperature")
    return Request(
        read,
        max_tokens=int(_number("max_tokens", tokens, 1, MOST_TOKENS)),
        temperature=float(_number("temperature", 1.0 if temperature is None else temperature, 0, 2)),
        seed=secrets.randbits(62) if seed is None else int(_number("seed", seed, 0, 2**62)),
    )


def _number(name: str, value, low: float, high: float) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise BadRequest(f"{name} must be a number")
    if not low <= value <= high:
        raise BadRequest(f"{name} must be from {low} to {high}")
    return value
