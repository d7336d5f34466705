"""Log-probabilities of completion tokens: exact against float64, in any chunks, wherever the padding is."""

from dataclasses import replace

import pytest
import torch
from peft import LoraConfig, get_peft_model
from torch.utils._python_dispatch import TorchDispatchMode

from tests.training.tiny import make_gpt2, make_llama
from training import logprobs as logprobs_module
from training.batching import Example, collate
from training.logprobs import (
    completion_logprobs,
    from_padded,
    last_hidden,
    logprobs_of_hidden,
    mean_per_completion,
    sum_per_completion,
    to_padded,
    trunk_of,
)

VOCABULARY = 261
EXAMPLES = [
    Example((7, 8, 9, 10, 11), ((20, 21, 22), (30, 31, 32, 33, 34, 35)), 0),
    Example((12,), ((40,), (50, 51)), 1),
    Example((13, 14, 15), ((60, 61, 62, 63), (70, 1)), 2),
]


def token_by_token(model, examples) -> torch.Tensor:
    """The same from the model's full logits, a row at a time, in float64."""
    found = []
    for example in examples:
        for completion in example.completions:
            logits = model(torch.tensor([example.prompt_ids + completion])).logits[0].double()
            of_completion = logits[len(example.prompt_ids) - 1 : -1].log_softmax(-1)
            found.append(of_completion.gather(-1, torch.tensor(completion)[:, None]).squeeze(-1))
    return torch.cat(found)


def pad_left(batch, amount: int, pad_id: int):
    """The plain batch with padding on the left: each row's tokens moved to its end, and `amount` more before them."""
    rows, width = batch.input_ids.shape
    room = width - batch.attention_mask.sum(1) + amount

    def moved(tensor, fill):
        wide = tensor.new_full((rows, width + amount), fill)
        for row in range(rows):
            real = width + amount - room[row]
            wide[row, room[row] :] = tensor[row, :real]
        return wide

    def index(flat):
        row, position = flat // width, flat % width
        return row * (width + amount) + position + room[row]

    return replace(
        batch,
        input_ids=moved(batch.input_ids, pad_id),
        position_ids=moved(batch.position_ids, 0),
        attention_mask=moved(batch.attention_mask, 0),
        predicting=index(batch.predicting),
        positions=index(batch.positions),
        last=index(batch.last),
    )


@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("make", [make_llama, make_gpt2])
def test_equal_to_full_logits_of_single_rows(make, shared):
    model = make()
    with torch.no_grad():
        ours = completion_logprobs(model, collate(EXAMPLES, 0, shared=shared))
        torch.testing.assert_close(ours.double(), token_by_token(model, EXAMPLES), atol=1e-5, rtol=0)


@pytest.mark.parametrize("make", [make_llama, make_gpt2])
def test_padding_changes_nothing_on_either_side_whatever_its_amount_and_id(make):
    model = make()
    plain = collate(EXAMPLES, 0, shared=False)
    with torch.no_grad():
        expected = completion_logprobs(model, plain)
        for batch in (
            collate(EXAMPLES, 99, shared=False),
            collate([*EXAMPLES, Example(tuple(range(5, 45)), ((3,),))], 0, shared=False),
            pad_left(plain, 0, 0),
            pad_left(plain, 7, 99),
        ):
            found = completion_logprobs(model, batch)[: len(expected)]
            torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)


def test_left_padding_without_position_ids_would_show():
    """The test above can fail: learned positions counted from the padding give other numbers altogether."""
    model = make_gpt2()
    with torch.no_grad():
        model.transformer.wpe.weight.mul_(50)
        plain = collate(EXAMPLES, 0, shared=False)
        right = completion_logprobs(model, plain)
        padded = pad_left(plain, 7, 0)
        torch.testing.assert_close(completion_logprobs(model, padded), right, atol=1e-3, rtol=1e-3)
        counted = torch.arange(padded.input_ids.shape[1]).expand_as(padded.input_ids)
        wrong = completion_logprobs(model, replace(padded, position_ids=counted))
        assert (wrong - right).abs().max() > 0.1


@pytest.mark.parametrize("temperature", [1.0, 0.6])
@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize(("chunk_tokens", "kept_bytes"), [(1, 0), (7, 0), (7, 1 << 20), (1000, 0), (1000, 1 << 20)])
def test_chunks_against_float64_forward_and_backward(chunk_tokens, kept_bytes, bias, temperature, monkeypatch):
    """Whether the logits are kept for the gradient or computed again."""
    monkeypatch.setitem(logprobs_module.KEPT_BYTES, "cpu", kept_bytes)
    generator = torch.Generator().manual_seed(0)
    hidden = torch.randn(50, 16, generator=generator)
    targets = torch.randint(0, 97, (50,), generator=generator)
    weigh = torch.randn(2, 50, generator=generator).double()

    def run(dtype, chunked: bool):
        model = make_llama(97)
        model.lm_head = torch.nn.Linear(16, 97, bias=bias)
        generator = torch.Generator().manual_seed(1)
        for parameter in model.lm_head.parameters():
            parameter.data = torch.randn(parameter.shape, generator=generator).to(dtype)
        states = hidden.to(dtype).requires_grad_()
        if chunked:
            logprobs, entropy = logprobs_of_hidden(
                model, states, targets, temperature=temperature, chunk_tokens=chunk_tokens, with_entropy=True
            )
        else:
            every = (model.lm_head(states) / temperature).log_softmax(-1)
            logprobs, entropy = every.gather(-1, targets[:, None]).squeeze(-1), -(every.exp() * every).sum(-1)
        loss = (weigh[0] * logprobs.double()).sum() + (weigh[1] * entropy.double()).sum()
        parameters = list(model.lm_head.parameters())
        return [logprobs, entropy, *torch.autograd.grad(loss, [states, *parameters])]

    exact = run(torch.float64, chunked=False)
    for found, expected in zip(run(torch.float64, chunked=True), exact, strict=True):
        torch.testing.assert_close(found, expected, atol=1e-12, rtol=1e-10)
    for found, expected in zip(run(torch.float32, chunked=True), exact, strict=True):
        torch.testing.assert_close(found.double(), expected, atol=3e-5, rtol=1e-4)


