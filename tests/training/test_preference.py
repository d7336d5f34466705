"""Direct preference: each loss on a real model, the reference frozen and computed once, the exact optimum reached."""

import math
import random

import pytest
import torch
from transformers import AutoModelForCausalLM

from tests.training.runs import train, write_lines
from tests.training.tiny import make_llama, save_tiny
from training import runtime
from training.batching import Example, collate
from training.config import resolve
from training.events import EventLog
from training.labels import Label, accuracy, label_of
from training.logprobs import completion_logprobs, sum_per_completion
from training.loop import Trainer
from training.recipes.preference import PreferenceObjective
from training.records import Preference
from training.reference import reference_logprobs

PAIRS = [
    Example((5, 6, 7), ((10, 11, 1), (12, 1)), 4),
    Example((8,), ((13, 1), (14, 15, 16, 17, 1)), 9),
]


def config(**settings):
    return resolve("dpo", None, {"output": "o", "model": "m", "data": "d", "device": "cpu", **settings})


@pytest.fixture(scope="module")
def policy():
    return make_llama()


def sums(model, pairs=PAIRS):
    batch = collate(pairs, 0, shared=False)
    with torch.no_grad():
        return sum_per_completion(completion_logprobs(model, batch), batch).view(-1, 2).double()


def test_each_loss_against_its_formula(policy):
    reference = sums(make_llama(seed=1))
    labels = [Label(2.0, 1.0, 0.5), Label(1.0, 0.75, 0.0)]
    w, r = sums(policy), reference
    lengths = torch.tensor([[3.0, 2.0], [2.0, 5.0]], dtype=torch.float64)

    def cross_entropy(lead, probability):
        return probability * math.log1p(math.exp(-lead)) + (1 - probability) * math.log1p(math.exp(lead))

    def expected(kind, pair):
        p = labels[pair].probability * 0.9 + (1 - labels[pair].probability) * 0.1
        ratio = (w - r)[pair]
        if kind == "dpo":
            return cross_entropy(0.3 * (ratio[0] - ratio[1]) - labels[pair].margin, p)
        if kind == "ipo":
            lead = (ratio / lengths[pair])[0] - (ratio / lengths[pair])[1]
            return p * (lead - 1 / 0.6) ** 2 + (1 - p) * (lead + 1 / 0.6) ** 2
        mean = w[pair] / lengths[pair]
        return cross_entropy(0.3 * (mean[0] - mean[1]) - 0.7, p)

    for kind in ("dpo", "ipo", "simpo"):
        for sft_weight in (0.0, 0.5):
            settings = config(loss=kind, beta="0.3", gamma="0.7", label_smoothing="0.1", sft_weight=str(sft_weight))
            given = None if kind == "simpo" else reference.float()
            objective = PreferenceObjective(policy, settings, PAIRS, labels, given)
            # In the other order than the table's, so that rows are found by their index.
            loss, metrics = objective(collate(PAIRS[::-1], 0, shared=False))
            total = sum(
                labels[pair].weight * (expected(kind, pair) - sft_weight * w[pair, 0] / lengths[pair, 0])
                for pair in range(2)
            )
            assert loss.item() == pytest.approx(float(total), abs=1e-4), (kind, sft_weight)
            assert metrics["logp_chosen"][0].item() == pytest.approx(w[:, 0].sum().item(), abs=1e-4)
    assert [objective.weight(pair) for pair in PAIRS] == [2.0, 1.0]


def test_labels_of_rows():
    def of(**fields):
        row = Preference([{"role": "user", "content": "p"}], "a", "b", **fields)
        return label_of(row, margin_better=2.0, margin_slightly_better=1.0)

    assert of() == Label(1.0, 1.0, 0.0)
    assert of(strength="better", weight=3.0) == Label(3.0, 1.0, 2.0)
    assert of(strength="slightly_better") == Label(1.0, 1.0, 1.0)
    assert of(strength="better", margin=0.25) == Label(1.0, 1.0, 0.25)
    assert of(probability=0.8, strength="better") == Label(1.0, 0.8, 0.0)
    assert of(strength="tie") == Label(1.0, 0.5, 0.0, tie=True)


def test_accuracy_leaves_undecided_labels_out():
    agree, decided = accuracy(torch.tensor([1.0, -1.0, 0.0, -1.0, 5.0]), torch.tensor([1.0, 1.0, 1.0, 0.2, 0.5]))
    assert (agree.item(), decided.item()) == (2.5, 4.0)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return save_tiny(tmp_path_factory.mktemp("llama"))


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    rng = random.Random(4)
    rows = [
        {"prompt": f"Say {n}", "chosen": "yes" * rng.randrange(1, 4), "rejected": "no" * rng.randrange(1, 4)}
        for n in range(60)
    ]
    return write_lines(tmp_path_factory.mktemp("data") / "rows.jsonl", rows)


LEARN = {"learning_rate": 0.001, "batch_size": 16, "heldout": 0.2, "sample_prompts": 2, "sample_tokens": 5}


