"""The child's events.jsonl as rows of RunEvent: whole lines only, each stored once, whoever follows and how often."""

import itertools
import json
import logging
from pathlib import Path

from django.db.models import Max

from annotate.models import Run, RunEvent

log = logging.getLogger(__name__)

MAX_PHASE = 60
# One look at the file stores at most so much, so that a long file does not keep the heartbeat waiting.
MAX_BYTES_A_READ = 4 * 2**20


class EventReader:
    """Reads DIRECTORY/events.jsonl from where the database ends. A line's number counts from 1."""

    def __init__(self, run: Run, directory: Path):
        self.run, self.path = run, directory / "events.jsonl"
        self.number = 0
        self.offset = 0
        self._pass_over(run.events.aggregate(last=Max("number"))["last"] or 0)

    def read(self) -> list[RunEvent]:
        """The next whole lines as unsaved rows. A line that is no event is passed over; its number is used up."""
        try:
            with open(self.path, "rb") as file:
                file.seek(self.offset)
                data = file.read(MAX_BYTES_A_READ)
                if b"\n" not in data:
                    data += file.readline()
        except FileNotFoundError:
            return []
        whole, newline, _ = data.rpartition(b"\n")
        self.offset += len(whole) + len(newline)
        events = []
        for line in whole.split(b"\n") if newline else []:
            self.number += 1
            if (event := parse_event(line)) is not None:
                events.append(RunEvent(run=self.run, number=self.number, **event))
            elif line.strip():
                log.warning("%s, line %d is not an event and is passed over", self.path, self.number)
        return events

    def _pass_over(self, lines: int) -> None:
        """Move behind `lines` lines, which the database has. Numbers go on from there, even if the file was lost."""
        self.number = lines
        if not self.path.exists():
            return
        with open(self.path, "rb") as file:
            for line in itertools.islice(file, lines):
                self.offset += len(line)


def parse_event(line: bytes) -> dict | None:
    """{"kind", "step", "data"} of one line, or None where it is not an event."""
    try:
        data = json.loads(line.decode("utf-8", errors="replace"), parse_constant=lambda name: None)
    except ValueError:
        return None
    if not isinstance(data, dict) or not isinstance(data.get("kind"), str):
        return None
    if b"\\u0000" in line:  # a NUL, which PostgreSQL's JSON cannot hold
        data = _without_nul(data)
    kind, step = data.pop("kind"), data.pop("step", 0)
    return {"kind": kind[:20], "step": step if isinstance(step, int) and step >= 0 else 0, "data": data}


def store(events: list[RunEvent]) -> None:
    """Insert those rows that are not there yet."""
    RunEvent.objects.bulk_create(events, batch_size=200, ignore_conflicts=True)


def progress_of(events: list[RunEvent]) -> dict:
    """The fields of Run that these events move on: step, total_steps, phase."""
    progress: dict = {}
    for event in events:
        if event.kind in {"start", "progress", "metrics"}:
            progress["step"] = event.step
            total = event.data.get("total")
            if isinstance(total, int) and total >= 0:
                progress["total_steps"] = total
        if event.kind == "progress":
            progress["phase"] = str(event.data.get("phase", ""))[:MAX_PHASE]
        elif event.kind == "metrics":  # a step was made: whatever phase was told before is over
            progress["phase"] = ""
    return progress


def _without_nul(value):
    if isinstance(value, str):
        return value.replace("\0", "")
    if isinstance(value, list):
        return [_without_nul(item) for item in value]
    if isinstance(value, dict):
        return {_without_nul(key): _without_nul(item) for key, item in value.items()}
    return value
