"""What leans most on the database, once more on PostgreSQL, and what can only be seen there: who waits for whom.

A process of its own, for Django connects to one database.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.servers import postgres, postgres_programs

HERE = Path(__file__).resolve().parent
QUALITY, WEB = HERE.parent / "quality", HERE.parent / "web"
FILES = [
    HERE / "races_on_postgresql.py",
    *(QUALITY / f"test_{name}.py" for name in ("adjudication", "gold", "gold_is_hidden", "progress", "report")),
    *(HERE / f"test_{name}.py" for name in ("queue", "submit", "queue_under_load", "queue_totals", "queue_left_over")),
    *(HERE / f"test_{name}.py" for name in ("demonstrations", "bulk", "prepared", "moving_judgments", "snapshots")),
    WEB / "test_labeling_page.py",
    *(HERE / f"test_{name}.py" for name in ("background", "snapshots_in_background")),
]


@pytest.mark.slow
@pytest.mark.skipif(postgres_programs() is None, reason="PostgreSQL's server programs are not installed")
def test_the_same_on_postgresql():
    """Every migration from the first, and some hundred tests."""
    with postgres() as url:
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *map(str, FILES)]
        child = subprocess.run(
            command, env=os.environ | {"DATABASE_URL": url}, cwd=HERE.parents[1], capture_output=True, text=True
        )
    assert child.returncode == 0, child.stdout[-3000:] + child.stderr[-1000:]
