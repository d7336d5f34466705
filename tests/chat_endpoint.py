"""An OpenAI-compatible server for tests, on real sockets: says what it is told to, as slowly and as badly as asked."""

import contextlib
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from tests.servers import NEVER


class FakeEndpoint(ThreadingHTTPServer):
    """`answers(messages, number)` gives the pieces of a reply; `number` counts the requests from 0.

    With `permits` each piece waits for one of them; `plan` holds what goes wrong, a
    word a request: "503", "302", "break" (in the middle), "garbage", "ok".
    """

    daemon_threads = True
    request_queue_size = 128

    def __init__(self):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.answers = lambda messages, number: [f"Reply {number} ", "to ", messages[-1]["content"]]
        self.permits: threading.Semaphore | None = None
        self.plan: list[str] = []
        self.requests: list[dict] = []
        self.headers: list[dict] = []
        self.open = self.most_open = 0
        self.lock = threading.Lock()

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/v1"


class _Handler(BaseHTTPRequestHandler):
    def do_POST(self):
        endpoint = self.server
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        with endpoint.lock:
            number = len(endpoint.requests)
            endpoint.requests.append(body | {"path": self.path})
            endpoint.headers.append(dict(self.headers))
            wrong = endpoint.plan.pop(0) if endpoint.plan else "ok"
            endpoint.open += 1
            endpoint.most_open = max(endpoint.most_open, endpoint.open)
        try:
            self._answer(wrong, endpoint.answers(body["messages"], number))
        except (BrokenPipeError, ConnectionResetError):
            pass
        finally:
            with endpoint.lock:
                endpoint.open -= 1

    def _answer(self, wrong: str, pieces: list[str]) -> None:
        if wrong.isdecimal():
            self.send_response(int(wrong))
            self.send_header("Location", "http://127.0.0.1:1/secret")
            self.end_headers()
            return
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.end_headers()
        if wrong == "garbage":
            self.wfile.write(b"data: <html>\n\n")
            return
        for piece in pieces:
            if self.server.permits:
                self.server.permits.acquire(timeout=NEVER)
            self._event({"choices": [{"index": 0, "delta": {"content": piece}, "finish_reason": None}]})
            if wrong == "break":
                return
        self._event({"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})
        self.wfile.write(b"data: [DONE]\n\n")

    def _event(self, value: dict) -> None:
        self.wfile.write(b"data: " + json.dumps(value).encode() + b"\n\n")
        self.wfile.flush()

    def log_message(self, *_):
        pass


@contextlib.contextmanager
def fake_endpoint():
    """A running one."""
    endpoint = FakeEndpoint()
    thread = threading.Thread(target=endpoint.serve_forever, daemon=True)
    thread.start()
    try:
        yield endpoint
    finally:
        if endpoint.permits:
            endpoint.permits.release(10_000)
        endpoint.shutdown()
        endpoint.server_close()
