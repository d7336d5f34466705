"""Generators agree with the policy: a copy in half precision, and vLLM by a stand-in that has its interface.

vLLM itself cannot be installed on a machine without CUDA, so what is tested is that we speak to it as its documentation
has it, that weights reach it, and that a generator which disagrees with the trainer is noticed.
"""

import dataclasses
import json
import sys
from types import ModuleType, SimpleNamespace

import pytest
import torch
from transformers import (
    AutoModelForCausalLM,
    LlamaConfig,
    LlamaForCausalLM,
    MistralConfig,
    MistralForCausalLM,
    Qwen2Config,
    Qwen2ForCausalLM,
)

from tests.training.policies import EOS, PAD, learn, make_actors, quiet, scored, settings_of
from tests.training.tiny import make_gpt2, make_llama, make_tokenizer, save_tiny
from training import generators, sampling
from training.batching import Example, collate
from training.config import ConfigError
from training.decoder import FusedDecoder
from training.errors import TrainingError
from training.events import EventLog
from training.generators import LocalGenerator
from training.logprobs import completion_logprobs
from training.models import end_ids, load_policy
from training.recipes.policy_gradient import improve
from training.runtime import start
from training.static_decoder import StaticDecoder
from training.vllm_generator import VLLMGenerator

BF16 = SimpleNamespace(bf16=True, device=torch.device("cpu"))


def gap(policy, prompts, groups) -> float:
    """The largest difference between a generator's log-probabilities and the policy's, per token."""
    examples = [
        Example(tuple(prompt), tuple(c.ids for c in group), i)
        for i, (prompt, group) in enumerate(zip(prompts, groups, strict=True))
    ]
    with torch.no_grad():
        exact = completion_logprobs(policy, collate(examples, PAD, shared=False))
    drawn = torch.tensor([x for group in groups for c in group for x in c.logprobs])
    return float((exact - drawn).abs().max())


def test_a_half_precision_copy_follows_the_policy():
    policy, prompts = make_llama(24), [[10, 11, 12], [13], [14, 15]]
    generator = LocalGenerator(policy, BF16, eos_id=EOS, pad_id=PAD)
    draw = lambda: generator.sample(prompts, n=6, max_new_tokens=12, temperature=1.0, seed=1)  # noqa: E731
    assert generator.decoder.dtype == torch.bfloat16
    assert gap(policy, prompts, draw()) < 0.05
    with torch.no_grad():
        for parameter in policy.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    assert gap(policy, prompts, draw()) > 0.3  # not told yet
    generator.sync()
    assert gap(policy, prompts, draw()) < 0.1
    assert policy.dtype == torch.float32


def family():
    shape = {
        "vocab_size": 24, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4,
        "num_key_value_heads": 2, "pad_token_id": PAD, "eos_token_id": EOS, "bos_token_id": None,
    }  # fmt: skip
    yield LlamaForCausalLM(LlamaConfig(**shape, tie_word_embeddings=True, attention_bias=True, mlp_bias=True))
    yield LlamaForCausalLM(
        LlamaConfig(
            **shape, head_dim=16,
            rope_parameters={
                "rope_type": "llama3", "rope_theta": 1e4, "factor": 2.0, "low_freq_factor": 1.0,
                "high_freq_factor": 4.0, "original_max_position_embeddings": 16,
            },
        )
    )  # fmt: skip
    yield Qwen2ForCausalLM(Qwen2Config(**shape))
    yield MistralForCausalLM(MistralConfig(**shape, sliding_window=None))


@pytest.mark.parametrize("model", list(family()), ids=lambda model: model.config.model_type)
def test_the_fused_decoder_draws_what_the_models_own_forward_draws(model):
    """In float32 the very same tokens, rows leaving as they end, whatever the prompts' padding."""
    torch.manual_seed(0)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    model.eval()
    prompts = [[10, 11, 12, 13, 14, 15], [13], [14, 15]]
    options = {"n": 8, "max_new_tokens": 24, "eos_id": EOS, "pad_id": PAD, "seed": 3, "temperature": 0.9}
    assert FusedDecoder.supports(model)
    expected = sampling.sample(model, prompts, **options)
    ended = [c for group in expected for c in group if not c.truncated]
    assert 5 < len(ended) < 24
    for decoder in (FusedDecoder(model, torch.float32), StaticDecoder(model, torch.float32, capture=False)):
        same_completions(sampling.sample(model, prompts, **options, decoder=decoder), expected)


