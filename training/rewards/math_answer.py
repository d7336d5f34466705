"""The numeric answer of a math problem: found in a text, and compared with the one that the prompt's row brings.

Where a text says its answer: after "####" (GSM8K), in \\boxed{…} (MATH), after "answer is", and else its last number.
"""

import re
from fractions import Fraction
from typing import NamedTuple

from training.records import Prompt
from training.rewards.source import Failure
from training.rewards.spec import MathAnswer

# Longer digit strings are no answer that anybody asked for, and arithmetic on them takes long.
_LONGEST = 200
_LARGEST_POWER = 100

# 1234.5 · 1,234.5 · 1{,}234 and 1\,234 of LaTeX · 1 234 with a space that does not break · 1.234.567
_SEPARATOR = r"(?:,|\{,\}|\\,|[\u00a0\u2009\u202f])"
_PLAIN = rf"(?:\d{{1,3}}(?:{_SEPARATOR}\d{{3}})+(?!\d)|\d{{1,3}}(?:\.\d{{3}}){{2,}}(?!\d)|\d+)(?:\.\d+)?|\.\d+"
_SYMBOL = r"\\sqrt|√|\\pi|π|\\infty|∞"


def _argument(name: str) -> str:
    """Of \\frac: {3} or, of one digit, 3."""
    return rf"\s*(?:\{{(?P<{name}>[^{{}}]*)\}}|(?P<{name}_digit>\d))"


_NUMBER = re.compile(
    # Not at an exponent, at an index or in the middle of a number.
    rf"""(?<![\^_\d])(?<![\^_]\{{)(?<![\^_][-−+])(?<![\^_]\{{[-−+])
    (?P<sign>[-−+]?)\s?(?:\\?[$€£])?\s?
    (?:(?:(?P<ones>\d+)\s*)?\\[dt]?frac{_argument("top")}{_argument("below")}
      |(?P<whole>\d+)\s+(?P<part>\d+)\s*/\s*(?P<parts>\d+)
      |(?P<symbol>{_SYMBOL})
      |(?P<number>{_PLAIN})
        (?:[eE](?P<exponent>[-+]?\d{{1,3}})(?!\w)
          |\s*(?:\\times|\\cdot|[×·*x])\s*10\s*\^\s*\{{?\s*(?P<of_ten>[-−+]?\d{{1,3}})\s*\}}?
          |\s*\^\s*\{{?\s*(?P<power>[-−+]?\d{{1,3}})\s*\}}?)?
        (?:\s*/\s*(?P<divisor>\d+(?:\.\d+)?))?)
    (?P<times>\s*(?:{_SYMBOL}))?
    \s*(?:\\,)?(?P<percent>\\?%)?""",
    re.VERBOSE,
)
_ANSWER_IS = re.compile(r"answer\s*(?:is|:|=)", re.IGNORECASE)


class MathAnswerSource:
    name = "the math check"

    def __init__(self, spec: MathAnswer):
        self.tolerance = spec.tolerance

    def score(self, prompts: list[Prompt], completions: list[str]) -> list[float | Failure]:
        return [self._one(prompt, text) for prompt, text in zip(prompts, completions, strict=True)]

    def _one(self, prompt: Prompt, text: str) -> float | Failure:
        if "answer" not in prompt.reference:
            return Failure('found no "answer" in the prompt\'s row')
        answer = prompt.reference["answer"]
        expected = None if re.search(_SYMBOL, answer) else _final(answer)
        if expected is None:
            return Failure(f"found no number in the answer {answer!r} of the prompt's row")
        found = _final(text)
        return float(found is not None and any(self._equal(*pair) for pair in _readings(found, expected)))

    def _equal(self, found: Fraction, expected: Fraction) -> bool:
        return abs(found - expected) <= Fraction(self.tolerance) * max(abs(expected), 1)


class _Number(NamedTuple):
    value: Fraction
    """25% is 1/4"""
    percent: bool


def final_number(text: str) -> Fraction | None:
    """The number that the text ends up with: exact, so that 1/3 is not 0.333333.

    Signs, thousands separators, decimals, powers (2^{10}, 3 × 10^4), fractions (3/4, 1 1/2, \\frac{3}{4}) and percents
    (25% is 1/4) are read, units and currencies around them passed over. Roots and π are no numbers to it.
    """
    number = _final(text)
    return number and number.value


def _readings(found: _Number, expected: _Number) -> list[tuple[Fraction, Fraction]]:
    """The pairs to compare: where one alone says percent, "25%" is both 1/4 and the 25 of a question in percent."""
    pairs = [(found.value, expected.value)]
    if found.percent != expected.percent:
        pairs.append((found.value * 100**found.percent, expected.value * 100**expected.percent))
    return pairs


def _final(text: str) -> _Number | None:
    if "####" in text:
        return _first(text.rsplit("####", 1)[1])
    boxed = _boxed(text)
    if boxed is not None:
        return None if re.search(_SYMBOL, boxed) else _last(boxed)
    said = list(_ANSWER_IS.finditer(text))
    if said and (number := _first(text[said[-1].end() :])) is not None:
        return number
    return _last(text)


def _boxed(text: str) -> str | None:
    """The inside of the last \\boxed{…}, whose braces may nest."""
    start = text.rfind("\\boxed{")
    if start < 0:
        return None
    depth = 0
    for place in range(start + 6, len(text)):
        depth += {"{": 1, "}": -1}.get(text[place], 0)
        if depth == 0:
            return text[start + 7 : place]
    return None


def _first(text: str) -> _Number | None:
    match = _NUMBER.search(text)
    return match and _value(match)


def _last(text: str) -> _Number | None:
    matches = list(_NUMBER.finditer(text))
    return _value(matches[-1]) if matches else None


def _value(match: re.Match) -> _Number | None:
    """None for what looks like a number and is none: 1/0, a root, digits without end."""
    if len(match.group()) > _LONGEST or match["symbol"] or match["times"]:
        return None
    try:
        value = _magnitude(match)
    except (ZeroDivisionError, ValueError):
        return None
    negative = match["sign"] in ("-", "−") and not _subtracts(match)
    return _Number((-value if negative else value) / (100 if match["percent"] else 1), bool(match["percent"]))


def _magnitude(match: re.Match) -> Fraction:
    """Raises ZeroDivisionError, and ValueError for a fraction of other things than numbers."""
    if match["whole"]:
        return int(match["whole"]) + Fraction(int(match["part"]), int(match["parts"]))
    if match["number"] is None:
        top, below = (_decimal(match[name] or match[f"{name}_digit"]) for name in ("top", "below"))
        return int(match["ones"] or 0) + top / below
    digits = re.sub(_SEPARATOR, "", match["number"])
    value = Fraction(digits.replace(".", "") if digits.count(".") > 1 else digits)
    value *= Fraction(10) ** _whole(match["exponent"] or match["of_ten"])
    if match["power"]:
        power = _whole(match["power"])
        if abs(power) > _LARGEST_POWER:
            raise ValueError
        value **= power
    return value / Fraction(match["divisor"] or 1)


def _decimal(text: str) -> Fraction:
    return Fraction(text.strip().replace("−", "-").replace(",", ""))


def _whole(text: str | None) -> int:
    return int((text or "0").replace("−", "-"))


def _subtracts(match: re.Match) -> bool:
    """In "5-3" and "5 - 3" the minus is the calculation's, in "about -3" the number's."""
    before = match.string[max(match.start() - 3, 0) : match.start()]
    if match.group()[1:2].isspace():
        before = before.rstrip()
    return before[-1:].isalnum() or before[-1:] in (")", "]")
