"""An OpenAI-compatible server on loopback that does as a test says, and remembers what it was asked."""

import contextlib
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class FakeChatServer(ThreadingHTTPServer):
    """`behave(question, number of the request)` gives the answer's text, or (status, body, headers) of its own."""

    daemon_threads = True

    def __init__(self, behave):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.behave, self.requests, self.lock = behave, [], threading.Lock()

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/v1"


class _Handler(BaseHTTPRequestHandler):
    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        question = body["messages"][0]["content"]
        with self.server.lock:
            self.server.requests.append({"path": self.path, "body": body, "key": self.headers.get("Authorization")})
            number = len(self.server.requests)
        answer = self.server.behave(question, number)
        status, text, headers = answer if isinstance(answer, tuple) else (200, _completion(answer), {})
        with contextlib.suppress(OSError):  # the client may have given up
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(text.encode())

    def log_message(self, *_):
        pass


def _completion(text: str) -> str:
    return json.dumps({"choices": [{"message": {"role": "assistant", "content": text}}]})


@contextlib.contextmanager
def chat_server(behave):
    server = FakeChatServer(behave)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
