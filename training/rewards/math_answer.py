"""The numeric answer of a math problem, compared with the one that the prompt's row brings."""

from fractions import Fraction

from training.records import Prompt
from training.rewards.numerals import Number, final_number, only_number
from training.rewards.source import Failure
from training.rewards.spec import MathAnswer


class MathAnswerSource:
    """1 where the number that the completion ends up with is the row's (`numerals.py` says what is read as which)."""

    name = "the math check"

    def __init__(self, spec: MathAnswer):
        self.tolerance = spec.tolerance

    def score(self, prompts: list[Prompt], completions: list[str]) -> list[float | Failure]:
        return [self._one(prompt, text) for prompt, text in zip(prompts, completions, strict=True)]

    def _one(self, prompt: Prompt, text: str) -> float | Failure:
        if "answer" not in prompt.reference:
            return Failure('found no "answer" in the prompt\'s row')
        answer = prompt.reference["answer"]
        expected = only_number(answer)
        if expected is None:
            return Failure(f"found no single number in the answer {answer!r} of the prompt's row")
        found = final_number(text)
        return float(found is not None and any(self._equal(*pair) for pair in _readings(found, expected)))

    def _equal(self, found: Fraction, expected: Fraction) -> bool:
        return abs(found - expected) <= Fraction(self.tolerance) * max(abs(expected), 1)


def _readings(found: Number, expected: Number) -> list[tuple[Fraction, Fraction]]:
    """The pairs to compare: where one alone says percent, "25%" is both 1/4 and the 25 of a question in percent."""
    pairs = [(found.value, expected.value)]
    if found.percent != expected.percent:
        pairs.append((found.value * 100**found.percent, expected.value * 100**expected.percent))
    return pairs
