"""The run's diary: `events.jsonl`, one JSON object a line, which the site follows while the run goes on."""

import json
import math
import os
import time
from pathlib import Path


class EventLog:
    """Appends events to DIRECTORY/events.jsonl and flushes each, so that a reader sees whole lines at once.

    `step` is remembered: events without one of their own carry the last known. With `enabled=False` (every process but
    the first of several) nothing is written; `echo` also prints what a person at a terminal wants to see.
    """

    def __init__(self, directory: str | os.PathLike, *, enabled: bool = True, echo: bool = False):
        self.path = Path(directory) / "events.jsonl"
        self.step = 0
        self.enabled = enabled
        self.echo = echo and enabled
        self._opened = False

    def start(self, recipe: str, *, device: str, total: int, resumed_from: int | None = None) -> None:
        self.step = resumed_from or 0
        self._write("start", recipe=recipe, device=device, total=total, resumed_from=resumed_from)

    def progress(self, step: int, total: int, phase: str) -> None:
        self.step = step
        self._write("progress", total=total, phase=phase)

    def metrics(self, step: int, total: int, **values: float) -> None:
        """One point of every named curve. A value that is not finite is left out, since JSON has no word for it."""
        self.step = step
        finite = {name: float(value) for name, value in values.items() if math.isfinite(value)}
        self._write("metrics", total=total, values=finite)
        self._print(f"step {step}/{total}  " + "  ".join(f"{name} {value:.4g}" for name, value in finite.items()))

    def samples(self, rows: list[dict]) -> None:
        """Rows of {"prompt": messages, "before", "after", "reward_before"?, "reward_after"?}."""
        self._write("samples", rows=rows)

    def checkpoint(self, path: str | os.PathLike) -> None:
        self._write("checkpoint", path=str(path))

    def message(self, text: str, level: str = "info") -> None:
        self._write("message", level=level, text=text)
        self._print(text)

    def end(self, status: str, *, error: str | None = None, metrics: dict | None = None) -> None:
        self._write("end", status=status, error=error, metrics=metrics or {})

    def _print(self, text: str) -> None:
        if self.echo:
            print(text, flush=True)

    def _write(self, kind: str, **fields) -> None:
        if not self.enabled:
            return
        if not self._opened:
            _end_torn_line(self.path)
            self._opened = True
        event = {"time": time.time(), "kind": kind, "step": self.step, **fields}
        with open(self.path, "a", encoding="utf-8") as file:
            file.write(json.dumps(event, ensure_ascii=False) + "\n")


def _end_torn_line(path: Path) -> None:
    """A killed run may have left half a line; end it, so that the next event starts a line of its own."""
    if not path.exists() or path.stat().st_size == 0:
        return
    with open(path, "rb+") as file:
        file.seek(-1, os.SEEK_END)
        if file.read(1) != b"\n":
            file.seek(0, os.SEEK_END)
            file.write(b"\n")
