"""A few prompts answered before and after training, for a person to look at."""

from collections.abc import Callable

import torch

from training.chat import decode_completion, encode_prompt
from training.events import EventLog
from training.models import end_ids
from training.records import Prompt
from training.sampling import sample


class Showcase:
    """Remembers the answers of the model as it was; `show` logs them beside those of the model as it is.

    Prompts lose their start beyond `max_prompt_length`, as in training.

    With `score` (prompts, answers → one number each) the rewards of both are shown too.
    """

    def __init__(
        self,
        model,
        tokenizer,
        prompts: list[Prompt],
        *,
        count: int,
        max_new_tokens: int,
        max_prompt_length: int | None = None,
        score: Callable[[list[Prompt], list[str]], torch.Tensor] | None = None,
    ):
        self.tokenizer, self.max_new_tokens, self.score = tokenizer, max_new_tokens, score
        self.prompts = _distinct(prompts)[:count]
        whole = [encode_prompt(tokenizer, prompt.messages) for prompt in self.prompts]
        self.prompt_ids = [ids[-max_prompt_length:] for ids in whole] if max_prompt_length else whole
        self.before = self._answers(model)
        self.rewards_before = self._rewards(self.before)

    def show(self, model, log: EventLog) -> None:
        if not self.prompts:
            return
        after = self._answers(model)
        rows = [
            {"prompt": prompt.messages, "before": old, "after": new}
            for prompt, old, new in zip(self.prompts, self.before, after, strict=True)
        ]
        for row, old, new in zip(rows, self.rewards_before, self._rewards(after), strict=False):
            row |= {name: value for name, value in (("reward_before", old), ("reward_after", new)) if value == value}
        log.samples(rows)

    def _rewards(self, answers: list[str]) -> list[float]:
        return self.score(self.prompts, answers).tolist() if self.score and answers else []

    def _answers(self, model) -> list[str]:
        """Greedy, so that a difference is the training's and not chance."""
        completions = sample(
            model,
            self.prompt_ids,
            max_new_tokens=self.max_new_tokens,
            eos_id=end_ids(model, self.tokenizer),
            pad_id=self.tokenizer.pad_token_id,
            temperature=0.0,
        )
        return [decode_completion(self.tokenizer, row[0].ids) for row in completions]


def _distinct(prompts: list[Prompt]) -> list[Prompt]:
    distinct: list[Prompt] = []
    for prompt in prompts:
        if prompt not in distinct:
            distinct.append(prompt)
        if len(distinct) == 64:
            break
    return distinct
