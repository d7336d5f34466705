"""Programs that nobody has read, run where they can do no harm: a child process that has given up its rights.

The parent's part: an empty environment and folder, a process group that is killed as one, a time limit that no program
can talk its way out of, and a bound on what is read from it. The child's part is in `sandbox_child.py`,
and how its tests use a program that they do not trust in `sandbox_calls.py`.
"""

import contextlib
import functools
import json
import math
import os
import secrets
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from training.errors import TrainingError
from training.rewards import folders

_CHILD = Path(__file__).with_name("sandbox_child.py")
_MOST_REPORTED = 1 << 20
_FILE_SIZE = 1 << 20
# What a program may write in all, and in how many files and folders.
_FOLDER_SIZE, _FOLDER_FILES = 16 << 20, 1024
# Seconds between two looks at what it has written.
_LOOK = 0.1
# User numbers that systemd keeps for services of the moment: no account has them.
_FIRST_UID, _UIDS = 61184, 4336
_LAYERS = {
    "network": "a network namespace of its own",
    "user": "a user of its own",
    "folder": "a folder in memory",
    "files": "files outside its folder closed",
}


@dataclass(frozen=True)
class Limits:
    seconds: float = 5.0
    memory_mb: int = 512
    processes: int = 8


@dataclass(frozen=True)
class Outcome:
    passed: frozenset[int]
    """numbers of the tests that passed"""
    timed_out: bool
    layers: tuple[str, ...]
    """what keeps the program in, besides the filter of system calls"""
    no_python: frozenset[int] = frozenset()
    """numbers of the tests that the sandbox's interpreter does not read"""


def run_tests(program: str, tests: list[str], limits: Limits) -> Outcome:
    """Run the program once, and then each test (a statement such as an assert) with the program's names.

    Tests run in a process of their own that asks the program's for what it computes, so a program can neither read
    them nor touch what judges it. One that ends its process, loops, dies or writes more than a few megabytes passes
    only the tests done before. Raises TrainingError where this machine cannot hold a program in.
    """
    interpreter, for_others = _interpreter()
    uid = _FIRST_UID + secrets.randbelow(_UIDS) if for_others else None
    secret = secrets.token_hex(16)
    folder = tempfile.mkdtemp(prefix="prefloop-program-")
    try:
        if uid is not None:
            os.chown(folder, uid, uid)
        reading, writing = os.pipe()
        job = {
            "program": program, "report": writing, "uid": uid,
            "seconds": math.ceil(limits.seconds), "memory": limits.memory_mb << 20, "file_size": _FILE_SIZE,
            "folder_size": _FOLDER_SIZE, "folder_files": _FOLDER_FILES,
            "processes": limits.processes, "running": 0 if for_others else _running_processes(),
        }  # fmt: skip
        with os.fdopen(reading, "rb", buffering=0) as reports:
            try:
                child = subprocess.Popen(
                    [interpreter, "-I", "-S", "-B", str(_CHILD)],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                    cwd=folder,
                    env={},
                    pass_fds=(writing,),
                    start_new_session=True,
                )
            finally:
                os.close(writing)
            questions = {"tests": tests, "secret": secret, "report": writing}
            said, timed_out = _follow(child, _message(job) + _message(questions), reports, limits.seconds, folder)
    finally:
        folders.remove(folder)
    lines = [line for line in map(_parsed, said.splitlines()) if line.get("secret") == secret]
    ready = next((line["ready"] for line in lines if "ready" in line), None)
    if ready is None and not timed_out:
        raise TrainingError(
            "programs cannot be run safely on this machine: they need Linux with seccomp, and Landlock (5.13 on) "
            "or root"
        )
    passed, no_python = (
        frozenset(line[kind] for line in lines if line.get(kind) in range(len(tests)))
        for kind in ("passed", "no_python")
    )
    return Outcome(passed, timed_out, tuple(ready or ()), no_python)


def describe(layers: tuple[str, ...]) -> str:
    """In words, what holds and what this machine lacks."""
    held = ["no sockets and signals", *(words for name, words in _LAYERS.items() if name in layers)]
    missing = [words for name, words in _LAYERS.items() if name not in layers]
    return ", ".join(held) + (f"; not on this machine: {', '.join(missing)}" if missing else "")


def _follow(child: subprocess.Popen, job: bytes, reports, seconds: float, folder: str) -> tuple[bytes, bool]:
    """(what the child reported, whether its time ran out). Ends with the whole process group dead."""
    until = time.monotonic() + seconds
    said, timed_out = b"", False
    try:
        child.stdin.write(job)
        child.stdin.close()
    except BrokenPipeError:
        pass
    try:
        while len(said) < _MOST_REPORTED:
            left = until - time.monotonic()
            if left <= 0:
                timed_out = True
                break
            if folders.holds_more(folder, _FOLDER_SIZE, _FOLDER_FILES):
                break
            if not select.select([reports], [], [], min(left, _LOOK))[0]:
                continue
            part = reports.read(1 << 16)
            if not part:  # every process that could report has ended, or closed its end
                break
            said += part
    finally:
        # The filter lets nobody leave the group, so this reaches every process that the program has started.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGKILL)
        child.wait()
    return said, timed_out


def _message(value: dict) -> bytes:
    data = json.dumps(value).encode()
    return len(data).to_bytes(8, "big") + data


def _parsed(line: bytes) -> dict:
    try:
        value = json.loads(line)
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


@functools.cache
def _interpreter() -> tuple[str, bool]:
    """(a Python, whether another user could run it). A Python in root's home is closed to others: then the system's."""
    own = os.path.realpath(sys.executable)
    if os.getuid() != 0:
        return own, False
    for path in (own, shutil.which("python3", path="/usr/local/bin:/usr/bin:/bin")):
        if path and all(place.stat().st_mode & 0o001 for place in Path(os.path.realpath(path)).parents):
            return path, True
    return own, False


def _running_processes() -> int:
    """Processes and threads of this user, which the kernel counts too where the program runs as the same user."""
    count = 0
    for place in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if place.stat().st_uid == os.getuid():
                count += len(os.listdir(place / "task"))
    return count
