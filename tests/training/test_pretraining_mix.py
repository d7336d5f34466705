"""PPO-ptx: the demonstrations' gradient, by hand and from the command line."""

import json

import pytest
import torch

from tests.training.policies import settings_of
from tests.training.tiny import make_llama, save_tiny
from training.batching import Example
from training.events import EventLog
from training.logprobs import supports_shared_prefix
from training.models import load_reward_model, load_tokenizer, save_model
from training.pretraining_mix import PretrainingMix
from training.rollouts import PromptStream
from training.runtime import start
from training.verify import STATES, TOKENS, TablePolicy


def test_the_gradient_by_hand(tmp_path):
    """A table of logits, all 0: ∂(−γ/N · Σ log p)/∂z = γ/N · (p − 1_y), p = 1/8, N the tokens of both texts."""
    policy = TablePolicy(torch.zeros(STATES, TOKENS))
    mix = PretrainingMix(
        [Example((8,), ((3, 5, 0),), 0), Example((8,), ((3,),), 1)], pad_id=0, shared=False, device="cpu"
    )
    settings = settings_of("ppo", tmp_path, ptx_data="d", ptx_coefficient=2.0, ptx_batch=2)
    machine = start(settings, EventLog(tmp_path, enabled=False))
    loss = mix.backward(policy, PromptStream(2, 0), settings, machine)
    assert float(loss) == pytest.approx(torch.tensor(8.0).log().item())
    expected = torch.zeros(STATES, TOKENS)
    # The empty prefix twice before token 3, prefix (3) before 5, prefix (3, 5) before 0.
    for state, token in ((0, 3), (0, 3), (1 + 3, 5), (1 + 8 + 3 * 8 + 5, 0)):
        expected[state] += 1 / 8
        expected[state, token] -= 1
    torch.testing.assert_close(policy.trunk.table.grad, 2.0 / 4 * expected)


def test_memory_and_layout_change_nothing(tmp_path):
    examples = [Example((5, 6), (tuple(range(7, 7 + n)),), n) for n in range(1, 6)]
    gradients = []
    for shared, budget in ((True, 8192), (False, 8192), (False, 8)):
        policy = make_llama(24)
        assert not shared or supports_shared_prefix(policy)
        settings = settings_of("ppo", tmp_path, ptx_data="d", ptx_batch=5, tokens_per_batch=budget)
        mix = PretrainingMix(examples, pad_id=0, shared=shared, device="cpu")
        mix.backward(policy, PromptStream(5, 0), settings, start(settings, EventLog(tmp_path, enabled=False)))
        gradients.append(torch.cat([p.grad.flatten() for p in policy.parameters()]))
    torch.testing.assert_close(gradients[1], gradients[0], rtol=1e-4, atol=1e-7)
    torch.testing.assert_close(gradients[2], gradients[0], rtol=1e-4, atol=1e-7)


def test_the_recipe_remembers_the_demonstrations(tmp_path):
    """Nothing is rewarded apart (learned by PPO), so all that moves the policy are the demonstrations."""
    from training.__main__ import execute

    policy = save_tiny(tmp_path / "policy")
    save_model(load_reward_model(policy, seed=1), load_tokenizer(policy), tmp_path / "reward")
    (tmp_path / "prompts.jsonl").write_text(json.dumps({"prompt": "say"}) + "\n")
    (tmp_path / "ptx.jsonl").write_text(json.dumps({"prompt": "say", "completion": "ok"}) + "\n")
    (tmp_path / "run").mkdir()
    settings = settings_of(
        "reinforce", tmp_path / "run", model=policy, reward_model=str(tmp_path / "reward"), steps=8, learning_rate=1e-2,
        prompts=str(tmp_path / "prompts.jsonl"), prompts_per_step=1, ptx_data=str(tmp_path / "ptx.jsonl"),
        ptx_coefficient=5.0, sample_prompts=0, beta=0.0, warmup=0,
    )  # fmt: skip
    log = EventLog(tmp_path / "run")
    assert execute("reinforce", settings, log) == 0
    events = [json.loads(line) for line in log.path.read_text().splitlines()]
    losses = [event["values"]["ptx_loss"] for event in events if event["kind"] == "metrics"]
    assert losses[0] > 5 and losses[-1] < 0.5 * losses[0]


def test_a_missing_file_is_named(tmp_path):
    from training.config import ConfigError
    from training.records import RecordError

    settings = settings_of("ppo", tmp_path, ptx_data=str(tmp_path / "none.jsonl"))
    with pytest.raises((ConfigError, RecordError), match=r"none\.jsonl"):
        PretrainingMix.read(settings, None, EventLog(tmp_path, enabled=False), shared=False, device="cpu")
