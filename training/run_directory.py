"""The run directory: one run at a time and of one recipe, and as it was before if the input turns out to be wrong.

What a run leaves there when it succeeds is named in `training.config.RECIPES`, and metrics.json.
"""

import contextlib
import dataclasses
import fcntl
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from training.config import RECIPES, BaseConfig, ConfigError
from training.records import RecordError

METRICS = "metrics.json"
_CHECKPOINTS = "checkpoints"
_EARLIER = ".earlier"


class OutputTaken(ConfigError):
    """The directory is not this run's to write to: nothing in it changes, and it is not told of the attempt."""


def make(path: str) -> Path:
    """The directory, made if need be, absolute. Raises ConfigError."""
    try:
        output = Path(path).absolute()
        output.mkdir(parents=True, exist_ok=True)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ConfigError(f"the run directory {path!r} cannot be made: {reason}") from None
    if not os.access(output, os.W_OK):
        raise ConfigError(f"the run directory {path} cannot be written to")
    return output


@contextlib.contextmanager
def held(output: Path) -> Iterator[None]:
    """Held by this process until the block ends, however it ends. Raises OutputTaken while another run holds it."""
    descriptor = os.open(output, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        raise OutputTaken(f"another run is at work in {output}: wait for its end, or give another --output") from None
    except OSError:
        pass  # a file system without such locks
    try:
        yield
    finally:
        os.close(descriptor)


def check_fits(output: Path, recipe: str, config: BaseConfig) -> None:
    """Raise OutputTaken where this run would destroy what is no earlier attempt at it."""
    path = output / "config.json"
    if path.exists():
        there = _recipe_of(path)
        if there is None:
            raise OutputTaken(f"{output} holds a config.json that is not of a run: give another --output")
        if there != recipe and _work_in(output):
            raise OutputTaken(f"{output} holds a run of {there}, not {recipe}: give another --output")
    elif replaced := [name for name in (*results_of(recipe), _CHECKPOINTS) if (output / name).exists()]:
        raise OutputTaken(f"{output} holds {replaced[0]}, which is not of a run: give another --output")
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        if field.name != "output" and isinstance(value, str) and _lies_in_results(value, output, recipe):
            raise OutputTaken(f"{field.name}={value} is what this run would replace: give another --output")


def may_be_told(output: Path, recipe: str) -> bool:
    """Whether a run whose settings are wrong may say so in the directory: it holds nothing that another run left."""
    path = output / "config.json"
    return not _work_in(output) and (not path.exists() or _recipe_of(path) == recipe)


def results_of(recipe: str) -> tuple[str, ...]:
    """The names of what a run of this recipe leaves."""
    return *RECIPES[recipe].writes, METRICS


def _work_in(output: Path) -> list[str]:
    """The names of all that a run of any recipe could have left, which are there."""
    names = {_CHECKPOINTS, *(name for recipe in RECIPES for name in results_of(recipe))}
    return [name for name in sorted(names) if (output / name).exists()]


@contextlib.contextmanager
def earlier_results_aside(output: Path, recipe: str, *, checkpoints: bool) -> Iterator[None]:
    """What an earlier run left does not pass for this one's; where the input is wrong, it is put back."""
    aside = output / _EARLIER
    shutil.rmtree(aside, ignore_errors=True)  # of a run that was killed
    aside.mkdir()
    with contextlib.suppress(FileNotFoundError):
        # A copy, since the other processes of this run may be about to read it as their --config.
        shutil.copy2(output / "config.json", aside / "config.json")
    for name in (*results_of(recipe), *([_CHECKPOINTS] if checkpoints else [])):
        with contextlib.suppress(FileNotFoundError):
            os.rename(output / name, aside / name)
    try:
        yield
    except (ConfigError, RecordError):
        _put_back(aside, output)
        raise
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def _put_back(aside: Path, output: Path) -> None:
    for path in aside.iterdir():
        target = output / path.name
        if target.is_dir():
            shutil.rmtree(target)
        os.replace(path, target)


def _recipe_of(path: Path) -> str | None:
    try:
        return json.loads(path.read_text(encoding="utf-8")).get("recipe")
    except (OSError, ValueError, AttributeError):
        return None


def _lies_in_results(value: str, output: Path, recipe: str) -> bool:
    try:
        path = Path(value).resolve()
    except (OSError, ValueError, RuntimeError):
        return False
    return any(path.is_relative_to(output.resolve() / name) for name in results_of(recipe))
