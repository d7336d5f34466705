"""What every test shares: a var/ folder of its own, one thread per process for torch, no model hub."""

import os
import tempfile

# Before Django or torch is imported by any test.
os.environ["PREFLOOP_VAR"] = tempfile.mkdtemp(prefix="prefloop-test-")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
