"""Code that passes given tests, as a source: the completion's Python program meets the `tests` of the prompt's row."""

from concurrent.futures import ThreadPoolExecutor

from training.events import EventLog
from training.records import Prompt
from training.rewards.sandbox import Limits, describe, run_tests
from training.rewards.source import Failure
from training.rewards.spec import CodeTests
from training.rewards.text_rules import fenced_block


class CodeTestsSource:
    """The share of tests passed, or with `all` whether all are. The program is the first ``` block, else the text.

    Raises TrainingError where this machine cannot hold a program in: that is tried before the run begins.
    """

    name = "the code check"

    def __init__(self, spec: CodeTests, log: EventLog):
        self.all, self.parallel = spec.all, spec.parallel
        self.limits = Limits(spec.timeout, spec.memory_mb, spec.processes)
        log.message(f"programs run with {describe(run_tests('', [], Limits(seconds=30)).layers)}")

    def score(self, prompts: list[Prompt], completions: list[str]) -> list[float | Failure]:
        with ThreadPoolExecutor(self.parallel) as pool:
            return list(pool.map(self._one, prompts, completions))

    def _one(self, prompt: Prompt, text: str) -> float | Failure:
        tests = prompt.reference.get("tests")
        if not tests:
            return Failure('found no "tests" in the prompt\'s row')
        program = fenced_block(text)
        outcome = run_tests(text if program is None else program, tests, self.limits)
        if outcome.no_python:
            return Failure(f"met a test that is no Python to it ({tests[min(outcome.no_python)][:100]!r})")
        share = len(outcome.passed) / len(tests)
        return float(share == 1) if self.all else share
