"""A real site and worker in a scratch folder, and a real Chromium to use them with."""

import contextlib
import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.servers import NEVER, wait_for

ROOT = Path(__file__).resolve().parent.parent.parent
CHROMIUM_FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@dataclass(frozen=True)
class Site:
    """A running Prefloop: its address, its var/ folder and the demo accounts' passwords."""

    address: str
    var: Path
    passwords: dict[str, str]


@pytest.fixture(scope="session")
def chromium() -> str:
    path = shutil.which("chromium") or shutil.which("chromium-browser")
    if path is None:
        # A person may go without; continuous integration installs it and may not.
        assert not os.environ.get("CI"), "CI has to install Chromium: the browser tests may not be skipped there"
        pytest.skip("no Chromium on this machine (Debian: apt install chromium)")
    return path


@pytest.fixture(scope="session")
def starter(tmp_path_factory) -> Path:
    """The starter model as a newcomer gets it."""
    run = tmp_path_factory.mktemp("starter") / "run"
    subprocess.run([sys.executable, "-m", "training", "starter", "--output", str(run)], cwd=ROOT, check=True)
    return run / "model"


@pytest.fixture(scope="session")
def site(chromium, tmp_path_factory, starter) -> Site:
    """What `make up` makes, as it makes it."""
    var = tmp_path_factory.mktemp("site")
    shutil.copytree(starter, var / "models" / "starter" / "model")
    environment = {**os.environ, "PREFLOOP_VAR": str(var), "DJANGO_SETTINGS_MODULE": "annotate.settings"}
    for command in (["migrate", "-v0"], ["demo"]):
        subprocess.run([sys.executable, "manage.py", *command], cwd=ROOT, env=environment, check=True)
    log = var / "serve.log"
    with log.open("w") as output:
        server = subprocess.Popen(
            [sys.executable, "manage.py", "serve", "--port", "0"],
            cwd=ROOT,
            env=environment,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        wait_for(lambda: "Ctrl-C stops" in log.read_text() or server.poll() is not None, "the site", seconds=5 * NEVER)
        assert server.poll() is None, log.read_text()
        address = re.search(r"http://127\.0\.0\.1:\d+", log.read_text()).group()
        yield Site(address, var, json.loads((var / "demo-accounts.json").read_text()))
    finally:
        server.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            server.wait(timeout=NEVER)
        server.kill()


@pytest.fixture(scope="session")
def browser(chromium):
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=CHROMIUM_FLAGS, timeout=NEVER * 1000)
        yield browser
        browser.close()
