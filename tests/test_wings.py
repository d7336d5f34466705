"""The two wings stay apart: `training` imports without Django, `annotate` without torch, module by module."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent

# Runs in a fresh interpreter: blocks the packages, then imports every module below the wing.
IMPORT_ALL = """
import importlib, importlib.abc, pkgutil, sys
wing, blocked = sys.argv[1], set(sys.argv[2].split(","))

class Block(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in blocked:
            raise ImportError(f"{name} is blocked: {wing} must not need it")

sys.meta_path.insert(0, Block())
if wing == "annotate":
    import django
    django.setup()
package = importlib.import_module(wing)
names = [m.name for m in pkgutil.walk_packages(package.__path__, wing + ".")]
names = [n for n in names if not n.endswith("__main__")]
for name in names:
    importlib.import_module(name)
print(len(names))
"""


@pytest.mark.parametrize(
    ("wing", "blocked"),
    [
        ("training", "django,rest_framework,celery,annotate"),
        ("annotate", "torch,transformers,accelerate,peft,safetensors,tokenizers"),
        ("world", "django,torch,transformers,annotate,training"),
    ],
)
def test_wing_imports_alone(wing, blocked, tmp_path):
    result = subprocess.run(
        [sys.executable, "-c", IMPORT_ALL, wing, blocked],
        cwd=ROOT,
        capture_output=True,
        text=True,
        env={"PATH": "/usr/bin:/bin", "DJANGO_SETTINGS_MODULE": "annotate.settings", "PREFLOOP_VAR": str(tmp_path)},
    )
    assert result.returncode == 0, result.stderr
    assert int(result.stdout) >= 3, "the walk found no modules: the test would prove nothing"


def test_reading_records_and_configs_needs_no_torch():
    """The site validates uploads and run settings with them, and a web server has no torch."""
    code = "import sys, training.records, training.config; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT).returncode == 0
