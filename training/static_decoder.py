"""Decoding with shapes that stay, so that a GPU captures a step once as a CUDA graph and replays it.

A step of a small model is some hundred small kernels, each of which takes longer to launch than to run; a graph
launches them all at once, but only on the very tensors that it was captured with. So keys and values, masks, positions
and the new tokens lie in tensors that are kept from batch to batch, one set for each length in steps of `LENGTHS` (keys
and values of all in one memory), and a step computes the next power of two of rows: what comes out for the rows beyond
those that run is not looked at.
"""

import warnings
from dataclasses import dataclass, field

import torch

from training.decoder import FusedDecoder

LENGTHS = 128
FEWEST_ROWS = 8


@dataclass
class _Static:
    """What a step reads and writes, for as many rows as ever were needed of this length."""

    cos: torch.Tensor
    sin: torch.Tensor
    cache: list[torch.Tensor]
    mask: torch.Tensor
    """(rows, length) bool: places that a row may ever see"""
    positions: torch.Tensor
    """(rows, 1)"""
    tokens: torch.Tensor
    """(rows, 1)"""
    place: torch.Tensor
    """(1,) where in the cache the tokens' keys and values go"""
    graphs: dict[int, tuple[torch.cuda.CUDAGraph, torch.Tensor]] = field(default_factory=dict)
    """by number of rows: the captured step, and the logits that it writes"""


class StaticDecoder(FusedDecoder):
    """`capture`: by CUDA graphs, which is what it is for. Without, or where a step cannot be captured, the very same
    step runs operation by operation.
    """

    def __init__(self, model, dtype: torch.dtype, *, capture: bool):
        super().__init__(model, dtype)
        self.capture = capture
        self.memory: list[torch.Tensor] = []
        self.of_length: dict[int, _Static] = {}

    def step(self, tokens: torch.Tensor) -> torch.Tensor:
        static, rows = self.static, len(tokens)
        static.tokens[:rows, 0] = tokens
        if self.capture and _steps(rows) not in static.graphs:
            self._capture(static, _steps(rows))
        logits = self._replayed(static, _steps(rows)) if self.capture else self._static_step(static, _steps(rows))
        static.place += 1
        static.positions += 1
        return logits[:rows]

    def _expand(self, cache: list[torch.Tensor], mask: torch.Tensor, n: int, room: int) -> None:
        rows, width = len(mask) * n, mask.shape[1]
        static = self.static = self._of_length(-(-(width + room) // LENGTHS) * LENGTHS, _steps(rows))
        self.cos, self.sin = static.cos, static.sin
        for held, prompts in zip(static.cache, cache, strict=True):
            held[:rows, :, :, :width] = prompts.repeat_interleave(n, 0)
        # The rows beyond see their own place and count from 0, whatever an earlier batch left there: a row that saw
        # nothing would hold no numbers, and no place of a row may lie beyond the table of positions.
        static.mask.fill_(True)
        static.positions.zero_()
        static.mask[:rows, :width] = mask.repeat_interleave(n, 0)
        static.positions[:rows] = mask.sum(-1, keepdim=True).repeat_interleave(n, 0)
        static.place.fill_(width)
        self.cache = [held[:rows] for held in static.cache]
        self.mask, self.positions = static.mask[:rows], static.positions[:rows]

    def _of_length(self, length: int, rows: int) -> _Static:
        if length not in self.of_length or len(self.of_length[length].tokens) < rows:
            new = {"dtype": torch.long, "device": self.device}
            self.of_length[length] = _Static(
                *self._rope(length),
                cache=self._lent_cache(rows, length),
                mask=torch.ones(rows, length, dtype=torch.bool, device=self.device),
                positions=torch.zeros(rows, 1, **new),
                tokens=torch.zeros(rows, 1, **new),
                place=torch.zeros(1, **new),
            )
        return self.of_length[length]

    def _lent_cache(self, rows: int, length: int) -> list[torch.Tensor]:
        """As `_empty_cache`, of one memory for all lengths, since one batch is decoded at a time."""
        size = rows * 2 * self.kv_heads * length * self.size
        if not self.memory or len(self.memory[0]) < size:
            self.of_length.clear()  # their graphs write to the memory that is given up, before more is taken
            self.static, self.cache, self.memory = None, [], []
            # Zeros, since what no row sees is multiplied by a probability of zero, and must be a number for that.
            self.memory = [torch.zeros(size, dtype=self.cache_dtype, device=self.device) for _ in self.layers]
        return [memory[:size].view(rows, 2, self.kv_heads, length, self.size) for memory in self.memory]

    def _static_step(self, static: _Static, rows: int) -> torch.Tensor:
        """Logits (rows, vocabulary) of the first rows. Reads no number on the host and keeps nothing but the cache."""
        places = torch.arange(static.mask.shape[1], device=self.device)
        visible = static.mask[:rows] & (places <= static.place)
        cache = [layer[:rows] for layer in static.cache]
        hidden = self._forward(
            static.tokens[:rows], static.positions[:rows], visible[:, None, None], cache, static.place
        )
        return self._logits(hidden[:, -1])

    def _replayed(self, static: _Static, rows: int) -> torch.Tensor:
        graph, logits = static.graphs[rows]
        graph.replay()
        return logits

    def _capture(self, static: _Static, rows: int) -> None:
        """As torch's documentation has it: a few steps on a side stream first, in which libraries set themselves up.

        They write the same keys and values to the same place each time, so they change nothing.
        """
        try:
            aside = torch.cuda.Stream()
            aside.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(aside):
                for _ in range(3):
                    self._static_step(static, rows)
            torch.cuda.current_stream().wait_stream(aside)
            graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(graph, pool=self._pool()):
                logits = self._static_step(static, rows)
        except RuntimeError as error:  # slower, and not a reason to end a run
            warnings.warn(f"sampling goes on without CUDA graphs: {error}", stacklevel=2)
            self.capture = False
            return
        static.graphs[rows] = graph, logits

    def _pool(self):
        """The memory of a graph that is there, for all to share; that of graphs that are gone takes no others."""
        graphs = (graph for static in self.of_length.values() for graph, _ in static.graphs.values())
        return next((graph.pool() for graph in graphs), None)


def _steps(rows: int) -> int:
    """The next power of two, so that a shrinking batch passes through few shapes."""
    return max(FEWEST_ROWS, 1 << (rows - 1).bit_length())
