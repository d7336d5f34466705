"""The command line: `python -m training RECIPE [--config FILE] --output DIR key=value …`, or `… serve MODEL`.

Exit codes: 0 done, 1 training failed, 2 the configuration or the data is wrong, 143 stopped by SIGTERM or Ctrl-C.
"""

import argparse
import contextlib
import ctypes
import os
import sys
import textwrap
import traceback
from collections.abc import Iterator
from pathlib import Path

from training import run_directory
from training.config import RECIPES, BaseConfig, ConfigError, about, describe, resolve, run_function, to_json
from training.events import EventLog
from training.files import write_json, write_json_lines
from training.records import RecordError
from training.run_directory import OutputTaken

DONE, FAILED, WRONG_INPUT, STOPPED = 0, 1, 2, 143

# How often a thread of torch (GNU OpenMP) looks for work before it sleeps. By default it never sleeps, which on cores
# that another program uses too made a small model forty times slower; sleeping at once made it half as fast on free
# ones. Read when torch is loaded, so it is set before.
os.environ.setdefault("GOMP_SPINCOUNT", "10000")

# oneDNN keeps a kernel, about a quarter of a megabyte, for each of the last 1,024 shapes of products in bfloat16. Those
# of decoding come again and are some eighty; a batch to learn from has a number of tokens of its own, and never does.
os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "256")

# What a tensor of some megabytes leaves free is kept for the next one. By default the C library gives it back to the
# system, which clears it page by page for the next; that took an eighth of a step's time. Other C libraries have no
# such option.
with contextlib.suppress(OSError, AttributeError):
    _M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # of malloc.h
    _mallopt = ctypes.CDLL(None).mallopt
    # An older one takes 32 MiB at most, refuses more, and would then map every tensor anew.
    if not _mallopt(_M_MMAP_THRESHOLD, 1 << 30):
        _mallopt(_M_MMAP_THRESHOLD, 32 << 20)
    _mallopt(_M_TRIM_THRESHOLD, (1 << 31) - 1)


def main(arguments: list[str] | None = None) -> int:
    arguments = sys.argv[1:] if arguments is None else arguments
    if arguments[:1] == ["serve"]:
        from training import serving

        return serving.main(arguments[1:])
    try:
        options = _parse(arguments)
        if options.settings:
            return _print_settings(options.recipe)
        output = run_directory.make(options.output)
        with run_directory.held(output) if _is_main_process() else contextlib.nullcontext():
            return _run(options, output)
    except ConfigError as error:
        return _refused(error)


def _run(options: argparse.Namespace, output: Path) -> int:
    log = EventLog(output, enabled=_is_main_process(), echo=True)
    try:
        config = resolve(options.recipe, options.config, {**_overrides(options.pairs), "output": str(output)})
    except ConfigError as error:
        if not run_directory.may_be_told(output, options.recipe):
            return _refused(error)
        return _end(log, WRONG_INPUT, str(error))
    return execute(options.recipe, config, log)


def execute(recipe: str, config: BaseConfig, log: EventLog) -> int:
    """Run a recipe in its directory; the exit code. Ends with an `end` event, unless the directory is another run's."""
    from training import failures, stopping

    output = Path(config.output)
    try:
        stopping.install()
        prepared = _prepared(output, recipe, config) if log.enabled else contextlib.nullcontext()
        with prepared, failures.of_others(config.output):
            outcome = run_function(recipe)(config, log)
        if log.enabled:
            _save(recipe, output, outcome)
    except (stopping.Cancelled, KeyboardInterrupt):
        return _end(log, STOPPED, None)
    except Exception as error:
        told = _in_a_sentence(error, output)
        failures.tell_others(told, config.output)
        if isinstance(told, OutputTaken):
            return _refused(told)
        return _end(log, WRONG_INPUT if isinstance(told, ConfigError | RecordError) else FAILED, str(told))
    log.end("succeeded", metrics=outcome.metrics)
    return DONE


