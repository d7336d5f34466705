"""Decoding for the Llama family without what surrounds it: few calls a layer, weights cast once, a cache of its own.

A decoder holds what sampling asks for between two tokens. `ModelDecoder` runs any causal model of transformers through
its own forward; `FusedDecoder` computes the same from copies of the weights, with the projections of a layer joined,
which spares a small model most of its time: its forward is mostly Python.
"""

import torch
from torch.nn.functional import linear, pad, rms_norm, scaled_dot_product_attention, silu
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer

_FAMILY = {"llama", "mistral", "qwen2"}
_FIXED_ROPE = {"default", "linear", "llama3"}


class ModelDecoder:
    """A model's own forward over a cache with room for the new tokens.

    `leaving`: the share of a decoder's rows that must have ended before it is worth going on without them. Here that
    copies the cache of the others.
    """

    leaving = 1 / 8

    def __init__(self, model):
        self.model = model

    @property
    def device(self) -> torch.device:
        return self.model.get_input_embeddings().weight.device

    def prefill(self, input_ids: torch.Tensor, mask: torch.Tensor, n: int, room: int) -> torch.Tensor:
        """Left-padded prompts (prompts, width), each computed once and kept n times; next logits (prompts·n, vocab)."""
        self.cache = DynamicCache(config=self.model.config)
        output = self.model(
            input_ids=input_ids,
            attention_mask=mask,
            position_ids=(mask.cumsum(-1) - 1).clamp(min=0),
            past_key_values=self.cache,
            use_cache=True,
            logits_to_keep=1,
        )
        self.cache.layers = [_roomy(layer, n, room) for layer in self.cache.layers]
        self.mask = pad(mask, (0, room), value=1).repeat_interleave(n, 0)
        self.positions = mask.sum(-1, keepdim=True).repeat_interleave(n, 0)
        self.seen = mask.shape[1]
        return output.logits[:, -1].repeat_interleave(n, 0)

    def step(self, tokens: torch.Tensor) -> torch.Tensor:
        """Logits (rows, vocabulary) after one more token a row (rows,)."""
        self.seen += 1
        output = self.model(
            input_ids=tokens.unsqueeze(-1),
            attention_mask=self.mask[:, : self.seen],
            position_ids=self.positions,
            past_key_values=self.cache,
            use_cache=True,
        )
        self.positions = self.positions + 1
        return output.logits[:, -1]

    def keep(self, rows: torch.Tensor) -> None:
        """Go on with these rows only."""
        self.cache.batch_select_indices(rows)
        self.mask, self.positions = self.mask[rows], self.positions[rows]

    def release(self) -> None:
        """Let go of keys and values: the batch is sampled, and what comes next needs the memory."""
        self.cache = None


