"""The numeric answer of a math problem: found in a text, and compared with the one that the prompt's row brings.

Where a text says its answer: after "####" (GSM8K), in \\boxed{…} (MATH), after "answer is", and else its last number.
"""

import re
from fractions import Fraction

from training.records import Prompt
from training.rewards.source import Failure
from training.rewards.spec import MathAnswer

# Longer digit strings are no answer that anybody asked for, and arithmetic on them takes long.
_LONGEST = 200

_PLAIN = r"(?:\d{1,3}(?:,\d{3})+(?!\d)|\d+)(?:\.\d+)?|\.\d+"
_NUMBER = re.compile(
    rf"""(?P<sign>[-−+]?)\s?[$€£]?\s?
    (?:\\[dt]?frac\{{\s*(?P<top>[-−]?\d+)\s*\}}\{{\s*(?P<below>\d+)\s*\}}
      |(?P<whole>\d+)\s+(?P<part>\d+)\s*/\s*(?P<parts>\d+)
      |(?P<number>{_PLAIN})(?:[eE](?P<exponent>[-+]?\d{{1,3}})(?![\w]))?(?:\s*/\s*(?P<divisor>\d+(?:\.\d+)?))?)
    \s*(?P<percent>\\?%)?""",
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
        expected = final_number(prompt.reference["answer"])
        if expected is None:
            return Failure(f"found no number in the answer {prompt.reference['answer']!r} of the prompt's row")
        found = final_number(text)
        return float(found is not None and abs(found - expected) <= Fraction(self.tolerance) * max(abs(expected), 1))


def final_number(text: str) -> Fraction | None:
    """The number that the text ends up with: exact, so that 1/3 is not 0.333333.

    Signs, thousands separators, decimals, a power of ten, fractions (3/4, 1 1/2, \\frac{3}{4}) and percents (25% is
    1/4) are read, units and currencies around them passed over.
    """
    if "####" in text:
        return _first(text.rsplit("####", 1)[1])
    boxed = _boxed(text)
    if boxed is not None:
        return _last(boxed)
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


def _first(text: str) -> Fraction | None:
    return next((number for number in map(_value, _NUMBER.finditer(text)) if number is not None), None)


def _last(text: str) -> Fraction | None:
    numbers = [number for number in map(_value, _NUMBER.finditer(text)) if number is not None]
    return numbers[-1] if numbers else None


def _value(match: re.Match) -> Fraction | None:
    if len(match.group()) > _LONGEST:
        return None
    part = match.groupdict()
    try:
        if part["top"]:
            value = Fraction(int(part["top"].replace("−", "-")), int(part["below"]))
        elif part["whole"]:
            value = int(part["whole"]) + Fraction(int(part["part"]), int(part["parts"]))
        else:
            value = Fraction(part["number"].replace(",", ""))
            value *= Fraction(10) ** int(part["exponent"] or 0)
            value /= Fraction(part["divisor"] or 1)
    except ZeroDivisionError:
        return None
    if part["percent"]:
        value /= 100
    return -value if part["sign"] in ("-", "−") and not _subtracts(match) else value


def _subtracts(match: re.Match) -> bool:
    """In "5-3" and "5 - 3" the minus is the calculation's, in "about -3" the number's."""
    before = match.string[max(match.start() - 3, 0) : match.start()]
    if match.group()[1:2].isspace():
        before = before.rstrip()
    return before[-1:].isalnum() or before[-1:] in (")", "]")
