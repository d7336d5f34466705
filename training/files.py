"""Files and directories that appear whole or not at all, also when the power goes or the disk is full."""

import json
import os
import shutil
from collections.abc import Iterable
from pathlib import Path


def write_json(path: str | os.PathLike, value) -> None:
    """Write beside, fsync, rename over."""
    _write_text(path, [json.dumps(value, indent=2, ensure_ascii=False)])


def write_json_lines(path: str | os.PathLike, rows: Iterable[dict]) -> None:
    """One JSON object a line, in the same way."""
    _write_text(path, (json.dumps(row, ensure_ascii=False) for row in rows))


def _write_text(path: str | os.PathLike, lines: Iterable[str]) -> None:
    path = Path(path)
    aside = path.with_name(f".{path.name}.part")
    try:
        with open(aside, "w", encoding="utf-8") as file:
            for line in lines:
                file.write(line + "\n")
            file.flush()
            os.fsync(file.fileno())
        os.replace(aside, path)
        _fsync(path.parent)
    finally:
        aside.unlink(missing_ok=True)


def fsync_tree(directory: Path) -> None:
    """Push every file and folder below to the disk."""
    for path in directory.rglob("*"):
        _fsync(path)
    _fsync(directory)


def permit_like(weights: Path, other: Path) -> None:
    """Safetensors are written for their owner alone; whoever may read the other file may then read them."""
    weights.chmod(other.stat().st_mode)


def replace_directory(aside: Path, target: Path) -> None:
    """Rename `aside` to `target`. A directory already there leaves first; between the two renames there is none."""
    old = target.with_name(f".{target.name}.old")
    shutil.rmtree(old, ignore_errors=True)
    if target.exists():
        os.rename(target, old)
    os.rename(aside, target)
    _fsync(target.parent)
    shutil.rmtree(old, ignore_errors=True)


def _fsync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