class FusedDecoder:
    """The same for Llama, Mistral and Qwen2 without a sliding window, over weights of its own in `dtype`.

    `sync` takes the model's weights over. As under autocast, matrix products are in `dtype` and the residual stream and
    norms in float32. So are, on a CPU, cache and attention, which over one token runs there at a seventh of the speed
    in bfloat16 (measured with AVX512-BF16).
    """

    leaving = 0.0

    def __init__(self, model, dtype: torch.dtype):
        config = model.config
        self.trunk, self.head = model.model, model.lm_head
        self.dtype, self.device = dtype, self.head.weight.device
        self.cache_dtype = torch.float32 if self.device.type == "cpu" else dtype
        self.heads, self.kv_heads = config.num_attention_heads, config.num_key_value_heads
        self.size = getattr(config, "head_dim", None) or config.hidden_size // self.heads
        self.eps, self.width = config.rms_norm_eps, config.hidden_size
        self.layers: list[dict] = [{} for _ in self.trunk.layers]
        self.of_head: dict = {}
        self.sync()

    @staticmethod
    def supports(model) -> bool:
        config = getattr(model, "config", None)
        if getattr(config, "model_type", None) not in _FAMILY or not hasattr(getattr(model, "model", None), "layers"):
            return False
        rope = getattr(config, "rope_parameters", None) or getattr(config, "rope_scaling", None) or {}
        plain = set(getattr(config, "layer_types", None) or ["full_attention"]) == {"full_attention"}
        windowed = getattr(config, "sliding_window", None) and config.model_type == "mistral"
        adapted = any(type(module) is not torch.nn.Linear for module in _linears(model))
        return (
            plain
            and not windowed
            and not adapted
            and rope.get("rope_type", rope.get("type", "default")) in _FIXED_ROPE
            and getattr(config, "hidden_act", None) == "silu"
        )

    @torch.no_grad()
    def sync(self) -> None:
        for mine, layer in zip(self.layers, self.trunk.layers, strict=True):
            attention, mlp = layer.self_attn, layer.mlp
            self._join(mine, "qkv", [attention.q_proj, attention.k_proj, attention.v_proj])
            self._join(mine, "o", [attention.o_proj])
            self._join(mine, "gate_up", [mlp.gate_proj, mlp.up_proj])
            self._join(mine, "down", [mlp.down_proj])
            mine["before_attention"], mine["before_mlp"] = (
                layer.input_layernorm.weight,
                layer.post_attention_layernorm.weight,
            )
        self._join(self.of_head, "head", [self.head])

    def _join(self, mine: dict, name: str, linears: list[torch.nn.Linear]) -> None:
        """Their weights one under the other, in the type that is computed in; written in place once they are there."""
        for kind in ("weight", "bias"):
            parts = [getattr(module, kind) for module in linears]
            if parts[0] is None:
                mine[f"{name}_{kind}"] = None
            elif mine.get(f"{name}_{kind}") is None:
                mine[f"{name}_{kind}"] = torch.cat([part.detach().to(self.dtype) for part in parts])
            else:
                for here, part in zip(mine[f"{name}_{kind}"].split([len(part) for part in parts]), parts, strict=True):
                    here.copy_(part)

    def prefill(self, input_ids: torch.Tensor, mask: torch.Tensor, n: int, room: int) -> torch.Tensor:
        prompts, width = input_ids.shape
        self.cos, self.sin = self._rope(width + room)
        cache = self._empty_cache(prompts, width)
        # What stands at padding is never read, but it must see something: itself.
        causal = torch.ones(width, width, dtype=torch.bool, device=self.device).tril()
        visible = causal & mask.bool()[:, None, :] | torch.eye(width, dtype=torch.bool, device=self.device)
        positions = (mask.cumsum(-1) - 1).clamp(min=0)
        hidden = self._forward(input_ids, positions, visible[:, None], cache, slice(0, width))
        logits = self._logits(hidden[:, -1])
        self._expand(cache, mask.bool(), n, room)
        self.seen = width
        return logits.repeat_interleave(n, 0)

    def _expand(self, cache: list[torch.Tensor], mask: torch.Tensor, n: int, room: int) -> None:
        """Hold the prompts' (prompts, 2, heads, width, size) keys and values n times, with room for new tokens."""
        width = mask.shape[1]
        self.cache = self._empty_cache(len(mask) * n, width + room)
        for held, prompts in zip(self.cache, cache, strict=True):
            held[:, :, :, :width] = prompts.repeat_interleave(n, 0)
        self.mask = pad(mask, (0, room), value=True).repeat_interleave(n, 0)
        self.positions = mask.sum(-1, keepdim=True).repeat_interleave(n, 0)

    def step(self, tokens: torch.Tensor) -> torch.Tensor:
        place, self.seen = slice(self.seen, self.seen + 1), self.seen + 1
        visible = self.mask[:, None, None, : self.seen]
        hidden = self._forward(tokens.unsqueeze(-1), self.positions, visible, self.cache, place)
        self.positions = self.positions + 1
        return self._logits(hidden[:, -1])

    def keep(self, rows: torch.Tensor) -> None:
        """Only rows that change their place are copied."""
        moved = (rows != torch.arange(len(rows), device=self.device)).nonzero().squeeze(-1)
        for held in (*self.cache, self.mask, self.positions):
            held[moved] = held[rows[moved]]
        self.cache = [held[: len(rows)] for held in self.cache]
        self.mask, self.positions = self.mask[: len(rows)], self.positions[: len(rows)]

    def release(self) -> None:
        self.cache = []

    def _empty_cache(self, rows: int, length: int) -> list[torch.Tensor]:
        """Per layer (rows, 2, heads, length, size): keys and values."""
        shape = (rows, 2, self.kv_heads, length, self.size)
        return [torch.empty(shape, dtype=self.cache_dtype, device=self.device) for _ in self.layers]

    def _rope(self, length: int) -> tuple[torch.Tensor, torch.Tensor]:
        """cos and sin of every position: (length, size) each, float32."""
        positions = torch.arange(length, device=self.device)[None]
        cos, sin = self.trunk.rotary_emb(torch.zeros(1, device=self.device), positions)
        return cos[0].float(), sin[0].float()

    def _forward(self, ids, positions, visible, cache: list[torch.Tensor], place) -> torch.Tensor:
        """Hidden states (rows, tokens, width) after the last norm; keys and values go to `place` in the cache.

        `visible` (rows, 1, tokens, keys): which of the cache's first keys a token sees.
        """
        rows, tokens = ids.shape
        keys = visible.shape[-1]
        cos, sin = (table[positions].unsqueeze(2) for table in (self.cos, self.sin))
        turned = self.heads + self.kv_heads
        x = self.trunk.embed_tokens.weight[ids].float()
        for layer, held in zip(self.layers, cache, strict=True):
            h = rms_norm(x, (self.width,), layer["before_attention"].float(), self.eps).to(self.dtype)
            qkv = (
                linear(h, layer["qkv_weight"], layer["qkv_bias"]).view(rows, tokens, -1, self.size).to(self.cache_dtype)
            )
            qk = qkv[:, :, :turned]
            first, second = qk.chunk(2, -1)
            qk = (qk * cos + torch.cat([-second, first], -1) * sin).to(self.cache_dtype)
            held[:, 0, :, place] = qk[:, :, self.heads :].transpose(1, 2)
            held[:, 1, :, place] = qkv[:, :, turned:].transpose(1, 2)
            attended = scaled_dot_product_attention(
                qk[:, :, : self.heads].transpose(1, 2), held[:, 0, :, :keys], held[:, 1, :, :keys],
                attn_mask=visible, enable_gqa=self.heads != self.kv_heads,
            )  # fmt: skip
            attended = attended.transpose(1, 2).reshape(rows, tokens, -1).to(self.dtype)
            x = x + linear(attended, layer["o_weight"], layer["o_bias"])
            h = rms_norm(x, (self.width,), layer["before_mlp"].float(), self.eps).to(self.dtype)
            gate, up = linear(h, layer["gate_up_weight"], layer["gate_up_bias"]).chunk(2, -1)
            x = x + linear(silu(gate) * up, layer["down_weight"], layer["down_bias"])
        return rms_norm(x, (self.width,), self.trunk.norm.weight.float(), self.eps)

    def _logits(self, hidden: torch.Tensor) -> torch.Tensor:
        return linear(hidden.to(self.dtype), self.of_head["head_weight"], self.of_head["head_bias"])