def test_gradients_of_the_whole_model_equal_those_of_full_logits():
    model = make_llama()
    weigh = torch.randn(18, generator=torch.Generator().manual_seed(2))
    gradients = []
    for logprobs in (
        completion_logprobs(model, collate(EXAMPLES, 0, shared=True), chunk_tokens=4),
        token_by_token(model, EXAMPLES),
    ):
        gradients.append(torch.autograd.grad((weigh * logprobs).sum(), list(model.parameters())))
    for ours, expected in zip(*gradients, strict=True):
        torch.testing.assert_close(ours, expected, atol=1e-5, rtol=1e-4)


class LargestTensor(TorchDispatchMode):
    """Remembers the most elements of any tensor that an operation made."""

    elements = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        for tensor in result if isinstance(result, tuple | list) else [result]:
            if isinstance(tensor, torch.Tensor):
                self.elements = max(self.elements, tensor.numel())
        return result


def test_no_tensor_of_all_tokens_by_the_vocabulary_is_made():
    model = make_llama(5000, hidden=8)
    examples = [Example((1, 2), (tuple(range(3, 103)),)) for _ in range(4)]
    with LargestTensor() as largest:
        completion_logprobs(model, collate(examples, 0, shared=True), chunk_tokens=10).sum().backward()
    assert largest.elements <= 10 * 5000  # 400 tokens by 5000 would be 40 times as many; the head itself has 40 000


def test_entropy_of_a_uniform_and_of_a_certain_distribution():
    model = make_llama(8)
    model.lm_head = torch.nn.Linear(8, 8, bias=False)
    model.lm_head.weight.data = torch.eye(8)
    hidden = torch.stack([torch.zeros(8), 100 * torch.eye(8)[3]])
    logprobs, entropy = logprobs_of_hidden(model, hidden, torch.tensor([5, 3]), with_entropy=True)
    torch.testing.assert_close(logprobs, torch.tensor([-2.0794415, 0.0]))  # log 1/8, log 1
    torch.testing.assert_close(entropy, torch.tensor([2.0794415, 0.0]))


def test_adapters_are_seen_in_trunk_and_head():
    torch.manual_seed(0)
    lora = LoraConfig(r=2, target_modules=["q_proj", "up_proj", "lm_head"], init_lora_weights=False)
    model = get_peft_model(make_llama(), lora).eval()
    batch = collate(EXAMPLES, 0, shared=False)
    ours, expected = completion_logprobs(model, batch, chunk_tokens=3), token_by_token(model, EXAMPLES)
    torch.testing.assert_close(ours.double(), expected, atol=1e-5, rtol=0)
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    found, wanted = (torch.autograd.grad(logprobs.sum(), trained) for logprobs in (ours, expected))
    torch.testing.assert_close(found, wanted, atol=1e-5, rtol=1e-4)


def test_logits_scaled_by_the_architecture_are_scaled_here_and_capped_ones_refused():
    model = make_llama()
    batch = collate(EXAMPLES, 0, shared=False)
    with torch.no_grad():
        halved = completion_logprobs(model, batch, temperature=2.0)
        model.config.logits_scaling = 2.0
        torch.testing.assert_close(completion_logprobs(model, batch), halved)
        model.config.final_logit_softcapping = 30.0
        with pytest.raises(ValueError, match="caps its logits"):
            completion_logprobs(model, batch)


def test_bfloat16_autocast_stays_near_float32_and_sums_in_float32():
    model = make_llama()
    batch = collate(EXAMPLES, 0, shared=True)
    exact = completion_logprobs(model, batch)
    with torch.autocast("cpu", torch.bfloat16):
        rounded = completion_logprobs(model, batch)
    assert rounded.dtype == torch.float32
    torch.testing.assert_close(rounded, exact, atol=0.05, rtol=0)
    rounded.sum().backward()
    assert all(parameter.grad.dtype == torch.float32 for parameter in model.parameters())


def test_last_hidden_is_at_the_last_real_token_even_if_that_is_the_pad_token():
    model = make_llama()
    ends_in_pad = Example((5, 6), ((7, 0, 0), (8,)))
    with torch.no_grad():
        found = last_hidden(trunk_of(model), collate([ends_in_pad], 0, shared=False))
        expected = torch.stack(
            [
                model.model(torch.tensor([ids])).last_hidden_state[0, -1]
                for ids in ([5, 6, 7, 0, 0], [5, 6, 8])
            ]
        )  # fmt: skip
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("shared", [False, True])
def test_sums_means_and_padded_form_worked_out_by_hand(shared):
    batch = collate([Example((1,), ((2, 3, 4), (5,))), Example((6,), ((7, 8),))], 0, shared=shared)
    flat = torch.tensor([1.0, 2.0, 3.0, 10.0, 20.0, 40.0])
    assert sum_per_completion(flat, batch).tolist() == [6.0, 10.0, 60.0]
    assert mean_per_completion(flat, batch).tolist() == [2.0, 10.0, 30.0]
    padded, mask = to_padded(flat, batch)
    assert padded.tolist() == [[1, 2, 3], [10, 0, 0], [20, 40, 0]]
    assert mask.tolist() == [[True, True, True], [True, False, False], [True, True, False]]
    assert from_padded(padded, batch).tolist() == flat.tolist()