def _parse(arguments: list[str]) -> argparse.Namespace:
    """Raises ConfigError for an unknown recipe; for what is no command line, argparse ends with exit code 2 too."""
    recipes = "\n".join(f"  {name:12} {about(name).splitlines()[0]}" for name in RECIPES)
    parser = argparse.ArgumentParser(
        prog="python -m training",
        description=__doc__.splitlines()[0],
        epilog=f"recipes:\n{recipes}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("recipe", nargs="?", help="one of those below")
    parser.add_argument("--config", metavar="FILE", help="a JSON file of settings; key=value words go before it")
    parser.add_argument("--output", metavar="DIR", help="the run directory")
    parser.add_argument("--settings", action="store_true", help="print what this recipe can be told, and stop")
    parser.add_argument("pairs", nargs="*", metavar="key=value")
    options = parser.parse_intermixed_args(arguments)
    if options.recipe is None:
        parser.error(f"which recipe? One of {', '.join(RECIPES)}; RECIPE --settings prints what it can be told")
    if "=" in options.recipe:
        parser.error(f"the recipe comes before its settings, and {options.recipe} is one")
    about(options.recipe)  # raises for one that there is not
    if not options.output and not options.settings:
        parser.error("--output DIR is needed: the run directory")
    return options


def _print_settings(recipe: str) -> int:
    print("\n\n".join(textwrap.fill(paragraph, 100) for paragraph in about(recipe).split("\n\n")), end="\n\n")
    for entry in describe(recipe):
        default = "needed" if entry["required"] else entry["default"]
        print(f"{entry['name']} ({entry['type']}, {default}): {entry['help']}")
    return DONE


def _overrides(pairs: list[str]) -> dict[str, str]:
    overrides = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not equals or not key:
            raise ConfigError(f"{pair} is not a setting: write key=value")
        overrides[key] = value
    return overrides


@contextlib.contextmanager
def _prepared(output: Path, recipe: str, config: BaseConfig) -> Iterator[None]:
    from training import checkpoints

    run_directory.check_fits(output, recipe, config)
    checkpoints.check_goes_on(config)
    with run_directory.earlier_results_aside(output, recipe, checkpoints=not config.resume):
        write_json(output / "config.json", to_json(recipe, config))
        yield


def _save(recipe: str, output: Path, outcome) -> None:
    if outcome.lines is not None:
        (name,) = RECIPES[recipe].writes
        write_json_lines(output / name, outcome.lines)
    write_json(output / run_directory.METRICS, outcome.metrics)
    if outcome.model is not None:
        from training.models import save_model

        save_model(outcome.model, outcome.tokenizer, output / "model", tensors=outcome.tensors)
    if outcome.adapter is not None:
        from training import adapters

        adapters.save(outcome.adapter, output / adapters.DIRECTORY)


def _in_a_sentence(error: Exception, output: Path) -> Exception:
    """A ConfigError, RecordError or TrainingError: the error itself, or what it comes to for a person."""
    from training.errors import TrainingError, is_disk_full, is_out_of_memory

    if isinstance(error, ConfigError | RecordError | TrainingError):
        return error
    if is_disk_full(error):
        return TrainingError(f"the disk that holds {output} is full")
    if is_out_of_memory(error):
        return TrainingError("memory ran out: lower tokens_per_batch, or shorten what is longest in the data")
    traceback.print_exception(error)
    return TrainingError(f"{type(error).__name__}: {error}")


def _refused(error: ConfigError) -> int:
    """The directory is left as it is: who asked for the run is told, and nobody else."""
    print(error, file=sys.stderr)
    return WRONG_INPUT


def _end(log: EventLog, code: int, error: str | None) -> int:
    if error:
        print(error, file=sys.stderr)
    try:
        log.end("cancelled" if code == STOPPED else "failed", error=error)
    except OSError as failure:
        print(f"the end could not be written to {log.path}: {failure}", file=sys.stderr)
    return code


def _is_main_process() -> bool:
    return os.environ.get("RANK", "0") == "0"


if __name__ == "__main__":
    sys.exit(main())
