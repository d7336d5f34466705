"""JSON schemas as the rewards use them: no address is ever fetched, and no pattern can hold up a run."""

import functools
import json

import jsonschema
from jsonschema.exceptions import SchemaError, ValidationError
from referencing import Registry
from referencing.exceptions import Unresolvable

from training.config import ConfigError
from training.rewards.patterns import compiled

# Seconds for one search of a schema's pattern in one string.
_PATTERN_SECONDS = 1.0
ENDLESS = "it refers to itself without end"


def validator_of(schema: dict):
    """Of the draft that the schema names. Raises ConfigError where it is no schema, or a pattern in it is none.

    An empty registry: a "$ref" never makes it fetch an address. One that leads nowhere, or back to itself, is refused
    where the smallest values meet it already; else `is_valid` raises Unresolvable or RecursionError, and for a pattern
    that backtracks for ever TimeoutError.
    """
    return _validator_of(json.dumps(schema))


@functools.lru_cache(maxsize=256)  # rows of one task have the same, which takes longer to check than an answer
def _validator_of(text: str):
    schema = json.loads(text)
    cls = jsonschema.validators.validator_for(schema)
    try:
        cls.check_schema(schema)
    except SchemaError as error:
        raise ConfigError(f"the JSON schema is not one: {error.message}") from None
    bounded = {
        "pattern": _pattern,
        "patternProperties": _pattern_properties,
        "additionalProperties": _additional_properties,
    }
    validator = jsonschema.validators.extend(cls, bounded)(schema, registry=Registry())
    try:
        for smallest in (None, "", 0, [], {}):
            validator.is_valid(smallest)
    except RecursionError:
        raise ConfigError(f"the JSON schema is not one: {ENDLESS}") from None
    except Unresolvable as error:
        raise ConfigError(f"the JSON schema refers to what is not in it: {error.ref}") from None
    return validator


def _pattern(validator, pattern, instance, schema):
    if validator.is_type(instance, "string") and not _found(pattern, instance):
        yield ValidationError(f"{instance!r} does not match {pattern!r}")


def _pattern_properties(validator, by_pattern, instance, schema):
    if not validator.is_type(instance, "object"):
        return
    for pattern, below in by_pattern.items():
        for key, value in instance.items():
            if _found(pattern, key):
                yield from validator.descend(value, below, path=key, schema_path=pattern)


def _additional_properties(validator, below, instance, schema):
    """What neither "properties" nor "patternProperties" names."""
    if not validator.is_type(instance, "object"):
        return
    named, patterns = schema.get("properties", {}), schema.get("patternProperties", {})
    for key, value in instance.items():
        if key not in named and not any(_found(pattern, key) for pattern in patterns):
            yield from validator.descend(value, below, path=key)


def _found(pattern: str, text: str) -> bool:
    return compiled(pattern).search(text, timeout=_PATTERN_SECONDS) is not None