def same_completions(found, expected):
    for group, other in zip(expected, found, strict=True):
        for one, two in zip(group, other, strict=True):
            assert one.ids == two.ids and one.logprobs == pytest.approx(two.logprobs, abs=1e-3)


def test_ended_rows_leave_together_and_nothing_is_held_when_all_have(monkeypatch):
    """Every number of rows is a shape of its own, for which the libraries below keep a kernel."""
    model, rows = make_llama(24), []
    torch.nn.init.normal_(model.lm_head.weight, std=0.3)
    decoder = FusedDecoder(model, torch.float32)
    plain = FusedDecoder.step

    def step(decoder, tokens):
        rows.append(len(tokens))
        return plain(decoder, tokens)

    monkeypatch.setattr(FusedDecoder, "step", step)
    options = {"n": 40, "max_new_tokens": 60, "eos_id": EOS, "pad_id": PAD, "seed": 3}
    drawn = sampling.sample(model, [[10, 11]], **options, decoder=decoder)
    same_completions(drawn, sampling.sample(model, [[10, 11]], **options))
    running = [sum(len(c.ids) > t + 1 for c in drawn[0]) for t in range(len(rows))]
    assert len(set(running)) > 15, "they ended at many different times"
    assert set(rows) <= {40, 32, 24, 16, 8, 4, 2, 1} and rows[0] == 40 > rows[-1]
    assert all(left <= held < left + 8 for left, held in zip(running, rows, strict=True))
    assert decoder.cache == []


def test_static_shapes_are_few_and_hold_nothing_of_an_earlier_batch(monkeypatch):
    """What a GPU would capture: tensors that stay where they are, for all batches of a length, however many rows."""
    model, shapes = make_llama(24), []
    decoder = StaticDecoder(model, torch.float32, capture=False)
    options = {"max_new_tokens": 100, "eos_id": EOS, "pad_id": PAD, "seed": 3}
    plain = StaticDecoder._static_step

    def step(decoder, static, rows):
        shapes.append((rows, static.mask.shape[1], static.tokens.data_ptr(), static.cache[0].data_ptr()))
        return plain(decoder, static, rows)

    monkeypatch.setattr(StaticDecoder, "_static_step", step)
    long, short = [[10] * 27, [13], [14, 15], [16] * 9, [17]], [[11] * 5, [12]]
    for prompts, n in ((long, 8), (short, 6), (long, 3)):
        drawn = sampling.sample(model, prompts, n=n, **options, decoder=decoder)
        same_completions(drawn, sampling.sample(model, prompts, n=n, **options))
    assert {shape[1:] for shape in shapes} == {(128, *shapes[0][2:])}
    assert {shape[0] for shape in shapes} <= {64, 32, 16, 8} and len(shapes) > 100


def test_all_lengths_lie_in_one_memory_and_begin_anew_where_it_grows(monkeypatch):
    monkeypatch.setattr("training.static_decoder.LENGTHS", 16)
    model = make_llama(24)
    decoder = StaticDecoder(model, torch.float32, capture=False)
    # Lengths of 48, 16, 16 and 48; of 8 rows, but 64 in the third.
    long, short, many = ([[10] * 20], 20), ([[10], [11]], 10), ([[12]] * 9, 10)
    for (prompts, new), lengths in ((long, {48}), (short, {48, 16}), (many, {16}), (long, {16, 48})):
        options = {"n": 4, "max_new_tokens": new, "eos_id": EOS, "pad_id": PAD, "seed": 3}
        drawn = sampling.sample(model, prompts, **options, decoder=decoder)
        same_completions(drawn, sampling.sample(model, prompts, **options))
        assert decoder.of_length.keys() == lengths
        held = {static.cache[0].data_ptr() for static in decoder.of_length.values()}
        assert held == {decoder.memory[0].data_ptr()}


