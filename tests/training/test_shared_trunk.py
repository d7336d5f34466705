"""With low-rank updates policy, reference and value model are one set of weights, and learn as such."""

import json
import shutil

import pytest
import torch
from safetensors.torch import load_file

from tests.training.policies import PROMPTS, learn, settings_of
from tests.training.runs import train, write_lines
from tests.training.tiny import make_llama, save_tiny
from training import adapters
from training.actors import Actors, load_actors, make_optimizer
from training.batching import Example, collate
from training.config import ConfigError
from training.events import EventLog
from training.logprobs import last_hidden, trunk_of
from training.models import load_policy, load_reward_model, load_tokenizer, save_model
from training.records import Prompt
from training.rewards.load import load_rewards
from training.runtime import start
from training.shared_trunk import reward_model_over, sharing


def loaded(preset, directory, **options) -> tuple[Actors, object]:
    model = make_llama()
    model.lm_head.weight.data.mul_(20)  # the head is not trained: as it is drawn its logits could hardly differ
    settings = settings_of(preset, directory, model=save_tiny(directory / "policy", model), lora_rank=4, **options)
    log = EventLog(directory, enabled=False)
    policy, tokenizer = load_policy(settings.model), load_tokenizer(settings.model)
    return load_actors(policy, settings, start(settings, log), log, tokenizer), settings


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


@pytest.fixture(scope="module")
def rewarded(tmp_path_factory):
    """A policy, and the run of a reward model that is low-rank updates of it: (policy, reward run)."""
    folder = tmp_path_factory.mktemp("rewarded")
    policy = save_tiny(folder / "policy")
    rows = [{"prompt": f"p{i}", "chosen": "+" * (i % 5 + 2), "rejected": "-" * (i % 7 + 1)} for i in range(40)]
    run = train(
        "reward", folder / "run", model=policy, data=write_lines(folder / "data.jsonl", rows), lora_rank=4,
        learning_rate=0.02, batch_size=8, epochs=2, checkpoint_every=0,
    )  # fmt: skip
    assert run.code == 0
    return policy, run.output


PROMPT = Prompt([{"role": "user", "content": "p1"}])
TEXTS = ["+++", "--", "abc", "", "a longer one, with a comma"]


def rewards_of(policy, reward_run, output, **options):
    """The sources as a ppo run loads them, and the language model they were given."""
    settings = settings_of("ppo", output, model=policy, reward_model=str(reward_run / "model"), **options)
    log = EventLog(output, enabled=True)
    model = load_policy(policy)
    trunk = model if settings.lora_rank else None
    return load_rewards(settings, start(settings, log), log, tokenizer=load_tokenizer(policy), trunk=trunk), model


def test_the_reward_model_shares_the_trunk_and_scores_as_merged(rewarded, tmp_path):
    policy, run = rewarded
    shared, model = rewards_of(policy, run, tmp_path, lora_rank=4)
    merged, _ = rewards_of(policy, run, tmp_path)
    (source,) = (weighted.source for weighted in shared.sources.values())
    assert storages(model).items() <= storages(source.model).items() | {
        (head.untyped_storage().data_ptr(), head.untyped_storage().nbytes()) for head in [model.lm_head.weight]
    }
    prompts = [PROMPT] * len(TEXTS)
    torch.testing.assert_close(shared(prompts, TEXTS), merged(prompts, TEXTS), atol=1e-5, rtol=0)
    assert merged(prompts, TEXTS).std() > 0.1  # the updates and the shift are part of what agrees
    assert not any(p.requires_grad for p in source.model.parameters())


def test_the_value_model_starts_from_the_reward_models_updates(rewarded, tmp_path):
    policy, run = rewarded
    settings = settings_of("ppo", tmp_path, model=policy, reward_model=str(run / "model"), lora_rank=2)
    log = EventLog(tmp_path, enabled=False)
    model, tokenizer = load_policy(policy), load_tokenizer(policy)
    reward_model = reward_model_over(model, str(run / "model"))
    actors = load_actors(model, settings, start(settings, log), log, tokenizer)
    ids = torch.tensor([PROMPTS[0]])
    states = lambda of: trunk_of(of)(input_ids=ids).last_hidden_state  # noqa: E731
    with torch.no_grad():
        torch.testing.assert_close(states(actors.value), states(reward_model))
        assert not torch.allclose(states(actors.value), states(actors.reference))
    assert not actors.value.score.weight.any() and reward_model.score.weight.any()
    assert all(p.requires_grad for name, p in actors.value.named_parameters() if "lora_" in name or "score" in name)


def test_a_policy_of_other_weights_gets_the_merged_model(rewarded, tmp_path):
    policy, run = rewarded
    other = make_llama()
    with torch.no_grad():
        other.model.layers[1].mlp.up_proj.weight[0, 0] += 1e-6
    assert reward_model_over(load_policy(policy), str(run / "model")) is not None
    assert reward_model_over(other, str(run / "model")) is None
    changed = save_tiny(tmp_path / "other", other)
    rewards, model = rewards_of(changed, run, tmp_path, lora_rank=4)
    (source,) = (weighted.source for weighted in rewards.sources.values())
    assert not storages(model).keys() & storages(source.model).keys()
    assert "held whole" in (tmp_path / "events.jsonl").read_text()


def test_peft_loads_the_adapter_over_the_model_it_was_trained_from(rewarded):
    from peft import PeftModel

    policy, run = rewarded
    loaded = PeftModel.from_pretrained(load_reward_model(policy), run / adapters.DIRECTORY).eval()
    batch = collate([Example((5, 6), ((9, 1), (12, 13, 1)))], 0, shared=False)
    with torch.no_grad():
        expected, given = (
            model.score(last_hidden(trunk_of(model), batch))
            for model in (load_reward_model(str(run / "model")), loaded.get_base_model())
        )
    torch.testing.assert_close(given, expected, atol=1e-5, rtol=0)
    modes = {path.stat().st_mode for path in (run / adapters.DIRECTORY).iterdir()}
    assert len(modes) == 1, "its weights are read by whoever may read the rest"


def test_a_whole_reward_model_leaves_no_adapter_of_an_earlier_run(rewarded, tmp_path):
    policy, run = rewarded
    shutil.copytree(run / "adapter", tmp_path / "run/adapter")
    shutil.copy(run / "config.json", tmp_path / "run")
    data = write_lines(tmp_path / "d.jsonl", [{"prompt": "p", "chosen": "a", "rejected": "b"}] * 4)
    assert train("reward", tmp_path / "run", model=policy, data=data, heldout=0.25).code == 0
    assert not (tmp_path / "run/adapter").exists() and adapters.beside(str(tmp_path / "run/model")) is None


def test_an_adapter_that_cannot_be_read_is_named(rewarded, tmp_path):
    policy, run = rewarded
    shutil.copytree(run / "adapter", tmp_path / "adapter")
    (tmp_path / "adapter/adapter_model.safetensors").write_bytes(b"x" * 20)
    with pytest.raises(ConfigError, match=f"the adapter in {tmp_path / 'adapter'} cannot be loaded"):
        reward_model_over(load_policy(policy), str(tmp_path / "model"))
