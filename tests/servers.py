"""PostgreSQL and Redis for tests that need a real server: on loopback, in a scratch folder, stopped after."""

import contextlib
import os
import pwd
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait_for(condition, what: str, seconds: float = 30.0, every: float = 0.05):
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
def postgres(folder: Path) -> Iterator[str]:
    """A PostgreSQL server, with an empty database unless `folder` has one; yields its DATABASE_URL."""
    programs, port = postgres_programs(), free_port()
    data = folder / "postgres"
    # PostgreSQL refuses to run as root, so root hands it to the account that Debian's package made.
    account = "postgres" if os.geteuid() == 0 else None
    made = data.exists()
    data.mkdir(mode=0o700, exist_ok=True)
    if account:
        user = pwd.getpwnam(account)
        os.chown(data, user.pw_uid, user.pw_gid)
        for parent in [data.parent, *data.parent.parents]:
            if parent.stat().st_uid == 0 and not parent.stat().st_mode & 0o001:
                parent.chmod(parent.stat().st_mode | 0o011)

    def run(*command: str, **options):
        return subprocess.Popen([str(programs / command[0]), *command[1:]], user=account, cwd=data, **options)

    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.STDOUT}
    assert made or run("initdb", "-D", str(data), "-U", "prefloop", "-A", "trust", "-N", **quiet).wait() == 0
    server = run("postgres", "-D", str(data), "-h", "127.0.0.1", "-p", str(port), "-k", "", "-F", **quiet)
    try:
        wait_for(lambda: accepts_connections(port), "PostgreSQL")
        ready = [str(programs / "pg_isready"), "-h", "127.0.0.1", "-p", str(port), "-q"]
        wait_for(lambda: subprocess.run(ready).returncode == 0, "PostgreSQL")
        yield f"postgres://prefloop@127.0.0.1:{port}/postgres"
    finally:
        server.terminate()
        server.wait(timeout=30)


@contextlib.contextmanager
def redis(folder: Path) -> Iterator[str]:
    """A Redis server that keeps nothing; yields its CELERY_BROKER_URL."""
    port = free_port()
    server = subprocess.Popen(
        [shutil.which("redis-server"), "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", str(folder)],
        stdout=subprocess.DEVNULL,
    )
    try:
        wait_for(lambda: accepts_connections(port), "Redis")
        yield f"redis://127.0.0.1:{port}/0"
    finally:
        server.terminate()
        server.wait(timeout=30)
