"""A reward model as a source, with a tokenizer and chat template of its own."""

import torch

from training.batching import Example, collate, plan_batches, token_cost
from training.chat import encode_completion, encode_prompt, truncate_prompt
from training.logprobs import last_hidden, supports_shared_prefix, trunk_of
from training.mixed_precision import in_float32
from training.models import ModelLoadError, is_reward_model, load_reward_model, load_tokenizer
from training.records import Message, Prompt

TOKENS_PER_BATCH = 8192


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
        tokens_per_batch: int = TOKENS_PER_BATCH,
        max_length: int | None = None,
        model=None,
    ):
        """`model`: the reward model in `source`, where it is loaded already."""
        self.name = f"the reward model {source}"
        if model is None and not is_reward_model(source):
            raise ModelLoadError(f"{source} is no reward model: it has no head that was trained to give a score")
        self.tokenizer = load_tokenizer(source)
        self.model = (model or load_reward_model(source, device=device)).requires_grad_(False)
        self.tokens_per_batch = tokens_per_batch
        self.max_length = max_length or getattr(self.model.config, "max_position_embeddings", None) or 1 << 20
        self.shared = supports_shared_prefix(self.model)
        self.shift = float(getattr(self.model.config, "reward_shift", None) or 0.0)

    @torch.no_grad()
    def score(self, prompts: list[Prompt], completions: list[str]) -> torch.Tensor:
        examples = self._examples(prompts, completions)
        costs = [token_cost(example, self.shared) for example in examples]
        scores: list[torch.Tensor | None] = [None] * len(examples)
        for part in plan_batches(costs, self.tokens_per_batch):
            batch = collate(
                [examples[i] for i in part], self.tokenizer.pad_token_id, shared=self.shared, device=self.model.device
            )
            states = last_hidden(trunk_of(self.model), batch)
            batch_scores = in_float32(self.model.score, states).squeeze(-1).cpu()
            counts = [len(examples[i].completions) for i in part]
            for i, of_example in zip(part, batch_scores.split(counts), strict=True):
                scores[i] = of_example
        return torch.cat(scores) - self.shift

    def _examples(self, prompts: list[Prompt], completions: list[str]) -> list[Example]:
        """Neighbours that answer the same prompt become one example, whose prompt is computed once."""
        groups: list[tuple[list[Message], list[tuple[int, ...]]]] = []
        for prompt, text in zip(prompts, completions, strict=True):
            if not groups or groups[-1][0] != prompt.messages:
                groups.append((prompt.messages, []))
            # The end is kept when a text is too long for the model: the score is read there.
            ids = encode_completion(self.tokenizer, text)
            groups[-1][1].append((*ids[:-1][: self.max_length - 2], ids[-1]))
        examples = []
        for index, (messages, group) in enumerate(groups):
            ids = truncate_prompt(encode_prompt(self.tokenizer, messages), max(map(len, group)), self.max_length)
            examples.append(Example(tuple(ids), tuple(group), index))
        return examples
