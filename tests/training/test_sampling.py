"""Sampling: the distribution it draws from, what it reports, and that the batch around a prompt changes nothing."""

import pytest
import torch

from tests.training.tiny import make_gpt2, make_llama
from training.sampling import sample

PAD, EOS = 0, 1
PROMPTS = [[5, 6, 7], [9], [8, 8, 12, 13, 14, 15, 16, 17, 18], [30, 31, 32, 33]]


@pytest.fixture(scope="module", params=[make_llama, make_gpt2], ids=["llama", "gpt2"])
def model(request):
    return request.param(vocabulary=40, seed=3)


def likely_end(model, prompt):
    """The token that the model most likely gives next, to serve as an end that does come."""
    with torch.no_grad():
        return int(model(torch.tensor([prompt])).logits[0, -1].argmax())


def plain_logprobs(model, prompt, ids, temperature):
    """log π(ids | prompt) by one forward pass without padding or cache."""
    with torch.no_grad():
        logits = model(torch.tensor([[*prompt, *ids]])).logits[0, len(prompt) - 1 : -1]
    return (logits / temperature).log_softmax(-1).gather(-1, torch.tensor(ids).unsqueeze(-1)).squeeze(-1)


@pytest.mark.parametrize("temperature", [1.0, 0.7])
def test_reported_logprobs_are_those_of_a_plain_forward_pass(model, temperature):
    groups = sample(model, PROMPTS, n=3, max_new_tokens=12, eos_id=EOS, pad_id=PAD, temperature=temperature, seed=1)
    assert [len(group) for group in groups] == [3] * len(PROMPTS)
    for prompt, group in zip(PROMPTS, groups, strict=True):
        for completion in group:
            expected = plain_logprobs(model, prompt, completion.ids, temperature)
            torch.testing.assert_close(torch.tensor(completion.logprobs), expected, atol=2e-5, rtol=1e-4)


def test_a_prompts_company_changes_nothing(model):
    def draw(prompts, **kwargs):
        return sample(model, prompts, n=4, max_new_tokens=10, eos_id=EOS, pad_id=PAD, seed=5, **kwargs)

    together, apart = draw(PROMPTS), draw(PROMPTS, tokens_at_once=1)
    assert [[c.ids for c in group] for group in together] == [[c.ids for c in group] for group in apart]
    alone = draw(PROMPTS[:1])  # the first prompt keeps its random numbers, without longer ones beside it
    assert [c.ids for c in alone[0]] == [c.ids for c in together[0]]


def test_the_seed_alone_decides(model):
    def draw(seed):
        groups = sample(model, PROMPTS, n=2, max_new_tokens=8, eos_id=EOS, pad_id=PAD, seed=seed)
        return [[c.ids for c in group] for group in groups]

    torch.manual_seed(0)
    first = draw(7)
    torch.manual_seed(1)
    assert draw(7) == first
    assert draw(8) != first


def test_an_ended_row_stops_and_a_long_one_is_marked_truncated(model):
    end = likely_end(model, PROMPTS[0])
    groups = sample(model, PROMPTS, n=16, max_new_tokens=12, eos_id=end, pad_id=PAD, seed=2, temperature=1.3)
    completions = [completion for group in groups for completion in group]
    assert {completion.truncated for completion in completions} == {True, False}
    for completion in completions:
        assert len(completion.logprobs) == len(completion.ids)
        if completion.truncated:
            assert len(completion.ids) == 12 and end not in completion.ids
        else:
            assert completion.ids.index(end) == len(completion.ids) - 1
    for prompt, group in zip(PROMPTS, groups, strict=True):  # rows that outlive others keep their own cache
        for completion in group:
            expected = plain_logprobs(model, prompt, completion.ids, 1.3)
            torch.testing.assert_close(torch.tensor(completion.logprobs), expected, atol=2e-5, rtol=1e-4)


def test_greedy_takes_the_likeliest_token_each_time(model):
    (group,) = sample(model, [PROMPTS[2]], max_new_tokens=6, eos_id=EOS, pad_id=PAD, temperature=0)
    ids = list(PROMPTS[2])
    for token in group[0].ids:
        with torch.no_grad():
            assert token == int(model(torch.tensor([ids])).logits[0, -1].argmax())
        ids.append(token)


def test_first_tokens_follow_the_models_distribution(model):
    count, temperature = 20_000, 0.5
    (group,) = sample(
        model, [PROMPTS[0]], n=count, max_new_tokens=1, eos_id=EOS, pad_id=PAD, temperature=temperature, seed=4
    )
    drawn = torch.bincount(torch.tensor([c.ids[0] for c in group]), minlength=40) / count
    with torch.no_grad():
        expected = (model(torch.tensor([PROMPTS[0]])).logits[0, -1] / temperature).softmax(-1)
    # Five standard deviations of a share.
    assert ((drawn - expected).abs() <= 5 * (expected * (1 - expected) / count).sqrt() + 1e-6).all()


def test_dropout_is_off_while_sampling_and_the_mode_is_given_back():
    model = make_gpt2(vocabulary=40).train()
    first, second = (sample(model, PROMPTS, max_new_tokens=5, eos_id=EOS, pad_id=PAD, temperature=0) for _ in range(2))
    assert first == second
    assert model.training


def test_an_empty_prompt_is_refused(model):
    with pytest.raises(ValueError, match="at least one token"):
        sample(model, [[5], []], max_new_tokens=2, eos_id=EOS, pad_id=PAD)


def test_a_group_too_large_for_the_cache_is_drawn_in_parts(model):
    """Prompts of up to 9 tokens with 8 new ones: a cache of 34 tokens has room for two such completions at once."""
    options = {"n": 7, "max_new_tokens": 8, "eos_id": EOS, "pad_id": PAD, "seed": 5}
    parts, whole = (sample(model, PROMPTS, tokens_at_once=room, **options) for room in (34, 65_536))
    assert [[c.ids for c in group] for group in parts] == [[c.ids for c in group] for group in whole]


def test_each_of_several_ends_is_one(model):
    first = likely_end(model, PROMPTS[0])
    options = {"n": 16, "max_new_tokens": 12, "pad_id": PAD, "seed": 2, "temperature": 1.3}
    whole = sample(model, [PROMPTS[0]], eos_id=-1, **options)[0]
    second = next(id for completion in whole for id in completion.ids if id not in (first, PAD))
    cut = sample(model, [PROMPTS[0]], eos_id=(first, second), **options)[0]
    for before, after in zip(whole, cut, strict=True):
        ends = [place for place, id in enumerate(before.ids) if id in (first, second)]
        assert after.ids == (before.ids[: ends[0] + 1] if ends else before.ids)
        assert after.truncated == (not ends)
    assert {completion.ids[-1] for completion in cut} >= {first, second}
