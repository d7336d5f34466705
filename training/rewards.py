"""Reward sources: what gives a completion its score. A reward model today's policy need not share a tokenizer with."""

from collections.abc import Callable
from typing import Protocol

import torch

from training.batching import Example, collate, plan_batches, token_cost
from training.chat import encode_completion, encode_prompt, truncate_prompt
from training.errors import TrainingError
from training.logprobs import last_hidden, supports_shared_prefix, trunk_of
from training.models import load_reward_model, load_tokenizer
from training.records import Message
from training.runtime import Runtime

TOKENS_PER_BATCH = 8192

Scorer = Callable[[list[list[Message]], list[str]], torch.Tensor]
"""prompts and as many completions → (completions,) float32 on the CPU"""


class RewardSource(Protocol):
    name: str

    def score(self, prompts: list[list[Message]], completions: list[str]) -> torch.Tensor:
        """One float per completion, (completions,), on the CPU; prompts[i] is what completions[i] answers."""


class RewardModelSource:
    """A sequence classifier of one label with a tokenizer and chat template of its own.

    Texts go in, so the policy's tokens need not be the reward model's. The score is read at the last real token, the
    end of sequence, which is appended where a policy was cut off before it. What the model's config calls reward_shift
    is subtracted: scores of the responses that it was trained on then have mean 0.
    """

    def __init__(
        self,
        source: str,
        *,
        device: str | torch.device = "cpu",
        dtype: torch.dtype = torch.float32,
        tokens_per_batch: int = TOKENS_PER_BATCH,
        max_length: int | None = None,
    ):
        self.name = f"the reward model {source}"
        self.tokenizer = load_tokenizer(source)
        self.model = load_reward_model(source, device=device, dtype=dtype).requires_grad_(False)
        self.tokens_per_batch = tokens_per_batch
        self.max_length = max_length or getattr(self.model.config, "max_position_embeddings", None) or 1 << 20
        self.shared = supports_shared_prefix(self.model)
        self.shift = float(getattr(self.model.config, "reward_shift", None) or 0.0)

    @torch.no_grad()
    def score(self, prompts: list[list[Message]], completions: list[str]) -> torch.Tensor:
        examples = self._examples(prompts, completions)
        costs = [token_cost(example, self.shared) for example in examples]
        scores: list[torch.Tensor | None] = [None] * len(examples)
        for part in plan_batches(costs, self.tokens_per_batch):
            batch = collate(
                [examples[i] for i in part], self.tokenizer.pad_token_id, shared=self.shared, device=self.model.device
            )
            batch_scores = self.model.score(last_hidden(trunk_of(self.model), batch)).squeeze(-1).float().cpu()
            counts = [len(examples[i].completions) for i in part]
            for i, of_example in zip(part, batch_scores.split(counts), strict=True):
                scores[i] = of_example
        return torch.cat(scores) - self.shift

    def _examples(self, prompts: list[list[Message]], completions: list[str]) -> list[Example]:
        """Neighbours that answer the same prompt become one example, whose prompt is computed once."""
        groups: list[tuple[list[Message], list[tuple[int, ...]]]] = []
        for messages, text in zip(prompts, completions, strict=True):
            if not groups or groups[-1][0] != messages:
                groups.append((messages, []))
            # The end is kept when a text is too long for the model: the score is read there.
            ids = encode_completion(self.tokenizer, text)
            groups[-1][1].append((*ids[:-1][: self.max_length - 2], ids[-1]))
        examples = []
        for index, (messages, group) in enumerate(groups):
            prompt = truncate_prompt(encode_prompt(self.tokenizer, messages), max(map(len, group)), self.max_length)
            examples.append(Example(tuple(prompt), tuple(group), index))
        return examples


def scorer(sources: list[tuple[float, RewardSource]], machine: Runtime) -> Scorer:
    """Σ weight·score of several sources, in the run's precision. Raises TrainingError where a source fails."""

    def score(prompts: list[list[Message]], completions: list[str]) -> torch.Tensor:
        with machine.autocast():
            return sum(weight * checked_scores(source, prompts, completions) for weight, source in sources)

    return score


def checked_scores(source: RewardSource, prompts: list[list[Message]], completions: list[str]) -> torch.Tensor:
    """The source's scores, or a TrainingError that names the source and the completion it failed on."""
    try:
        scores = torch.as_tensor(source.score(prompts, completions), dtype=torch.float32)
    except Exception as error:
        raise TrainingError(f"{source.name} failed: {type(error).__name__}: {error}") from error
    if scores.shape != (len(completions),):
        raise TrainingError(
            f"{source.name} gave scores of shape {tuple(scores.shape)} for {len(completions)} completions"
        )
    wrong = (~scores.isfinite()).nonzero().flatten().tolist()
    if wrong:
        raise TrainingError(f"{source.name} gave {scores[wrong[0]]} for the completion {completions[wrong[0]][:200]!r}")
    return scores


def score_groups(score: Scorer, prompts: list[list[Message]], groups: list[list[str]]) -> torch.Tensor:
    """(prompts, n): the scores of n texts for each prompt."""
    messages = [prompt for prompt, group in zip(prompts, groups, strict=True) for _ in group]
    return score(messages, [text for group in groups for text in group]).view(len(prompts), -1)
