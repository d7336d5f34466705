"""Several conversations answered at once, token by token: what a server of chat completions streams.

Requests that wait are begun together, as one left-padded batch; those that come meanwhile are the next batch. A row
that ends, or whose reader has gone, leaves the batch.
"""

import queue
import threading
from dataclasses import dataclass, field

import torch

from training.chat import encode_prompt
from training.decoder import ModelDecoder
from training.models import end_ids
from training.records import Message
from training.sampling import draw

MOST_AT_ONCE = 16
_END = None


@dataclass(eq=False)
class Request:
    """One conversation to answer. `pieces` gives texts and then None; `finish_reason` and `error` hold from then on."""

    messages: list[Message]
    max_tokens: int
    temperature: float = 1.0
    seed: int = 0
    pieces: queue.Queue = field(default_factory=queue.Queue)
    finish_reason: str = "stop"
    error: str = ""
    prompt_tokens: int = 0
    completion_tokens: int = 0
    # Set by whoever reads no longer.
    abandoned: bool = False

    def __iter__(self):
        while (piece := self.pieces.get()) is not _END:
            yield piece


class Converser:
    """One thread that computes; `submit` from any other, and iterate over the request."""

    def __init__(self, model, tokenizer, *, most_at_once: int = MOST_AT_ONCE):
        self.model, self.tokenizer, self.most_at_once = model, tokenizer, most_at_once
        self.waiting: queue.Queue[Request] = queue.Queue()
        threading.Thread(target=self._work, name="converser", daemon=True).start()

    def submit(self, request: Request) -> Request:
        self.waiting.put(request)
        return request

    def _work(self) -> None:
        while True:
            batch = [self.waiting.get()]
            while len(batch) < self.most_at_once and not self.waiting.empty():
                batch.append(self.waiting.get())
            try:
                self._answer([request for request in batch if not request.abandoned])
            except Exception as error:  # one batch that does not fit must not end the server
                for request in batch:
                    request.error = request.error or f"{type(error).__name__}: {error}"
            finally:
                for request in batch:
                    request.pieces.put(_END)

    @torch.inference_mode()
    def _answer(self, batch: list[Request]) -> None:
        rows = [_Row(request, self._prompt(request), self.tokenizer) for request in batch]
        if not rows:
            return
        longest = max(request.max_tokens for request in batch)
        decoder, ends = ModelDecoder(self.model), end_ids(self.model, self.tokenizer)
        width = max(len(row.prompt) for row in rows)
        pad = self.tokenizer.pad_token_id
        # Padding stands on the left, so that every row's next token goes to the same place in the cache.
        ids = [[pad] * (width - len(row.prompt)) + row.prompt for row in rows]
        mask = [[0] * (width - len(row.prompt)) + [1] * len(row.prompt) for row in rows]
        device = decoder.device
        logits = decoder.prefill(torch.tensor(ids, device=device), torch.tensor(mask, device=device), 1, longest)
        while True:
            token = self._next(rows, logits)
            for row, number in zip(rows, token.tolist(), strict=True):
                row.take(number, ends)
            keep = [place for place, row in enumerate(rows) if not row.ended]
            if not keep:
                return
            if len(keep) < len(rows):
                chosen = torch.tensor(keep, device=device)
                decoder.keep(chosen)
                rows, token = [rows[place] for place in keep], token[chosen]
            logits = decoder.step(token)

    def _next(self, rows: list["_Row"], logits: torch.Tensor) -> torch.Tensor:
        """A token a row (rows,), each drawn at its own temperature from its own random numbers."""
        temperatures = torch.tensor([[row.request.temperature] for row in rows], device=logits.device)
        uniform = torch.tensor([row.random() for row in rows], dtype=torch.float64, device=logits.device)
        drawn, _ = draw(logits / temperatures.clamp(min=1e-4), uniform, 1.0)
        return torch.where(temperatures.squeeze(-1) == 0, logits.argmax(-1), drawn)

    def _prompt(self, request: Request) -> list[int]:
        """The conversation's ids; its start is cut where the model has no room for it beside the reply."""
        ids = encode_prompt(self.tokenizer, request.messages)
        room = getattr(self.model.config, "max_position_embeddings", None)
        if room:
            request.max_tokens = min(request.max_tokens, room // 2)
            ids = ids[-(room - request.max_tokens) :]
        request.prompt_tokens = len(ids)
        return ids


class _Row:
    """A reply under way: its ids, and how much of their text its reader has."""

    def __init__(self, request: Request, prompt: list[int], tokenizer):
        self.request, self.prompt, self.tokenizer = request, prompt, tokenizer
        self.ids: list[int] = []
        self.said = ""
        self.ended = False
        self.generator = torch.Generator().manual_seed(request.seed)

    def random(self) -> float:
        return torch.rand((), generator=self.generator, dtype=torch.float64).item()

    def take(self, token: int, ends: tuple[int, ...]) -> None:
        if token in ends or self.request.abandoned:
            self.ended = True
        else:
            self.ids.append(token)
            self.request.completion_tokens = len(self.ids)
            if len(self.ids) >= self.request.max_tokens:
                self.ended, self.request.finish_reason = True, "length"
        self._say(last=self.ended)

    def _say(self, *, last: bool) -> None:
        """What is new in the text; a character whose bytes are not all there yet waits for the rest."""
        text = self.tokenizer.decode(self.ids, skip_special_tokens=True)
        if last or not text.endswith("\ufffd"):
            new = text[len(self.said) :]
            self.said = text
            if new:
                self.request.pieces.put(new)
