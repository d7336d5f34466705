"""An OpenAI-compatible server, asked for one short answer, with bounded patience."""

import http.client
import json
import os
import random
import time
import urllib.error
import urllib.request

from training.config import ConfigError

_LONGEST_PAUSE = 20.0
_LARGEST_ANSWER = 1 << 20


class NoAnswer(Exception):
    """The server gave none: one sentence. `again` says whether another try may help, after `pause` seconds if told."""

    def __init__(self, reason: str, *, again: bool = True, pause: float | None = None):
        super().__init__(reason)
        self.again, self.pause = again, pause


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """A redirect would carry the key to whatever address the server names."""

    def redirect_request(self, *_):
        return None


class ChatServer:
    """POST {address}/chat/completions. The key comes from the environment and is in no message, log or setting."""

    def __init__(self, address: str, model: str, *, key_variable: str, timeout: float, tries: int, pause: float = 0.5):
        if not address.startswith(("http://", "https://")):
            raise ConfigError(f"address={address} must begin with http:// or https://")
        self.url, self.model = address.rstrip("/") + "/chat/completions", model
        self.timeout, self.tries, self.pause = timeout, tries, pause
        key = os.environ.get(key_variable, "")
        self.headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {key}"} if key else {})
        self.opener = urllib.request.build_opener(_NoRedirects)

    def ask(self, question: str, understand):
        """What `understand` (text → value or None) makes of the answer. Raises NoAnswer after `tries` tries.

        Asked again, after pauses that double (or as long as the server says): no connection, no answer in time, 408,
        429 and 5xx, an answer that is no chat completion, and one that `understand` can make nothing of.
        """
        for attempt in range(self.tries):
            try:
                text = self._answer(question)
                value = understand(text)
                if value is None:
                    raise NoAnswer(f"answered {text[:100]!r}, which is no verdict")
                return value
            except NoAnswer as error:
                if not error.again or attempt + 1 == self.tries:
                    tried = f" ({attempt + 1} tries)" if attempt else ""
                    raise NoAnswer(f"{error}{tried}", again=False) from None
                pause = self.pause * 2**attempt * random.uniform(0.5, 1.0) if error.pause is None else error.pause
                time.sleep(min(pause, _LONGEST_PAUSE))
        raise AssertionError("tries is at least 1")

    def _answer(self, question: str) -> str:
        body = {"model": self.model, "messages": [{"role": "user", "content": question}], "temperature": 0}
        request = urllib.request.Request(self.url, json.dumps(body).encode(), self.headers, method="POST")
        try:
            with self.opener.open(request, timeout=self.timeout) as response:
                answer = json.loads(response.read(_LARGEST_ANSWER))
            text = answer["choices"][0]["message"]["content"]
        except urllib.error.HTTPError as error:
            with error:
                again = error.code in (408, 429) or error.code >= 500
                raise NoAnswer(f"answered HTTP {error.code}", again=again, pause=_retry_after(error)) from None
        except (OSError, http.client.HTTPException) as error:  # no connection, and no answer in time
            reason = getattr(error, "reason", None) or error
            raise NoAnswer(f"did not answer: {type(error).__name__}: {reason}") from None
        except (ValueError, LookupError, TypeError):
            raise NoAnswer("answered with something that is no chat completion") from None
        if not isinstance(text, str):
            raise NoAnswer("answered with something that is no chat completion")
        return text


def _retry_after(error: urllib.error.HTTPError) -> float | None:
    try:
        return max(float(error.headers.get("Retry-After", "")), 0.0)
    except ValueError:
        return None
