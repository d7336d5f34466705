"""What every test shares: no model hub, quiet tokenizers, one starter model.

The var/ folder of the tests is made in tests/settings.py.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

# Before torch or transformers is imported by any test.
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def starter(tmp_path_factory) -> Path:
    """The starter model as a newcomer gets it, built once for all tests that need a model which answers."""
    run = tmp_path_factory.mktemp("starter") / "run"
    subprocess.run([sys.executable, "-m", "training", "starter", "--output", str(run)], cwd=ROOT, check=True)
    return run / "model"