@pytest.mark.skipif(torch.cuda.is_available(), reason="what cannot be captured here is a step where there is no GPU")
def test_sampling_goes_on_where_a_step_cannot_be_captured():
    model, prompts = make_llama(24), [[10, 11], [12]]
    options = {"n": 2, "max_new_tokens": 8, "eos_id": EOS, "pad_id": PAD, "seed": 3}
    with pytest.warns(UserWarning, match="goes on without CUDA graphs"):
        drawn = sampling.sample(model, prompts, **options, decoder=StaticDecoder(model, torch.float32, capture=True))
    same_completions(drawn, sampling.sample(model, prompts, **options))


def test_what_the_fused_decoder_does_not_know_is_left_to_the_model():
    shape = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 4, "vocab_size": 24}
    assert not FusedDecoder.supports(make_gpt2(24))
    assert not FusedDecoder.supports(
        MistralForCausalLM(MistralConfig(**shape, num_key_value_heads=2, sliding_window=8))
    )
    adapted = make_llama(24)
    adapted.model.layers[0].mlp.up_proj = torch.nn.Sequential(adapted.model.layers[0].mlp.up_proj)
    assert not FusedDecoder.supports(adapted)
    generator = LocalGenerator(make_gpt2(24), BF16, eos_id=EOS, pad_id=PAD)
    groups = generator.sample([[10, 11], [12]], n=4, max_new_tokens=6, temperature=1.0, seed=0)
    assert generator.decoder is None and gap(generator.policy, [[10, 11], [12]], groups) < 0.1


def test_where_memory_ran_out_in_sampling_is_said_with_what_to_lower(monkeypatch):
    def refused(*args, **kwargs):
        raise torch.OutOfMemoryError("CUDA out of memory")

    generator = LocalGenerator(make_gpt2(24), BF16, eos_id=EOS, pad_id=PAD)
    monkeypatch.setattr(generators, "sample", refused)
    with pytest.raises(TrainingError, match="lower sampling_tokens"):
        generator.sample([[5]], n=2, max_new_tokens=4, temperature=1.0, seed=0)


def test_a_chat_models_end_of_turn_ends_a_completion():
    """A list in generation_config, as Gemma has it; a single number is the tokenizer's business."""
    model, tokenizer = make_gpt2(), make_tokenizer()
    assert end_ids(model, tokenizer) == (tokenizer.eos_token_id,)
    model.generation_config.eos_token_id = [tokenizer.eos_token_id, 7]
    assert end_ids(model, tokenizer) == (tokenizer.eos_token_id, 7)


class FakeLLM:
    """As vllm.LLM takes our arguments: a policy from a path, seeds of requests, dictionaries of log-probabilities."""

    made: "FakeLLM"
    deaf = False

    def __init__(
        self, *, model, dtype, max_model_len, gpu_memory_utilization, skip_tokenizer_init, logprobs_mode, seed
    ):
        assert logprobs_mode == "processed_logprobs" and skip_tokenizer_init and 0 < gpu_memory_utilization <= 1
        assert 0 <= seed < 2**32
        self.model = AutoModelForCausalLM.from_pretrained(model)  # as it is, with no row for a pad token of ours
        self.resets, self.longest = 0, max_model_len
        self.model.load_weights = self.load_weights
        FakeLLM.made = self

    def load_weights(self, weights):
        mine = dict(self.model.named_parameters())
        for name, tensor in weights:
            assert tensor.shape == mine[name].shape  # vLLM's loader takes no other
            if not self.deaf:
                mine[name].data.copy_(tensor)
        return set(mine)

    def apply_model(self, function):
        return [function(self.model)]

    def reset_prefix_cache(self):
        self.resets += 1
        return True

    def generate(self, prompts, sampling_params, *, use_tqdm):
        requests = []
        # Sample k of a prompt gets the prompt's seed plus k: no two completions may get the same.
        seeds = [of.seed + k for of in sampling_params for k in range(of.n)]
        assert len(set(seeds)) == len(seeds) and min(seeds) >= 0 and max(seeds) < 2**63
        assert all(of.ignore_eos for of in sampling_params)  # which leaves the ends that stop_token_ids names
        for prompt, of in zip(prompts, sampling_params, strict=True):
            assert len(prompt["prompt_token_ids"]) + of.max_tokens <= self.longest and of.logprobs == 0
            (group,) = sampling.sample(
                self.model, [prompt["prompt_token_ids"]], n=of.n, max_new_tokens=of.max_tokens, pad_id=PAD,
                eos_id=of.stop_token_ids[0], temperature=of.temperature, seed=of.seed,
            )  # fmt: skip
            outputs = [
                SimpleNamespace(
                    token_ids=list(c.ids),
                    logprobs=[{i: SimpleNamespace(logprob=x)} for i, x in zip(c.ids, c.logprobs, strict=True)],
                )
                for c in group
            ]
            requests.append(SimpleNamespace(outputs=outputs))
        return requests