def _linears(model) -> list:
    of_layers = [
        getattr(part, name)
        for layer in model.model.layers
        for part, names in (
            (layer.self_attn, ("q_proj", "k_proj", "v_proj", "o_proj")),
            (layer.mlp, ("gate_proj", "up_proj", "down_proj")),
        )
        for name in names
    ]
    return [*of_layers, model.lm_head]


def _roomy(layer, n: int, room: int):
    """The layer repeated n times along the batch, with room to write new tokens where it is of the plain kind."""
    if type(layer) is DynamicLayer:
        return _RoomyLayer(layer.keys.repeat_interleave(n, 0), layer.values.repeat_interleave(n, 0), room)
    layer.batch_repeat_interleave(n)
    return layer


class _RoomyLayer(DynamicLayer):
    """A cache layer that writes each token into room set aside, where the plain one copies all it holds."""

    def __init__(self, keys: torch.Tensor, values: torch.Tensor, room: int):
        super().__init__()
        self.dtype, self.device, self.is_initialized = keys.dtype, keys.device, True
        self._hold(keys, values, room)

    def update(self, key_states: torch.Tensor, value_states: torch.Tensor, *args, **kwargs):
        start, end = self.keys.shape[-2], self.keys.shape[-2] + key_states.shape[-2]
        self._all_keys[..., start:end, :] = key_states
        self._all_values[..., start:end, :] = value_states
        self.keys, self.values = self._all_keys[..., :end, :], self._all_values[..., :end, :]
        return self.keys, self.values

    def batch_select_indices(self, indices: torch.Tensor) -> None:
        room = self._all_keys.shape[-2] - self.keys.shape[-2]
        self._hold(self.keys[indices], self.values[indices], room)

    def _hold(self, keys: torch.Tensor, values: torch.Tensor, room: int) -> None:
        self._all_keys = torch.nn.functional.pad(keys, (0, 0, 0, room))
        self._all_values = torch.nn.functional.pad(values, (0, 0, 0, room))
        self.keys = self._all_keys[..., : keys.shape[-2], :]
        self.values = self._all_values[..., : values.shape[-2], :]
