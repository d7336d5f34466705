"""Regular expressions that somebody else wrote: refused where they are none, or where compiling them would not end."""

import functools
import math
import re

import regex

from training.config import ConfigError

# A counted group is compiled as often as it may repeat, and one within another as often as both.
_MOST_REPEATS = 100_000
_LONGEST = 10_000
_COUNT = re.compile(r"(\)?)\{(\d*)(?:,(\d*))?\}")


@functools.lru_cache(maxsize=256)
def compiled(pattern: str) -> regex.Pattern:
    """Raises ConfigError."""
    # A count of none is 1 here, lest it makes nothing of the others; of a long one the first digits are too many.
    counts = [
        (group, max(int(number.lstrip("0")[:7] or 1) for number in (low, high)))
        for group, low, high in _COUNT.findall(pattern[:_LONGEST])
    ]
    repeats = math.prod(count for group, count in counts if group) * max((count for _, count in counts), default=1)
    if len(pattern) > _LONGEST or repeats > _MOST_REPEATS:
        raise ConfigError(f"the pattern {pattern[:100]} is too large")
    try:
        return regex.compile(pattern)
    except (regex.error, RecursionError) as error:
        raise ConfigError(f"the pattern {pattern[:100]} is no regular expression: {error}") from None
