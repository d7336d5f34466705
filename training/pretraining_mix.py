"""PPO-ptx: demonstrations mixed into every update, which the policy is not to forget (Ouyang et al. 2022, eq. 2)."""

import torch

from training.batching import Example, collate, token_cost
from training.encoding import encode_examples
from training.events import EventLog
from training.logprobs import completion_logprobs
from training.loop import own_turns, split
from training.records import read_records
from training.rollouts import PromptStream


class PretrainingMix:
    """Adds −γ·E[log π(y | x)], the mean over the tokens of a batch of demonstrations, to an update's gradient.

    The equation's expectation is over texts. A mean over tokens weighs long ones as the losses of pretraining and sft
    do; the temperature is 1 whatever the policy is sampled at.
    """

    def __init__(self, examples: list[Example], *, pad_id: int, shared: bool, device):
        self.examples, self.pad_id, self.shared, self.device = examples, pad_id, shared, device
        self.costs = [token_cost(example, shared) for example in examples]

    @classmethod
    def read(cls, config, tokenizer, log: EventLog, *, shared: bool, device) -> "PretrainingMix | None":
        """Of the file that `config.ptx_data` names; None where it names none."""
        if not config.ptx_data:
            return None
        rows = read_records(config.ptx_data, "demonstrations")
        triples = [(index, row.messages, [row.completion]) for index, row in enumerate(rows)]
        examples = encode_examples(tokenizer, triples, max_length=config.ptx_max_length, log=log, name="ptx_data")
        return cls(examples, pad_id=tokenizer.pad_token_id, shared=shared, device=device)

    def backward(self, policy, stream: PromptStream, config, machine) -> torch.Tensor:
        """Add γ times the loss's gradient over the stream's next demonstrations; the loss itself, without γ.

        Of both, this process's share: they are to be added up over the processes.
        """
        chosen = stream.take(min(config.ptx_batch, len(self.examples)))
        tokens = sum(len(self.examples[i].completions[0]) for i in chosen)
        total = torch.zeros((), device=self.device)
        parts = split(chosen, self.costs, config.tokens_per_batch, machine.processes, self.shared)
        for part, counts, _ in own_turns(parts, machine):
            batch = collate([self.examples[i] for i in part], self.pad_id, shared=self.shared, device=self.device)
            with machine.autocast():
                loss = -counts * completion_logprobs(policy, batch).sum() / tokens
            (config.ptx_coefficient * loss).backward()
            total += loss.detach()
        return total
