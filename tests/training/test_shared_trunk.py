"""With low-rank updates policy, reference and value model are one set of weights, and learn as such."""

import json

import pytest
import torch
from safetensors.torch import load_file

from tests.training.policies import PROMPTS, learn, settings_of
from tests.training.tiny import make_llama, save_tiny
from training.actors import Actors, load_actors, make_optimizer
from training.config import ConfigError
from training.events import EventLog
from training.logprobs import trunk_of
from training.models import load_reward_model, load_tokenizer, save_model
from training.runtime import start
from training.shared_trunk import sharing


def loaded(preset, directory, **options) -> tuple[Actors, object]:
    model = make_llama()
    model.lm_head.weight.data.mul_(20)  # the head is not trained: as it is drawn its logits could hardly differ
    settings = settings_of(preset, directory, model=save_tiny(directory / "policy", model), lora_rank=4, **options)
    log = EventLog(directory, enabled=False)
    return load_actors(settings, start(settings, log), log, load_tokenizer(settings.model)), settings


def storages(model):
    return {
        parameter.untyped_storage().data_ptr(): parameter.untyped_storage().nbytes() for parameter in model.parameters()
    }


def test_three_models_need_the_memory_of_one(tmp_path):
    actors, _ = loaded("ppo", tmp_path)
    one = sum(storages(make_llama()).values())
    together = sum((storages(actors.policy) | storages(actors.reference) | storages(actors.value)).values())
    apart = sum(sum(storages(model).values()) for model in (actors.policy, actors.reference, actors.value))
    trained = sum(p.numel() for p in actors.trained().parameters() if p.requires_grad) * 4
    assert together == one + trained
    assert apart > 2.5 * one


def test_only_updates_and_the_head_are_trained_and_the_reference_stays(tmp_path):
    actors, settings = loaded("ppo", tmp_path, steps=3, learning_rate=1e-2, value_learning_rate=1e-2, warmup=0)
    before = {name: p.clone() for name, p in actors.reference.named_parameters()}
    names = [name for name, p in actors.trained().named_parameters() if p.requires_grad]
    assert all("lora_" in name or name == "value.score.weight" for name in names)
    assert {name.split(".")[0] for name in names} == {"policy", "value"}
    assert sum(len(group["params"]) for group in make_optimizer(actors, settings).param_groups) == len(names)
    metrics = learn(settings, actors)
    assert all(torch.equal(before[name], p) for name, p in actors.reference.named_parameters())
    assert metrics["kl"] != 0 and float(actors.value.score.weight.detach().abs().max()) > 0


def test_it_finds_what_is_rewarded(tmp_path):
    actors, settings = loaded(
        "ppo", tmp_path, steps=20, learning_rate=3e-2, value_learning_rate=3e-2, warmup=0, beta=0.0,
    )  # fmt: skip

    def small_ids(indices, groups):
        return torch.tensor([[sum(id < 131 for id in c.ids) / len(c.ids) for c in group] for group in groups])

    assert learn(settings, actors, small_ids)["reward"] > 0.8  # half of the vocabulary is small


def test_roles_do_not_see_each_others_updates(tmp_path):
    actors, _ = loaded("ppo", tmp_path)
    ids = torch.tensor([PROMPTS[0]])
    states = lambda model: trunk_of(model)(input_ids=ids).last_hidden_state  # noqa: E731
    with torch.no_grad():
        plain = states(actors.reference)
        torch.testing.assert_close(states(actors.policy), plain)  # updates begin at zero
        for name, parameter in actors.value.named_parameters():
            if "lora_B" in name:
                parameter.add_(0.1)
        assert not torch.allclose(states(actors.value), plain)
        torch.testing.assert_close(states(actors.policy), plain)
        torch.testing.assert_close(states(actors.reference), plain)


def test_a_sharing_copy_has_modules_of_its_own():
    model = make_llama()
    copied = sharing(model)
    assert copied.model.layers[0] is not model.model.layers[0] and copied.config is not model.config
    assert all(one is two for one, two in zip(model.parameters(), copied.parameters(), strict=True))


def test_the_saved_model_is_plain_and_has_learned(tmp_path):
    from training.__main__ import execute

    policy = save_tiny(tmp_path / "policy")
    save_model(load_reward_model(policy, seed=1), load_tokenizer(policy), tmp_path / "reward")
    (tmp_path / "prompts.jsonl").write_text(json.dumps({"prompt": "say"}) + "\n")
    (tmp_path / "run").mkdir()
    settings = settings_of(
        "ppo", tmp_path / "run", model=policy, reward_model=str(tmp_path / "reward"), steps=2, learning_rate=1e-2,
        prompts=str(tmp_path / "prompts.jsonl"), lora_rank=4, sample_prompts=1, checkpoint_every=1, warmup=0,
    )  # fmt: skip
    assert execute("ppo", settings, EventLog(tmp_path / "run")) == 0
    old, new = (load_file(place / "model.safetensors") for place in (tmp_path / "policy", tmp_path / "run/model"))
    assert old.keys() == new.keys() and any(not torch.equal(old[name], new[name]) for name in old)
    saved = load_file(tmp_path / "run/checkpoints/step-1/tensors.safetensors")
    assert all("lora_" in name or "score" in name for name in saved if name.startswith("weights/"))


def test_settings_that_do_not_go_with_it(tmp_path):
    with pytest.raises(ConfigError, match="leave value_model"):
        settings_of("ppo", tmp_path, lora_rank=4, value_model="v")
    with pytest.raises(ConfigError, match="generator=transformers"):
        settings_of("ppo", tmp_path, lora_rank=4, generator="vllm")
