"""What every test shares: no model hub, quiet tokenizers. The var/ folder of the tests is made in tests/settings.py."""

import os

# Before torch or transformers is imported by any test.
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
