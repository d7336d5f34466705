"""Sources that a rule decides by the text alone: length, valid JSON, a regular expression."""

import json
from collections.abc import Callable

import regex

from training.config import ConfigError
from training.records import Prompt
from training.rewards.json_schema import ENDLESS, validator_of
from training.rewards.patterns import compiled
from training.rewards.source import Failure
from training.rewards.spec import LengthPenalty, MaxLength, ValidJSON
from training.rewards.spec import Regex as RegexSpec

# Levels of JSON that the validator can follow a schema into, whatever its keywords cost of Python's stack.
_DEEP = 50
# ``` wherever it stands, or ~~~ at the beginning of a line, with whatever says the language.
_FENCE = regex.compile(r"(?:(`{3,})|^[ \t]*(~{3,}))[^\n`]{0,200}\n", regex.MULTILINE)


def fenced_block(text: str) -> str | None:
    """The inside of the text's first ``` or ~~~ block, if that is closed: best at the beginning of a line."""
    opening = _FENCE.search(text)
    if opening is None:
        return None
    mark, begin = opening[1] or opening[2], opening.end()
    closing = regex.compile(rf"^[ \t]*{mark}", regex.MULTILINE).search(text, begin)
    end = closing.start() if closing else text.find(mark, begin)
    return text[begin:end] if end >= 0 else None


def length_counter(unit: str, tokenizer) -> Callable[[str], int]:
    """Counts words or characters, or tokens of the policy. Raises ConfigError where there is no policy."""
    if unit == "characters":
        return len
    if unit == "words":
        return lambda text: len(text.split())
    if tokenizer is None:
        raise ConfigError("a length in tokens is counted by a policy, and this recipe has none: use words=…")
    return lambda text: len(tokenizer(text, add_special_tokens=False).input_ids)


class MaxLengthSource:
    def __init__(self, spec: MaxLength, tokenizer=None):
        self.limit, unit = spec.limit
        self.name = f"the length limit of {self.limit} {unit}"
        self.count = length_counter(unit, tokenizer)

    def score(self, prompts: list[Prompt], completions: list[str]) -> list[float]:
        return [float(self.count(text) <= self.limit) for text in completions]


class LengthPenaltySource:
    def __init__(self, spec: LengthPenalty, tokenizer=None):
        self.limit, unit = spec.limit
        self.penalty = spec.penalty
        self.name = f"the penalty beyond {self.limit} {unit}"
        self.count = length_counter(unit, tokenizer)

    def score(self, prompts: list[Prompt], completions: list[str]) -> list[float]:
        return [-self.penalty * max(self.count(text) - self.limit, 0) for text in completions]


class JSONSource:
    """Strict JSON (no NaN or Infinity), checked against the prompt's own `schema` or else the source's."""

    name = "the JSON check"

    def __init__(self, spec: ValidJSON):
        self.fenced = spec.fenced
        self.schema = None if spec.schema is None else validator_of(spec.schema)

    def score(self, prompts: list[Prompt], completions: list[str]) -> list[float | Failure]:
        return [self._one(prompt, text) for prompt, text in zip(prompts, completions, strict=True)]

    def _one(self, prompt: Prompt, text: str) -> float | Failure:
        if self.fenced and (inside := fenced_block(text)) is not None:
            text = inside
        try:
            value = json.loads(text, parse_constant=_refuse)
        except (ValueError, RecursionError):
            return 0.0
        own = prompt.reference.get("schema")
        try:
            validator = self.schema if own is None else validator_of(own)
        except ConfigError as error:
            return Failure(f"found a schema in the prompt's row, and {error},")
        try:
            return float(validator is None or validator.is_valid(value))
        except RecursionError:
            return 0.0 if _is_deep(value) else Failure(f"was given up: of its schema, {ENDLESS},")
        except TimeoutError:
            return Failure("was given up: a pattern of its schema takes too long")


class RegexSource:
    """A search that takes too long has failed: no pattern can hold up a run."""

    def __init__(self, spec: RegexSpec):
        self.name = f"the pattern {spec.pattern}"
        self.whole, self.timeout = spec.whole, spec.timeout
        self.pattern = compiled(spec.pattern)

    def score(self, prompts: list[Prompt], completions: list[str]) -> list[float | Failure]:
        return [self._one(text) for text in completions]

    def _one(self, text: str) -> float | Failure:
        search = self.pattern.fullmatch if self.whole else self.pattern.search
        try:
            return float(search(text, timeout=self.timeout) is not None)
        except TimeoutError:
            return Failure(f"was given up after {self.timeout} seconds")


def _is_deep(value) -> bool:
    """Whether JSON is nested so deep that no schema can be followed into it."""
    level = [value]
    for _ in range(_DEEP):
        inside = [one.values() if isinstance(one, dict) else one for one in level if isinstance(one, list | dict)]
        level = [one for values in inside for one in values]
    return bool(level)


def _refuse(constant: str):
    raise ValueError(f"{constant} is not JSON")
