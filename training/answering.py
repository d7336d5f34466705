"""Answers of a policy to prompts as texts: what rejection sampling, best-of-n, rounds and evaluations begin with."""

import random
from dataclasses import dataclass

from training.chat import decode_completion, encode_prompt
from training.config import ConfigError
from training.events import EventLog
from training.models import end_ids, load_tokenizer
from training.records import Prompt, read_records
from training.runtime import Runtime
from training.sampling import sample

# Prompts sampled between two looks at the progress bar.
_AT_ONCE = 64


@dataclass(frozen=True)
class Answer:
    text: str
    tokens: int
    truncated: bool


class Answerer:
    """Samples texts from policies that share a tokenizer; the same seed and prompts give the same texts."""

    def __init__(self, source: str, machine: Runtime, log: EventLog, *, max_tokens: int, temperature: float):
        self.tokenizer = load_tokenizer(source)
        self.machine, self.log = machine, log
        self.max_tokens, self.temperature = max_tokens, temperature

    def answers(
        self, policy, prompts: list[Prompt], n: int, *, seed: str, first_step: int = 0, total: int = 0
    ) -> list[list[Answer]]:
        """n answers to each prompt. `first_step` and `total` place the first prompt on the run's progress bar.

        Several processes take turns at the prompts, a few dozen each, and all get all answers.
        """
        starts = range(0, len(prompts), _AT_ONCE)

        def answered(places: list[int]) -> list[list[list[Answer]]]:
            some = []
            for start in (starts[place] for place in places):
                self.log.progress(first_step + start, total or len(prompts), "sampling")
                asked = prompts[start : start + _AT_ONCE]
                some.append(self._answers(policy, asked, n, random.Random(f"{seed}/{start}").getrandbits(62)))
            return some

        return [group for some in self.machine.dealt(len(starts), answered) for group in some]

    def _answers(self, policy, prompts: list[Prompt], n: int, seed: int) -> list[list[Answer]]:
        with self.machine.autocast():
            groups = sample(
                policy,
                [encode_prompt(self.tokenizer, prompt.messages) for prompt in prompts],
                n=n,
                max_new_tokens=self.max_tokens,
                eos_id=end_ids(policy, self.tokenizer),
                pad_id=self.tokenizer.pad_token_id,
                temperature=self.temperature,
                seed=seed,
            )
        return [
            [Answer(decode_completion(self.tokenizer, c.ids), len(c.ids), c.truncated) for c in group]
            for group in groups
        ]

    def distinct_answers(
        self, policy, prompts: list[Prompt], n: int, *, seed: str, tries: int = 4
    ) -> list[list[Answer]]:
        """Up to n answers to each prompt, no two the same, all fit for a record: not empty, without NUL.

        Prompts that lack some are asked again, `tries` times in all.
        """
        found: list[dict[str, Answer]] = [{} for _ in prompts]
        for attempt in range(tries):
            lacking = [i for i, answers in enumerate(found) if len(answers) < n]
            if not lacking:
                break
            groups = self.answers(policy, [prompts[i] for i in lacking], n, seed=f"{seed}/{attempt}")
            for i, group in zip(lacking, groups, strict=True):
                for answer in group:
                    if answer.text and "\0" not in answer.text and len(found[i]) < n:
                        found[i].setdefault(answer.text, answer)
        return [list(answers.values()) for answers in found]


def read_prompts(path: str, *, limit: int | None = None) -> list[Prompt]:
    """The prompts of a file (any file whose rows have a "prompt"); the first `limit` of them."""
    prompts = read_records(path, "prompts")[:limit]
    if not prompts:
        raise ConfigError(f"{path} holds no prompts")
    return prompts
