"""The site's settings for tests: a var/ folder of their own, a database file, quick password hashes.

pytest-django reads the settings before any conftest.py, so what must be set before them is set here.
"""

import os
import tempfile

os.environ["PREFLOOP_VAR"] = tempfile.mkdtemp(prefix="prefloop-test-")

from annotate.settings import *  # noqa: F403
from annotate.settings import DATABASES, VAR_DIR

if DATABASES["default"]["ENGINE"] == "django.db.backends.sqlite3":
    # A file, as in production: in memory, threads would share one connection's locks.
    DATABASES["default"]["TEST"] = {"NAME": str(VAR_DIR / "test.sqlite3")}

PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