@pytest.fixture
def fake_vllm(monkeypatch):
    module = ModuleType("vllm")
    module.LLM, module.SamplingParams = FakeLLM, lambda **given: SimpleNamespace(**given)
    monkeypatch.setitem(sys.modules, "vllm", module)
    monkeypatch.setenv("VLLM_ENABLE_V1_MULTIPROCESSING", "")
    monkeypatch.setattr(FakeLLM, "deaf", False)


def options(tmp_path):
    policy = make_llama()
    return {
        "generator": "vllm", "model": save_tiny(tmp_path / "policy", policy), "steps": 3, "learning_rate": 1e-2,
        "warmup": 0, "temperature": 0.8,
    }  # fmt: skip


def mean_id(indices, groups):
    """A reward in which completions hardly ever agree, so that every round teaches something."""
    return torch.tensor([[sum(c.ids) / len(c.ids) for c in group] for group in groups])


def test_vllm_has_the_policys_weights_every_round(tmp_path, fake_vllm):
    settings = settings_of("grpo", tmp_path, **options(tmp_path))
    policy, reference = load_policy(settings.model), load_policy(settings.model)
    actors = dataclasses.replace(make_actors(value=False, shared=False), policy=policy, reference=reference)
    metrics = learn(settings, actors, mean_id)
    assert metrics["sampler_gap"] < 1e-3
    assert FakeLLM.made.resets == 3
    # The last round was drawn from the policy as two updates had left it, which is not as it began.
    begin = load_policy(settings.model).state_dict()
    assert any(not torch.equal(begin[name], p) for name, p in FakeLLM.made.model.named_parameters())


def test_vllm_is_not_given_the_row_of_a_pad_token_that_its_model_lacks(tmp_path, fake_vllm):
    vocabulary = len(make_tokenizer()) - 1
    source = save_tiny(tmp_path / "policy", make_llama(vocabulary))
    policy = load_policy(source)
    assert policy.get_input_embeddings().num_embeddings == vocabulary + 1
    generator = VLLMGenerator(policy, source, eos_id=(EOS, 5), max_length=32, share=0.3, seed=0)
    policy.get_output_embeddings().weight.data += 1e-3
    generator.sync()
    taken = FakeLLM.made.model.get_output_embeddings().weight
    assert torch.equal(taken, policy.get_output_embeddings().weight[:vocabulary])
    assert generator.ends == [EOS, 5]


def test_a_generator_that_disagrees_is_noticed(tmp_path, fake_vllm, monkeypatch):
    monkeypatch.setattr(FakeLLM, "deaf", True)
    settings = settings_of("grpo", tmp_path, **{**options(tmp_path), "steps": 6, "learning_rate": 3e-2})
    policy, reference = load_policy(settings.model), load_policy(settings.model)
    actors = dataclasses.replace(make_actors(value=False, shared=False), policy=policy, reference=reference)
    log = EventLog(tmp_path)
    prompts = [[10, 11, 12], [13], [14, 15], [16]]
    metrics = improve(actors, prompts, scored(mean_id), settings, start(settings, quiet(settings)), log)
    assert metrics["sampler_gap"] > 0.1
    texts = [line["text"] for line in map(json.loads, log.path.read_text().splitlines()) if line["kind"] == "message"]
    assert any("not what was sampled" in text for text in texts)


def test_without_vllm_the_run_says_so_before_it_loads_anything(tmp_path, monkeypatch):
    from training.recipes.policy_gradient import run

    monkeypatch.setitem(sys.modules, "vllm", None)
    with pytest.raises(ConfigError, match="generator=vllm needs vLLM, which is not installed"):
        run(settings_of("grpo", tmp_path, generator="vllm"), EventLog(tmp_path, enabled=False))