@pytest.mark.parametrize("loss", ["dpo", "ipo", "simpo"])
def test_a_run_learns_the_preference(tmp_path, model, data, loss):
    run = train("dpo", tmp_path, model=model, data=data, loss=loss, epochs=3, **LEARN)
    assert run.code == 0
    assert run.metrics["accuracy_heldout"] == 1.0
    assert run.metrics["margin"] > run.curve("margin")[0]
    assert {"logp_chosen", "logp_rejected", "logp_chosen_heldout"} <= run.metrics.keys()
    (samples,) = run.of_kind("samples")
    assert len(samples["rows"]) == 2
    AutoModelForCausalLM.from_pretrained(run.output / "model")


def test_it_begins_at_log_2_since_the_policy_is_the_reference(tmp_path, model, data):
    run = train("dpo", tmp_path, model=model, data=data, max_steps=1, **LEARN)
    assert run.curve("loss") == [pytest.approx(math.log(2), abs=1e-6)]
    assert run.curve("margin") == [pytest.approx(0, abs=1e-6)]


def test_another_reference_is_used(tmp_path, model, data):
    other = save_tiny(tmp_path / "other", make_llama(seed=5))
    run = train("dpo", tmp_path / "run", model=model, reference=other, data=data, max_steps=1, **LEARN)
    assert abs(run.curve("loss")[0] - math.log(2)) > 1e-4


def test_lora_learns_too(tmp_path, model, data):
    run = train("dpo", tmp_path, model=model, data=data, lora_rank=4, epochs=3, **LEARN | {"learning_rate": 0.01})
    assert run.metrics["accuracy_heldout"] == 1.0
    assert run.curve("loss")[0] == pytest.approx(math.log(2), abs=1e-6)


def test_the_reference_is_computed_once_and_found_again(tmp_path, model, data, monkeypatch):
    """A second start of the same run reads what the first wrote; another model or other rows do not."""
    settings = LEARN | {"data": data, "max_steps": 1, "resume": True}
    train("dpo", tmp_path / "run", model=model, **settings)
    monkeypatch.setattr("training.reference.per_completion", lambda *args, **kwargs: pytest.fail("computed again"))
    assert train("dpo", tmp_path / "run", model=model, **settings).code == 0
    other = save_tiny(tmp_path / "other", make_llama(seed=5))
    with pytest.raises(pytest.fail.Exception):
        train("dpo", tmp_path / "run", model=other, **settings)


def test_a_cached_reference_is_the_computed_one(tmp_path, policy):
    settings = config(output=str(tmp_path), precision="fp32")
    machine, log = runtime.start(settings, EventLog(tmp_path)), EventLog(tmp_path)
    first, second = (
        reference_logprobs(policy, PAIRS, settings, machine, log, pad_id=0, shared=shared) for shared in (True, False)
    )
    assert torch.equal(first, second)
    torch.testing.assert_close(first.double(), sums(policy), rtol=0, atol=1e-4)


@pytest.mark.slow
def test_the_exact_optimum_is_reached(tmp_path):
    """Vocabulary 8, length 3: π* ∝ π_ref·exp(r/β) over all 512 responses, from exact Bradley–Terry preferences."""
    generator = torch.Generator().manual_seed(0)
    beta, prompt = 0.5, (8,)
    model = make_llama(vocabulary=9, hidden=64)
    responses = [tuple(map(int, row)) for row in torch.cartesian_prod(*[torch.arange(8)] * 3)]
    reward = torch.randn(len(responses), generator=generator, dtype=torch.float64) * 0.5

    def log_policy():
        """Over the 512, as a distribution of its own: the token 8 is never part of a response."""
        batch = collate([Example(prompt, tuple(responses))], 0, shared=False)
        with torch.no_grad():
            return sum_per_completion(completion_logprobs(model, batch), batch).double().log_softmax(0)

    optimum = (log_policy() + reward / beta).log_softmax(0)
    first_kl = (log_policy().exp() * (log_policy() - optimum)).sum().item()

    rng = random.Random(0)
    drawn = [rng.sample(range(len(responses)), 2) for _ in range(4096)]
    pairs = [Example(prompt, (responses[a], responses[b]), index) for index, (a, b) in enumerate(drawn)]
    labels = [Label(probability=torch.sigmoid(reward[a] - reward[b]).item()) for a, b in drawn]
    settings = config(
        output=str(tmp_path), precision="fp32", beta=str(beta), learning_rate="0.005", batch_size="256",
        epochs="20", tokens_per_batch="100000", log_every="100", warmup="0.02",
    )  # fmt: skip
    log = EventLog(tmp_path)
    machine = runtime.start(settings, log)
    reference = reference_logprobs(model, pairs, settings, machine, log, pad_id=0, shared=False)
    objective = PreferenceObjective(model, settings, pairs, labels, reference)
    Trainer(objective, pairs, settings, machine, log, pad_id=0, shared=False).run()
    kl = (log_policy().exp() * (log_policy() - optimum)).sum().item()
    assert first_kl > 0.3
    assert kl < 0.01
