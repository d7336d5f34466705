"""Packed rows: a prompt computed once for all its completions gives what separate rows give, and nothing leaks."""

import random

import pytest
import torch
from transformers import (
    AutoModelForCausalLM,
    GemmaConfig,
    GemmaForCausalLM,
    MistralConfig,
    MistralForCausalLM,
    Qwen3Config,
    Qwen3ForCausalLM,
)

from tests.training.tiny import make_gpt2, make_llama
from training import tree_attention
from training.batching import Example, collate
from training.logprobs import (
    completion_hidden,
    completion_logprobs,
    last_hidden,
    supports_shared_prefix,
    trunk_of,
)

SIZES = {
    "vocab_size": 261, "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4,
    "num_key_value_heads": 2, "head_dim": 8, "pad_token_id": 0, "bos_token_id": None, "eos_token_id": 1,
}  # fmt: skip


def make_qwen3():
    torch.manual_seed(0)
    return Qwen3ForCausalLM(Qwen3Config(**SIZES)).eval()


def make_gemma():
    torch.manual_seed(0)
    return GemmaForCausalLM(GemmaConfig(**SIZES)).eval()


def make_sliding():
    torch.manual_seed(0)
    return MistralForCausalLM(MistralConfig(**SIZES, sliding_window=4)).eval()


MAKERS = [make_llama, make_gpt2, make_qwen3, make_gemma]


def make_groups(count: int = 5) -> list[Example]:
    """Examples of one to four completions, some a single token long."""
    draw = random.Random(4)

    def ids(high):
        return tuple(draw.randrange(2, 261) for _ in range(draw.randint(1, high)))

    return [Example(ids(12), tuple(ids(9) for _ in range(draw.randint(1, 4))), index) for index in range(count)]


@pytest.mark.parametrize("make", MAKERS)
def test_hidden_states_and_logits_equal_plain_rows(make):
    model = make()
    assert supports_shared_prefix(model)
    plain, packed = (collate(make_groups(), 0, shared=shared) for shared in (False, True))
    assert packed.tokens < plain.tokens
    trunk = trunk_of(model)
    with torch.no_grad():
        for at in ("predicting", "token"):
            states = [completion_hidden(trunk, batch, at=at) for batch in (plain, packed)]
            torch.testing.assert_close(*states, atol=1e-5, rtol=1e-5)
            logits = [model.get_output_embeddings()(state) for state in states]
            torch.testing.assert_close(*logits, atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(last_hidden(trunk, plain), last_hidden(trunk, packed), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("make", MAKERS)
def test_gradients_equal_plain_rows(make):
    model = make()
    gradients = []
    for shared in (False, True):
        logprobs = completion_logprobs(model, collate(make_groups(), 0, shared=shared))
        weigh = torch.linspace(-1, 1, len(logprobs))
        gradients.append(torch.autograd.grad((weigh * logprobs).sum(), list(model.parameters())))
    for plain, packed in zip(*gradients, strict=True):
        torch.testing.assert_close(packed, plain, atol=1e-5, rtol=1e-4)


def test_a_completion_sees_neither_its_sibling_nor_its_neighbours():
    model = make_llama()
    before = [Example((5, 6), ((7, 8), (9, 10))), Example((11,), ((12,),))]
    after = [Example((5, 6), ((99, 98, 97), (9, 10))), Example((100, 101), ((102,),))]
    with torch.no_grad():
        ours, theirs = (completion_logprobs(model, collate(examples, 0, shared=True)) for examples in (before, after))
    torch.testing.assert_close(ours[2:4], theirs[3:5], atol=1e-6, rtol=0)
    assert (ours[:2] - theirs[:2]).abs().min() > 1e-3


def test_gradient_checkpointing_computes_the_same_packed_gradients():
    batch = collate(make_groups(), 0, shared=True)
    gradients = []
    for checkpointing in (False, True):
        model = make_llama().train()
        if checkpointing:
            model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
        completion_logprobs(model, batch).sum().backward()
        gradients.append([parameter.grad for parameter in model.parameters()])
    torch.testing.assert_close(gradients[0], gradients[1], atol=1e-6, rtol=1e-5)


def test_a_sliding_window_is_left_to_plain_rows():
    model = make_sliding()
    assert not supports_shared_prefix(model)
    assert model.config._attn_implementation == "sdpa"


def test_a_model_that_drops_the_layout_fails_loudly_instead_of_mixing_sequences():
    model = make_llama()
    batch = collate(make_groups(2), 0, shared=True)
    assert supports_shared_prefix(model)
    attention = model.model.layers[0].self_attn
    forward = attention.forward
    attention.forward = lambda *args, tree=None, **kwargs: forward(*args, **kwargs)
    with pytest.raises(RuntimeError):
        completion_logprobs(model, batch)
    assert not supports_shared_prefix(model)


def test_generation_and_saved_configuration_are_untouched(tmp_path):
    model = make_llama()
    prompt = torch.tensor([[0, 5, 6, 7], [8, 9, 10, 11]])
    mask = torch.tensor([[0, 1, 1, 1], [1, 1, 1, 1]])
    expected = model.generate(prompt, attention_mask=mask, max_new_tokens=8, do_sample=False)
    assert supports_shared_prefix(model)
    assert model.config._attn_implementation == tree_attention.NAME
    found = model.generate(prompt, attention_mask=mask, max_new_tokens=8, do_sample=False)
    assert found.tolist() == expected.tolist()
    model.save_pretrained(tmp_path)
    assert tree_attention.NAME not in (tmp_path / "config.json").read_text()
    assert AutoModelForCausalLM.from_pretrained(tmp_path).config._attn_implementation == "sdpa"


def test_dropout_reaches_packed_attention():
    model = make_llama().train()
    for layer in model.model.layers:
        layer.self_attn.attention_dropout = 0.5
    batch = collate(make_groups(), 0, shared=True)
    with torch.no_grad():
        first, second = completion_logprobs(model, batch), completion_logprobs(model, batch)
    assert (first - second).abs().max() > 1e-4


def slow_variable_length(query, key, value, of_queries, of_keys, max_q, max_k, *, scale, window_size):
    """What the GPU kernel computes, in plain sums: (tokens, heads, size), causal from the last key backwards."""
    assert window_size == (-1, 0)
    outputs = []
    for number in range(len(of_queries) - 1):
        q = query[of_queries[number] : of_queries[number + 1]]
        k, v = (tensor[of_keys[number] : of_keys[number + 1]] for tensor in (key, value))
        assert len(q) <= max_q
        assert len(k) <= max_k
        scores = torch.einsum("qhd,khd->hqk", q, k) * scale
        seen = torch.ones(len(q), len(k), dtype=torch.bool).tril(len(k) - len(q))
        outputs.append(torch.einsum("hqk,khd->qhd", scores.masked_fill(~seen, -torch.inf).softmax(-1), v))
    return torch.cat(outputs)


@pytest.mark.parametrize("make", [make_llama, make_gpt2])
def test_the_call_of_the_variable_length_kernel_means_the_same(make, monkeypatch):
    model = make()
    batch = collate(make_groups(), 0, shared=True)
    with torch.no_grad():
        expected = completion_logprobs(model, batch)
        monkeypatch.setattr(tree_attention, "_has_variable_length_kernel", lambda query: True)
        monkeypatch.setattr(tree_attention, "varlen_attn", slow_variable_length)
        torch.testing.assert_close(completion_logprobs(model, batch), expected, atol=1e-5, rtol=0)
