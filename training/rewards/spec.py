"""What `rewards=` and `judges=` can be told: a list of sources, a dataclass a kind. No torch.

On the command line a list is JSON text or the name of a JSON file; in a config file it is JSON itself.
"""

import json
from dataclasses import dataclass
from pathlib import Path

from training.config import ConfigError, filled, setting, suggestion
from training.rewards import statements
from training.rewards.numerals import only_number
from training.rewards.patterns import compiled

UNITS = ("tokens", "words", "characters")
# What is expected of a field that a row lacks.
_PRESENT = "this field to be present"


@dataclass(frozen=True, kw_only=True)
class Source:
    """What every source can be told."""

    name: str | None = setting(None, "of its curve; none takes the kind of source")
    weight: float = setting(1.0, "what its score counts in the sum")
    threshold: float = setting(0.5, "as a judge: a completion passes from this score on")

    def check(self) -> None:
        """Raise ConfigError where settings do not fit together."""

    def wrong_in(self, reference: dict) -> tuple[str, str] | None:
        """(field, what should be there) where answers cannot be checked by this `reference` of a prompt's row."""
        return None


@dataclass(frozen=True, kw_only=True)
class ModelReward(Source):
    path: str = setting(help="a reward model: a local directory or a hub id")


@dataclass(frozen=True, kw_only=True)
class _Length(Source):
    tokens: int | None = setting(None, "the limit, in tokens of the policy", low=0)
    words: int | None = setting(None, "the limit, in words", low=0)
    characters: int | None = setting(None, "the limit, in characters", low=0)

    def check(self) -> None:
        if sum(getattr(self, unit) is not None for unit in UNITS) != 1:
            raise ConfigError("needs a limit in exactly one of tokens, words, characters")

    @property
    def limit(self) -> tuple[int, str]:
        """(number, unit)"""
        return next((getattr(self, unit), unit) for unit in UNITS if getattr(self, unit) is not None)


@dataclass(frozen=True, kw_only=True)
class MaxLength(_Length):
    """1 up to the limit, 0 beyond it."""


@dataclass(frozen=True, kw_only=True)
class LengthPenalty(_Length):
    """−penalty for each unit beyond the limit; a limit of 0 makes it linear in the length."""

    penalty: float = setting(0.01, "taken off for each unit beyond the limit", low=0)


@dataclass(frozen=True, kw_only=True)
class ValidJSON(Source):
    """1 for JSON (that fits the schema), else 0."""

    schema: dict | None = setting(
        None,
        "a JSON schema, or the name of a file with one; a prompt's own schema goes before it",
        parse=lambda name, value: _schema(name, value),
    )
    fenced: bool = setting(False, "JSON inside a ``` block counts too")

    def check(self) -> None:
        if self.schema is not None:
            from training.rewards.json_schema import validator_of  # takes long to import, and is seldom needed

            validator_of(self.schema)

    def wrong_in(self, reference: dict) -> tuple[str, str] | None:
        from training.rewards.json_schema import validator_of

        try:
            if "schema" in reference:
                validator_of(reference["schema"])
        except ConfigError as error:
            return "schema", f"a JSON schema, and {error}"
        return None


@dataclass(frozen=True, kw_only=True)
class Regex(Source):
    """1 where the pattern is found, else 0."""

    pattern: str = setting(help="a regular expression, in the syntax of Python's regex package")
    whole: bool = setting(False, "the pattern must match the whole completion")
    timeout: float = setting(1.0, "seconds after which a search is given up, and the source has failed", low=0.001)

    def check(self) -> None:
        compiled(self.pattern)


@dataclass(frozen=True, kw_only=True)
class MathAnswer(Source):
    """1 where the completion's final number is the prompt's `answer`, else 0."""

    tolerance: float = setting(1e-6, "relative error that still counts as equal", low=0)

    def wrong_in(self, reference: dict) -> tuple[str, str] | None:
        answer = reference.get("answer")
        if answer is None:
            return "answer", _PRESENT
        return None if only_number(answer) else ("answer", f"one number, and {answer[:100]!r} is none or several")


@dataclass(frozen=True, kw_only=True)
class CodeTests(Source):
    """The share of the prompt's `tests` that the completion's Python program passes."""

    all: bool = setting(False, "1 where every test passes, else 0")
    timeout: float = setting(5.0, "seconds for a program with all of its tests", low=0.1)
    memory_mb: int = setting(512, "address space of a process", low=64)
    processes: int = setting(8, "processes and threads of a program at once", low=1)
    parallel: int = setting(2, "programs that run at the same time", low=1)

    def wrong_in(self, reference: dict) -> tuple[str, str] | None:
        tests = reference.get("tests")
        if not tests:
            return "tests", _PRESENT
        return next(
            ((f"tests[{number}]", wrong) for number, test in enumerate(tests) if (wrong := statements.wrong_in(test))),
            None,
        )


