"""The embedded broker: kombu's file-system transport, with messages that appear whole and a bad one that kills nobody.

kombu 5.7 opens a message's file before it writes it. A worker that looks in between reads an empty message, and one
message that is not JSON ends the whole worker. Here a message is written aside and renamed, and taken by a rename too.
"""

import logging
import os
import time
import uuid
from pathlib import Path
from queue import Empty

from kombu.transport import filesystem
from kombu.utils.json import dumps, loads

log = logging.getLogger(__name__)


class Channel(filesystem.Channel):
    """One message is one file `<time>_<uuid>.<queue>.msg`; the oldest is taken first."""

    def _put(self, queue: str, payload: dict, **kwargs) -> None:
        folder = Path(self.data_folder_out)
        name = f"{time.time_ns():020}_{uuid.uuid4()}.{queue}.msg"
        aside = folder / f".writing-{name}"
        aside.write_text(dumps(payload))
        os.replace(aside, folder / name)

    def _get(self, queue: str) -> dict:
        folder = Path(self.data_folder_in)
        for name in sorted(os.listdir(folder)):
            if name.partition(".")[2] != f"{queue}.msg":
                continue
            taken = folder / f".taken-{uuid.uuid4()}"
            try:
                os.rename(folder / name, taken)
            except FileNotFoundError:
                continue  # another worker was quicker
            text = taken.read_text(errors="replace")
            taken.unlink()
            try:
                return loads(text)
            except ValueError:
                log.warning("Dropped the message %s, which is not JSON; its run is found again by the sweep.", name)
        raise Empty


class Transport(filesystem.Transport):
    """`filesystem://` as annotate.celery registers it."""

    Channel = Channel
