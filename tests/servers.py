"""PostgreSQL and Redis for tests that need a real server: on loopback, in a scratch folder, stopped after."""

import contextlib
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

# For what comes soon, or never: far above what it takes on a machine that is ten times slower and busy.
NEVER = 120.0


def free_port() -> int:
    """A port that is free now. Somebody else may take it before it is used: see `_on_a_free_port`."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait_for(condition, what: str, seconds: float = NEVER, every: float = 0.05):
    """The first true value of `condition()`; AssertionError that says what never came."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if value := condition():
            return value
        time.sleep(every)
    raise AssertionError(f"{what} did not come within {seconds:.0f} s")


def accepts_connections(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def postgres_programs() -> Path | None:
    """The newest installed PostgreSQL's folder of server programs, or None."""
    folders = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: int(path.parent.name))
    return folders[-1] if folders else None


@contextlib.contextmanager
def postgres(folder: Path | None = None) -> Iterator[str]:
    """A PostgreSQL server; yields its DATABASE_URL.

    Its database is empty and forgotten, or in `folder`, where it may be from before. No folder of pytest's: PostgreSQL
    refuses to run as root, and whatever way into them another account is given, the next session of pytest closes.
    """
    if folder is None:
        scratch = tempfile.TemporaryDirectory(prefix="prefloop-postgres-", ignore_cleanup_errors=True)
        with scratch, postgres(Path(scratch.name)) as url:
            yield url
        return
    programs, data = postgres_programs(), folder / "postgres"
    # Root hands it to the account that Debian's package made.
    account = "postgres" if os.geteuid() == 0 else None
    made = data.exists()
    data.mkdir(mode=0o700, exist_ok=True)
    if account:
        user = pwd.getpwnam(account)
        os.chown(data, user.pw_uid, user.pw_gid)
        for parent in [data.parent, *data.parent.parents]:
            if parent.stat().st_uid == 0 and not parent.stat().st_mode & 0o001:
                parent.chmod(parent.stat().st_mode | 0o011)

    def run(*command: str, output) -> subprocess.Popen:
        return subprocess.Popen(
            [str(programs / command[0]), *command[1:]], user=account, cwd=data, stdout=output, stderr=subprocess.STDOUT
        )

    def start(port: int, output) -> subprocess.Popen:
        return run("postgres", "-D", str(data), "-h", "127.0.0.1", "-p", str(port), "-k", "", "-F", output=output)

    def is_ready(server: subprocess.Popen) -> bool:
        """By the file that a server keeps in its data: its process first, its state last."""
        with contextlib.suppress(FileNotFoundError):
            told = (data / "postmaster.pid").read_text().split()
            return told[:1] == [str(server.pid)] and told[-1] == "ready"

    if not made:
        initdb = run("initdb", "-D", str(data), "-U", "prefloop", "-A", "trust", "-N", output=subprocess.DEVNULL)
        assert initdb.wait() == 0
    with _on_a_free_port(start, is_ready, folder / "postgres.log") as port:
        yield f"postgres://prefloop@127.0.0.1:{port}/postgres"


@contextlib.contextmanager
def redis(folder: Path) -> Iterator[str]:
    """A Redis server that keeps nothing; yields its CELERY_BROKER_URL."""
    log = folder / "redis.log"

    def start(port: int, output) -> subprocess.Popen:
        command = [shutil.which("redis-server"), "--port", str(port), "--bind", "127.0.0.1", "--save", "",
                   "--dir", str(folder)]  # fmt: skip
        return subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT)

    with _on_a_free_port(start, lambda _server: "Ready to accept connections" in log.read_text(), log) as port:
        yield f"redis://127.0.0.1:{port}/0"


@contextlib.contextmanager
def _on_a_free_port(start: Callable, is_ready: Callable, log: Path) -> Iterator[int]:
    """The server that `start(port, log)` starts, from when `is_ready(server)` until it is stopped; yields its port.

    What is asked is this very server: where somebody else was quicker on its port, it ends, and another one is tried.
    """
    server = None
    try:
        for _attempt in range(20):
            port = free_port()
            with log.open("w") as output:
                server = start(port, output)
            wait_for(lambda server=server: server.poll() is not None or is_ready(server), f"the server of {log}")
            if server.poll() is None:
                break
        assert server.poll() is None, log.read_text()[-3000:]
        yield port
    finally:
        if server and server.poll() is None:
            server.send_signal(signal.SIGINT)  # at once, whoever is still connected
            server.wait(timeout=NEVER)