@dataclass(frozen=True, kw_only=True)
class JudgeSettings:
    """Which model judges, by what, and how patiently it is asked; for the source and for the recipe `judge`."""

    model: str = setting(help="the judge: a local directory or hub id; with address the model's name there")
    address: str | None = setting(None, "of an OpenAI-compatible server, such as http://127.0.0.1:8000/v1")
    key_variable: str = setting("OPENAI_API_KEY", "environment variable that holds the server's key, if it needs one")
    rubric: str = setting("helpful", "helpful, truthful or harmless, or the name of a text file with a rubric")
    timeout: float = setting(60.0, "seconds to wait for an answer of the server", low=0.01)
    tries: int = setting(4, "times that the server is asked before the judge has failed", low=1)
    parallel: int = setting(8, "questions that the server is asked at the same time", low=1)


@dataclass(frozen=True, kw_only=True)
class JudgeReward(JudgeSettings, Source):
    """What a language model says of the completion: a score from 0 to 1."""

    scale: str = setting("rating", "a rating from 1 to 10, or yes or no", choices=("rating", "yes_no"))


@dataclass(frozen=True, kw_only=True)
class FunctionReward(Source):
    """What a Python function of your own says: function(messages, completion, reference) -> number."""

    path: str = setting(help="package.module:function, listed in PREFLOOP_REWARD_FUNCTIONS on the worker's machine")


KINDS: dict[str, type[Source]] = {
    "model": ModelReward,
    "max_length": MaxLength,
    "length_penalty": LengthPenalty,
    "json": ValidJSON,
    "regex": Regex,
    "math": MathAnswer,
    "code": CodeTests,
    "judge": JudgeReward,
    "function": FunctionReward,
}

# Kinds that name a file, model or address.
_REACH_OUT = ("model", "judge")


def parse_sources(field: str, value) -> list[dict]:
    """The list as JSON values, each checked; what `config.json` holds. Raises ConfigError naming field and place."""
    rows = _read(field, value) if isinstance(value, str) else value
    rows = [rows] if isinstance(rows, dict) else rows
    if not isinstance(rows, list) or not rows:
        raise ConfigError(f'{field} must be a list of sources such as [{{"source": "max_length", "tokens": 64}}]')
    rows = [dict(row) if isinstance(row, dict) else row for row in rows]
    sources_of(field, rows)
    return rows


def sources_of(field: str, rows: list[dict]) -> dict[str, Source]:
    """{name: source} in order; of equal names the second is name_2. Raises ConfigError."""
    named: dict[str, Source] = {}
    for number, row in enumerate(rows):
        source = _source(f"{field}[{number}]", row)
        name, count = source.name or row["source"], 1
        while name in named:
            count += 1
            name = f"{source.name or row['source']}_{count}"
        named[name] = source
    return named


def reaches_out(row: dict) -> bool:
    """Whether a source names a file, a model or an address: not for people who must not reach the worker's machine.

    A function does not: the machine itself says which may be named (`functions.py`).
    """
    return row.get("source") in _REACH_OUT or isinstance(row.get("schema"), str)


def _source(place: str, row) -> Source:
    if not isinstance(row, dict) or not isinstance(row.get("source"), str):
        raise ConfigError(f'{place} must be an object with a "source", one of {", ".join(KINDS)}')
    kind = row["source"]
    if kind not in KINDS:
        raise ConfigError(f"{place}: there is no source {kind}{suggestion(kind, KINDS)}; known: {', '.join(KINDS)}")
    place = f"{place} ({kind})"
    try:
        source = filled(place, KINDS[kind], [(key, value) for key, value in row.items() if key != "source"])
        source.check()
    except ConfigError as error:
        raise ConfigError(str(error) if str(error).startswith(place) else f"{place}: {error}") from None
    if source.name is not None and not source.name.isidentifier():
        raise ConfigError(f"{place}: name={source.name} must be a word of letters, digits and _")
    return source


def _read(field: str, text: str):
    """JSON text, or the JSON of a file of this name."""
    inline = text.lstrip().startswith(("[", "{"))
    try:
        return json.loads(text if inline else Path(text).read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ConfigError(f"{field} is not readable as JSON: {error}") from None
    except OSError:
        raise ConfigError(f"{field}={text} is neither a JSON list of sources nor a file with one") from None


def _schema(field: str, value) -> dict:
    schema = _read(field, value) if isinstance(value, str) else value
    if not isinstance(schema, dict):
        raise ConfigError(f"{field} must be a JSON schema, which is an object, or the name of a file with one")
    return schema
