"""Fetches replies: a thread a stream, and one that writes what they have to the rows, all in one transaction a beat.

Twenty people with a slow model are forty threads that sleep on sockets, and two small transactions a second. Of one
endpoint so many stream at once and no more, so that one that hardly answers leaves room for all others.
"""

import contextlib
import logging
import threading
from collections import Counter
from dataclasses import dataclass, field

from annotate.chat import replies
from annotate.chat.client import BROKEN, ReplyError, stream_reply

log = logging.getLogger(__name__)

MOST_STREAMS = 256
MOST_OF_ONE = 64


@dataclass(eq=False)
class _Stream:
    """One reply under way; the thread fills it, the pump reads it."""

    job: replies.Job
    pieces: list[str] = field(default_factory=list)
    error: ReplyError | None = None
    ended: bool = False

    def run(self) -> None:
        try:
            for piece in stream_reply(self.job.target, self.job.messages):
                self.pieces.append(piece)
        except ReplyError as error:
            self.error = error
        except Exception as error:  # a thread that dies unseen would leave its reader waiting
            log.exception("Reply %s failed.", self.job.reply)
            self.error = ReplyError(BROKEN, repr(error))
        finally:
            self.ended = True

    @property
    def text(self) -> str:
        return "".join(self.pieces)


class ReplyPump:
    """Call `beat` a few times a second, from one thread; `stop` hands back what is under way."""

    def __init__(self, worker: str, most: int = MOST_STREAMS, each: int = MOST_OF_ONE):
        self.worker, self.most, self.each = worker, most, each
        self.streams: list[_Stream] = []

    def beat(self) -> bool:
        """Writes what has come, ends what has ended, and begins what waits. Whether there is anything under way."""
        for stream in [stream for stream in self.streams if stream.ended]:
            said, detail = (stream.error.said, str(stream.error)) if stream.error else ("", "")
            if detail:
                log.warning("No reply of endpoint %s: %s", stream.job.endpoint, detail)
            replies.finish(stream.job, stream.text, error=said, problem=detail)
            self.streams.remove(stream)
        self._write()
        streaming = Counter(stream.job.endpoint for stream in self.streams)
        room = {endpoint: self.each - count for endpoint, count in streaming.items()}
        for job in replies.claim(self.worker, self.most - len(self.streams), room=room, each=self.each):
            stream = _Stream(job)
            self.streams.append(stream)
            threading.Thread(target=stream.run, name=f"reply {job.reply}", daemon=True).start()
        return bool(self.streams)

    def stop(self) -> None:
        for stream in self.streams:
            with contextlib.suppress(Exception):  # the lease gives back what could not be handed back
                replies.hand_back(stream.job)
        self.streams = []

    def _write(self) -> None:
        texts = {stream.job: stream.text for stream in self.streams}
        if texts:
            replies.write(texts)
