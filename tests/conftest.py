"""What every test shares: no model hub, quiet tokenizers, English. The var/ folder is made in tests/settings.py."""

import os

import pytest
from django.utils import translation

# Before torch or transformers is imported by any test.
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")


@pytest.fixture(autouse=True)
def english():
    """A request in German leaves its language to the thread: the next test begins in English again."""
    yield
    translation.deactivate()
