"""A client of OpenAI-compatible chat completions: streams a reply, bounded in time and size, and follows no redirect.

Addresses are set by admins, and still the client goes no further than it must: http and https only, never to
link-local addresses (where clouds keep their credentials), and of a refusal only the status is read.
"""

import http.client
import ipaddress
import json
import ssl
import time
from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import urlsplit

# Stored as they are, and translated where they are shown.
from django.utils.translation import gettext_noop as _

CONNECT_SECONDS = 10.0
# The longest silence: a served model may be busy with others before the first word.
SILENCE_SECONDS = 120.0
TOTAL_SECONDS = 600.0
LONGEST_REPLY = 100_000
LONGEST_STREAM = 8 * 2**20
LONGEST_LINE = 2**20
ATTEMPTS = 3
WAITS = (1.0, 3.0)
BUSY = {408, 425, 429, 500, 502, 503, 504}


@dataclass(frozen=True)
class Target:
    """Where to ask, and how the reply is drawn. `key` is sent as the bearer token."""

    base_url: str
    model: str
    key: str = ""
    temperature: float = 1.0
    max_tokens: int = 512
    seed: int | None = None


class ReplyError(Exception):
    """No whole reply. `said` is for the person who chats and names no model; the error's text is for admins."""

    def __init__(self, said: str, detail: str, *, passing: bool = False):
        super().__init__(detail)
        self.said, self.passing = said, passing


UNREACHABLE = _("The model cannot be reached.")
SLOW = _("The model took too long to answer.")
REFUSED = _("The model’s server answered with an error.")
BROKEN = _("The model stopped in the middle of its answer.")
NOTHING = _("The model answered with nothing.")


def check_address(base_url: str) -> str:
    """The address without a slash at its end. Raises ValueError with what is wrong with it."""
    parts = urlsplit(base_url.strip())
    if parts.scheme not in {"http", "https"}:
        raise ValueError("An address begins with http:// or https://.")
    if not parts.hostname or parts.username or parts.password or parts.query or parts.fragment:
        raise ValueError("An address is a host and a path, such as https://models.example/v1, and nothing more.")
    try:
        parts.port  # noqa: B018 - reading it checks it
    except ValueError:
        raise ValueError("The port of this address is not a number from 0 to 65535.") from None
    return base_url.strip().rstrip("/")


def stream_reply(target: Target, messages: list[dict], *, sleep=time.sleep) -> Iterator[str]:
    """The pieces of the reply as they come. Raises ReplyError.

    A server that is away or busy is asked again as long as it has said nothing yet.
    """
    for attempt in range(ATTEMPTS):
        began = False
        try:
            for piece in _stream_once(target, messages):
                began = True
                yield piece
            return
        except ReplyError as error:
            if began or not error.passing or attempt + 1 == ATTEMPTS:
                raise
        sleep(WAITS[attempt])


def _stream_once(target: Target, messages: list[dict]) -> Iterator[str]:
    give_up_at = time.monotonic() + TOTAL_SECONDS
    connection = _connect(target.base_url)
    try:
        response = _ask(connection, target, messages)
        yield from _pieces(response, give_up_at)
    except TimeoutError as error:
        raise ReplyError(SLOW, f"{target.base_url}: {error}") from error
    except (OSError, http.client.HTTPException) as error:
        raise ReplyError(BROKEN, f"{target.base_url}: {error!r}") from error
    finally:
        connection.close()


def _connect(base_url: str) -> http.client.HTTPConnection:
    parts = urlsplit(base_url)
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    connection = kind(parts.hostname, parts.port, timeout=CONNECT_SECONDS)
    try:
        connection.connect()
    except TimeoutError as error:
        raise ReplyError(SLOW, f"{base_url} does not accept connections: {error}", passing=True) from error
    except (OSError, ssl.SSLError) as error:
        raise ReplyError(UNREACHABLE, f"{base_url} cannot be reached: {error}", passing=True) from error
    # Asked of the socket, not of the name: a name may lead elsewhere the next moment. No request has been sent yet.
    peer = ipaddress.ip_address(connection.sock.getpeername()[0].split("%")[0])
    peer = getattr(peer, "ipv4_mapped", None) or peer
    if peer.is_link_local or peer.is_multicast or peer.is_unspecified:
        connection.close()
        raise ReplyError(UNREACHABLE, f"{base_url} leads to {peer}, which is not an address of models")
    connection.sock.settimeout(SILENCE_SECONDS)
    return connection


def _ask(connection: http.client.HTTPConnection, target: Target, messages: list[dict]) -> http.client.HTTPResponse:
    body = {
        "model": target.model, "messages": messages, "stream": True,
        "temperature": target.temperature, "max_tokens": target.max_tokens,
    }  # fmt: skip
    if target.seed is not None:
        body["seed"] = target.seed
    headers = {"Content-Type": "application/json", "Accept": "text/event-stream"}
    if target.key:
        headers["Authorization"] = f"Bearer {target.key}"
    path = urlsplit(target.base_url).path + "/chat/completions"
    connection.request("POST", path, json.dumps(body).encode(), headers)
    response = connection.getresponse()
    if response.status != http.HTTPStatus.OK:
        detail = f"{target.base_url} answered with status {response.status}"
        raise ReplyError(REFUSED, detail, passing=response.status in BUSY)
    return response


def _pieces(response: http.client.HTTPResponse, give_up_at: float) -> Iterator[str]:
    """The texts of the server-sent events (or of one plain JSON answer) up to the end that the server announces."""
    if "event-stream" not in response.headers.get("Content-Type", ""):
        yield _text_of(_parsed(response.read(LONGEST_STREAM)), "message")
        return
    read = said = 0
    while line := response.readline(LONGEST_LINE):
        read += len(line)
        if time.monotonic() > give_up_at:
            raise ReplyError(SLOW, f"the reply was not at its end after {TOTAL_SECONDS:.0f} seconds")
        if read > LONGEST_STREAM or said > LONGEST_REPLY:
            raise ReplyError(BROKEN, "the reply is too long")
        if not line.startswith(b"data:"):
            continue
        data = line[5:].strip()
        if data == b"[DONE]":
            return
        event = _parsed(data)
        if piece := _text_of(event, "delta"):
            said += len(piece)
            yield piece
        if any(choice.get("finish_reason") for choice in event.get("choices") or []):
            return
    raise ReplyError(BROKEN, "the stream ended before the reply did")


def _parsed(data: bytes) -> dict:
    try:
        event = json.loads(data)
    except ValueError:
        event = None
    if not isinstance(event, dict) or "error" in event:
        raise ReplyError(REFUSED, "the server sent something else than a chat completion")
    return event


def _text_of(event: dict, part: str) -> str:
    choices = event.get("choices")
    try:
        return (choices[0].get(part) or {}).get("content") or "" if choices else ""
    except (AttributeError, TypeError, LookupError):
        raise ReplyError(REFUSED, "the server sent something else than a chat completion") from None
