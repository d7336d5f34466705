"""An OpenAI-compatible server, asked for one short answer, with bounded patience."""

import contextlib
import http.client
import json
import math
import os
import random
import time
import urllib.error
import urllib.request

from training.config import ConfigError

_LONGEST_PAUSE = 20.0
_LARGEST_ANSWER = 1 << 20
# Characters of a server's own words that a person is told.
_SHOWN = 200


# Statuses that are about the question, and not about the server or who asks it.
_OF_THE_QUESTION = (400, 413, 422)


class NoAnswer(Exception):
    """The server gave none: one sentence. `again` says whether another try may help, after `pause` seconds if told.

    `alive`: the server did speak of the question, so that it may well answer another one.
    """

    def __init__(self, reason: str, *, again: bool = True, pause: float | None = None, alive: bool = False):
        super().__init__(reason)
        self.again, self.pause, self.alive = again, pause, alive


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
        self.key = os.environ.get(key_variable, "")
        authorization = {"Authorization": f"Bearer {self.key}"} if self.key else {}
        self.headers = {"Content-Type": "application/json"} | authorization
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
                    raise NoAnswer(f"answered {text[:100]!r}, which is no verdict", alive=True)
                return value
            except NoAnswer as error:
                if not error.again or attempt + 1 == self.tries:
                    tried = f" ({attempt + 1} tries)" if attempt else ""
                    raise NoAnswer(f"{error}{tried}", again=False, alive=error.alive) from None
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
                raise NoAnswer(
                    f"answered HTTP {error.code}{self._own_words(error)}",
                    again=error.code in (408, 429) or error.code >= 500,
                    pause=_retry_after(error),
                    alive=error.code in _OF_THE_QUESTION,
                ) from None
        except (OSError, http.client.HTTPException) as error:  # no connection, and no answer in time
            reason = getattr(error, "reason", None) or error
            raise NoAnswer(f"did not answer: {type(error).__name__}: {reason}") from None
        except (ValueError, LookupError, TypeError):
            raise NoAnswer("answered with something that is no chat completion") from None
        if not isinstance(text, str):
            raise NoAnswer("answered with something that is no chat completion")
        return text

    def _own_words(self, error: urllib.error.HTTPError) -> str:
        """What the server says is wrong, as `error.message` or in plain words; never the key that it was sent."""
        try:
            said = error.read(_LARGEST_ANSWER).decode(errors="replace")
        except (OSError, http.client.HTTPException):
            return ""
        with contextlib.suppress(ValueError, RecursionError):
            said = _message(json.loads(said))
        if self.key:
            said = said.replace(self.key, "…")
        said = " ".join("".join(letter if letter.isprintable() else " " for letter in said).split())
        return f": {said[:_SHOWN]}" if said else ""


def _message(body) -> str:
    """Of {"error": {"message": …}}, {"error": …}, {"message": …} or {"detail": …}, as servers have it."""
    for key in ("error", "message", "detail"):
        if isinstance(body, dict) and key in body:
            return _message(body[key])
    return body if isinstance(body, str) else ""


def _retry_after(error: urllib.error.HTTPError) -> float | None:
    """Seconds; None for a date, and for what is no number of them."""
    try:
        seconds = float(error.headers.get("Retry-After", ""))
    except ValueError:
        return None
    return max(seconds, 0.0) if math.isfinite(seconds) else None
