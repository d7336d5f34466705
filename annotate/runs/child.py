"""The trainer as a child process: one a run directory, in a session of its own, ended with everything it started."""

import contextlib
import fcntl
import os
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

from django.conf import settings

LEASH = Path(__file__).with_name("leash.py")
# What the trainer has no business to know.
SITE_SECRETS = ("SECRET_KEY", "DATABASE_URL", "CELERY_BROKER_URL")
LOG_TAIL_BYTES = 8000
TAKE_OVER_SECONDS = 30
END_GRACE = 10.0


class Child:
    """A running trainer. Use `start`; `end` (or the `with` block) leaves no process behind."""

    def __init__(self, process: subprocess.Popen):
        self.process = process
        self._kill_at: float | None = None

    def __enter__(self) -> "Child":
        return self

    def __exit__(self, *exception) -> None:
        self.end()

    def wait(self, seconds: float) -> bool:
        """Whether the child has ended, after waiting at most `seconds`. Kills it when its time to stop is over."""
        if self._kill_at is not None and time.monotonic() >= self._kill_at:
            self._signal(signal.SIGKILL)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(seconds)
        return self.process.poll() is not None

    def ask_to_stop(self, grace: float) -> None:
        """SIGTERM now; `wait` sends SIGKILL after `grace` seconds. Asking again changes nothing."""
        if self._kill_at is None:
            self._kill_at = time.monotonic() + grace
            self._signal(signal.SIGTERM)

    def end(self) -> int:
        """Stop it if it still runs, kill what is left of its session, and return the exit status."""
        if self.process.poll() is None:
            self.ask_to_stop(END_GRACE)
            while not self.wait(0.1):
                pass
        self._signal(signal.SIGKILL)
        return self.process.returncode

    def _signal(self, number: int) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.process.pid, number)


def start(recipe: str, directory: Path) -> Child:
    """Start `python -m training RECIPE` on the run directory, output to its log.txt. Raises OSError.

    A trainer that an earlier, killed worker left in this directory is ended first, so that never two write there.
    The environment TRAINING_LAUNCHER replaces `python`, for example by `accelerate launch --num_processes 4`.
    """
    launcher = shlex.split(settings.TRAINING_LAUNCHER) or [sys.executable]
    command = [*launcher, "-m", "training", recipe]
    command += ["--config", str(directory / "config.json"), "--output", str(directory)]
    environment = {name: value for name, value in os.environ.items() if name not in SITE_SECRETS}
    environment["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])
    with open(directory / ".lock", "a+") as lock, open(directory / "log.txt", "ab") as output:
        _take_over(lock)
        process = subprocess.Popen(
            [sys.executable, str(LEASH), str(os.getpid()), *command],
            cwd=settings.BASE_DIR,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            # The lock belongs to the open file, so it is held until the last process of the child's family is gone.
            pass_fds=(lock.fileno(),),
        )
        lock.truncate(0)
        lock.write(str(process.pid))
        lock.flush()
    return Child(process)


def _take_over(lock) -> None:
    """Get the directory's lock. Whoever still holds it is a left-over trainer, whose session the file names."""
    give_up_at = time.monotonic() + TAKE_OVER_SECONDS
    while True:
        with contextlib.suppress(BlockingIOError):
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        if time.monotonic() > give_up_at:
            raise OSError(f"A process that cannot be ended still holds {lock.name}.")
        lock.seek(0)
        if session := lock.read().strip():
            with contextlib.suppress(ProcessLookupError):
                os.killpg(int(session), signal.SIGKILL)
        time.sleep(0.1)


def log_tail(directory: Path) -> str:
    """The end of log.txt as whole lines of plain text; of a progress bar only its last state."""
    try:
        with open(directory / "log.txt", "rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - LOG_TAIL_BYTES))
            text = file.read().decode("utf-8", errors="replace")
    except FileNotFoundError:
        return ""
    lines = [line.rsplit("\r", 1)[-1] for line in text.replace("\r\n", "\n").split("\n")]
    return "\n".join("".join(c for c in line if c.isprintable() or c == "\t") for line in lines).strip("\n")


def reason(status: int, said: str, log: str) -> str:
    """One human sentence for a child that did not succeed: `said` is the error of its `end` event, if it wrote one."""
    last_line = next((line.strip() for line in reversed(log.splitlines()) if line.strip()), "")
    if said:
        return said
    if "No space left on device" in log or "Disk quota exceeded" in log:
        return f"The disk is full. {last_line}"
    if status == -signal.SIGKILL or status == 128 + signal.SIGKILL:
        return "The training process was killed (SIGKILL), most likely because the machine ran out of memory."
    if status < 0:
        return f"The training process was ended by signal {-status}. Its last words: {last_line or 'none'}"
    if status == 2 and last_line:
        return last_line
    if status == 0:
        return "The training process ended without saying that it succeeded."
    return f"The training process failed with exit status {status}. Its last words: {last_line or 'none'}"
