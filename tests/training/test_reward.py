"""Reward models: where the score is read, what the labels teach, what the saved model is to a plain loader."""

import json
import math
import random
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from tests.training.runs import train, write_lines
from tests.training.tiny import make_gpt2, make_llama, save_tiny
from training.batching import Example, collate
from training.calibration import baselines, calibration_error
from training.config import resolve
from training.models import load_heads, load_reward_model
from training.ranking import rank_groups
from training.recipes.reward import RewardObjective
from training.records import Preference


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return save_tiny(tmp_path_factory.mktemp("llama"))


def preference(chosen, rejected, prompt="p", **fields):
    return Preference([{"role": "user", "content": prompt}], chosen, rejected, **fields)


def config(**settings):
    return resolve("reward", None, {"output": "o", "model": "m", "data": "d", **settings})


def objective_of(rows, model, **settings):
    """The objective over these rows, the batch of all of them, and its rewards in the groups' order."""
    groups = {group.index: group for group in rank_groups(list(enumerate(rows)), 9)}
    examples = [
        Example((5, 6), tuple((*response.encode(), 1) for response in group.responses), index)
        for index, group in groups.items()
    ]
    objective = RewardObjective(load_reward_model(model), config(**settings), groups, rows).eval()
    batch = collate(examples, 0, shared=False)
    return objective, batch, examples


def loss_by_hand(rows, rewards):
    return sum(
        -math.log(1 / (1 + math.exp(-(rewards[row.chosen] - rewards[row.rejected] - margin)))) * row.weight
        for row, margin in rows
    )


def test_margins_weights_and_groups_against_the_formula(model):
    """Two rows share the response b, so one example has three responses; another row stands alone."""
    rows = [
        preference("a", "b", strength="better"),
        preference("b", "c", strength="slightly_better", weight=2.0),
        preference("d", "e", margin=0.25, strength="better"),
    ]
    objective, batch, examples = objective_of(rows, model, margin_better=0.5, margin_slightly_better=0.125)
    with torch.no_grad():
        loss, metrics = objective(batch)
        rewards = dict(zip("abcde", objective.rewards(batch).tolist(), strict=True))
    expected = loss_by_hand(zip(rows, (0.5, 0.125, 0.25), strict=True), rewards)
    assert loss.item() == pytest.approx(expected, abs=1e-5)
    assert [objective.weight(example) for example in examples] == [3.0, 1.0]
    total, count = metrics["margin"]
    leads = [rewards["a"] - rewards["b"], rewards["b"] - rewards["c"], rewards["d"] - rewards["e"]]
    assert (total / count).item() == pytest.approx(sum(leads) / 3, abs=1e-6)


def test_votes_and_half_ties_are_soft_labels(model):
    rows = [preference("a", "b", probability=0.75), preference("c", "d", strength="tie")]
    objective, batch, _ = objective_of(rows, model, ties="half")
    with torch.no_grad():
        loss, _ = objective(batch)
        a, b, c, d = objective.rewards(batch).double()
    log_sigmoid = torch.nn.functional.logsigmoid
    expected = -0.75 * log_sigmoid(a - b) - 0.25 * log_sigmoid(b - a)
    expected += -0.5 * log_sigmoid(c - d) - 0.5 * log_sigmoid(d - c)
    assert loss.item() == pytest.approx(expected.item(), abs=1e-5)


@pytest.mark.parametrize("ties", ["davidson", "rao_kupper"])
def test_the_tie_parameter_begins_where_equal_rewards_tie_as_often_as_the_rows(model, ties):
    rows = [preference(f"a{n}", f"b{n}", strength="tie" if n < 3 else None) for n in range(10)]
    objective, _, _ = objective_of(rows, model, ties=ties)
    zero = torch.zeros(1)
    loss = objective._loss(zero, zero, zero, zero, torch.tensor([True]))
    assert math.exp(-loss.item()) == pytest.approx(0.3, abs=1e-5)
    assert objective.fast == ("tie_parameter",)


def test_a_new_head_has_the_papers_spread(tmp_path):
    source = save_tiny(tmp_path, make_llama(hidden=256, layers=1))
    heads = torch.cat([load_reward_model(source, seed=seed).score.weight for seed in range(8)])
    assert heads.std().item() == pytest.approx(1 / math.sqrt(257), rel=0.05)


@pytest.fixture(scope="module")
def loved(tmp_path_factory):
    """The response with more x is better; lengths say nothing."""
    rng = random.Random(2)
    rows = []
    for number in range(120):
        text = ["".join(rng.choice("xyz") for _ in range(6)) for _ in range(2)]
        text.sort(key=lambda words: -words.count("x"))
        if text[0].count("x") > text[1].count("x"):
            rows.append({"prompt": f"Prompt {number}", "chosen": text[0], "rejected": text[1]})
    return write_lines(tmp_path_factory.mktemp("data") / "rows.jsonl", rows)


LEARN = {"learning_rate": 0.003, "epochs": 8, "batch_size": 16, "heldout": 0.2}


@pytest.mark.parametrize("architecture", [make_llama, make_gpt2])
def test_it_learns_and_a_plain_loader_sees_the_same_rewards(tmp_path, loved, architecture):
    run = train("reward", tmp_path / "run", model=save_tiny(tmp_path / "m", architecture()), data=loved, **LEARN)
    assert run.code == 0
    assert run.metrics["accuracy_heldout"] > 0.85
    assert run.metrics["length_baseline_heldout"] == 0.5
    assert abs(run.metrics["majority_baseline_heldout"] - 0.5) < 0.5
    assert run.metrics["pairs_heldout"] == pytest.approx(0.2 * (run.metrics["pairs"] + run.metrics["pairs_heldout"]), 1)

    plain = AutoModelForSequenceClassification.from_pretrained(run.output / "model")
    tokenizer = AutoTokenizer.from_pretrained(run.output / "model")
    asked = ["Prompt 1", "Prompt 22 and more", "P"]
    texts = [
        f"<|user|>{prompt}<|assistant|>{answer}<|eos|>"
        for prompt, answer in zip(asked, ("xxxxxx", "xyxzyx", "zzyyzy"), strict=True)
    ]
    for side in ("left", "right"):
        tokenizer.padding_side = side
        inputs = tokenizer(texts, return_tensors="pt", padding=True, add_special_tokens=False)
        inputs.pop("token_type_ids", None)
        places = (inputs["attention_mask"].cumsum(-1) - 1).clamp(min=0)
        with torch.no_grad():
            batched = plain(**inputs, position_ids=places).logits.squeeze(-1)
            ours = _rewards_of(run.output / "model", texts)
        torch.testing.assert_close(batched, ours, rtol=0, atol=1e-5)
    assert ours[0] > ours[1] > ours[2]


def _rewards_of(directory, texts):
    """As the recipe scores them: packed or padded rows, the last real token."""
    objective = RewardObjective(load_reward_model(str(directory)), config(), {}, [preference("a", "b")]).eval()
    tokenizer = AutoTokenizer.from_pretrained(directory)
    ids = [tokenizer(text, add_special_tokens=False).input_ids for text in texts]
    examples = [Example(tuple(row[:-1]), (tuple(row[-1:]),), number) for number, row in enumerate(ids)]
    with torch.no_grad():
        return objective.rewards(collate(examples, tokenizer.pad_token_id, shared=False))


def test_rewards_are_normalised_over_the_training_responses(tmp_path, model, loved):
    settings = LEARN | {"model": model, "data": loved, "heldout": 0}
    plain, scaled = (
        train("reward", tmp_path / str(normalize), normalize=normalize, **settings) for normalize in (False, True)
    )
    loaded = [AutoModelForSequenceClassification.from_pretrained(run.output / "model") for run in (plain, scaled)]
    shift, scale = loaded[1].config.reward_shift, loaded[1].config.reward_scale
    torch.testing.assert_close(loaded[0].score.weight, loaded[1].score.weight * scale)
    assert (loaded[0].config.reward_shift, loaded[0].config.reward_scale) == (0.0, 1.0)

    rows = [json.loads(line) for line in Path(loved).read_text().splitlines()]
    answers = [(row["prompt"], row[side]) for row in rows for side in ("chosen", "rejected")]
    texts = [f"<|user|>{prompt}<|assistant|>{answer}<|eos|>" for prompt, answer in answers]
    rewards = _rewards_of(scaled.output / "model", texts) - shift
    assert rewards.mean().item() == pytest.approx(0, abs=1e-4)
    assert rewards.std().item() == pytest.approx(1, abs=1e-4)


def test_an_ensemble_is_its_mean_to_a_plain_loader_and_its_heads_lie_beside(tmp_path, model, loved):
    run = train("reward", tmp_path, model=model, data=loved, heads=4, **LEARN)
    assert run.metrics["accuracy_heldout"] > 0.85
    heads = load_heads(str(run.output / "model"))
    plain = AutoModelForSequenceClassification.from_pretrained(run.output / "model")
    assert heads["members"].shape == (4, 32)
    torch.testing.assert_close(heads["members"].mean(0, keepdim=True), plain.score.weight.detach())
    assert heads["members"].std(0).mean() > 1e-3, "members that agree everywhere tell no uncertainty"


def test_a_head_for_each_criterion(tmp_path, model):
    """Helpful follows x, harmless its opposite, truthful is never judged."""
    rng = random.Random(3)
    rows = []
    for number in range(100):
        many, few = "x" * rng.randrange(3, 6), "y" * rng.randrange(3, 6)
        criteria = {"helpful": "chosen", "harmless": "rejected"}
        rows.append({"prompt": f"P{number}", "chosen": many, "rejected": few, "criteria": criteria})
    data = write_lines(tmp_path / "rows.jsonl", rows)
    run = train("reward", tmp_path / "run", model=model, data=data, criteria_weight=1.0, **LEARN)
    assert run.metrics["accuracy_helpful_heldout"] > 0.9
    assert run.metrics["accuracy_harmless_heldout"] > 0.9
    assert "accuracy_truthful_heldout" not in run.metrics
    assert load_heads(str(run.output / "model"))["criteria"].shape == (3, 32)


def test_lora_reward_model_is_merged(tmp_path, model, loved):
    run = train("reward", tmp_path, model=model, data=loved, lora_rank=4, **LEARN | {"learning_rate": 0.01})
    assert run.code == 0
    assert run.metrics["accuracy_heldout"] > 0.8
    plain = AutoModelForSequenceClassification.from_pretrained(run.output / "model")
    before = load_reward_model(model)
    assert plain.state_dict().keys() == before.state_dict().keys()
    assert not torch.equal(plain.score.weight, before.score.weight)


def test_training_goes_on_from_a_reward_model(tmp_path, model, loved):
    first = train("reward", tmp_path / "a", model=model, data=loved, **LEARN)
    again = train(
        "reward", tmp_path / "b", model=first.output / "model", data=loved, **LEARN | {"learning_rate": 0, "epochs": 1}
    )
    assert again.metrics["accuracy_heldout"] == first.metrics["accuracy_heldout"]


def test_calibration_error_by_hand():
    # Two bins of two: predicted 0.6 where half happened (off by 0.1), 0.9 where all did (off by 0.1).
    probability = torch.tensor([0.6, 0.9, 0.6, 0.9])
    assert calibration_error(probability, torch.tensor([1.0, 1.0, 0.0, 1.0]), bins=2) == pytest.approx(0.1)


def test_baselines_by_hand():
    train_rows = [preference("b", "a"), preference("d", "c"), preference("a", "b")]  # the later one mostly wins
    heldout = [
        preference("zz", "a"),  # longer, later
        preference("a", "b"),  # as long, earlier
        preference("ccc", "dd"),  # longer, earlier
        preference("e", "ff", probability=0.2),  # the voters prefer ff: longer, later
        preference("t", "uuu", strength="tie"),
    ]
    assert baselines(train_rows, heldout) == {"length_baseline_heldout": 3.5 / 4, "majority_baseline_heldout": 2 / 4}


@pytest.mark.slow
def test_a_linear_gold_reward_is_learned_to_bayes_accuracy_and_calibrated(tmp_path):
    """Gold: each letter has a value, a response is worth their sum; labels are drawn by Bradley–Terry from it."""
    rng = random.Random(0)
    values = {letter: (place - 3.5) / 2 for place, letter in enumerate("abcdefgh")}

    def pairs(count):
        for number in range(count):
            texts = ["".join(rng.choices("abcdefgh", k=3)) for _ in range(2)]
            lead = sum(values[letter] for letter in texts[0]) - sum(values[letter] for letter in texts[1])
            if texts[0] != texts[1]:
                wins = rng.random() < 1 / (1 + math.exp(-lead))
                yield {"prompt": "p", "chosen": texts[not wins], "rejected": texts[wins], "group": number}, lead, wins

    heldout = list(pairs(6000))
    bayes = sum((lead > 0) == wins if lead else 0.5 for _, lead, wins in heldout) / len(heldout)
    run = train(
        "reward", tmp_path / "run", model=save_tiny(tmp_path / "m", make_llama(layers=1)),
        data=write_lines(tmp_path / "train.jsonl", [row for row, _, _ in pairs(12_000)]),
        heldout=write_lines(tmp_path / "heldout.jsonl", [row for row, _, _ in heldout]),
        learning_rate=0.003, epochs=1, batch_size=64, log_every=50, group_responses=2,
    )  # fmt: skip
    assert run.metrics["accuracy_heldout"] > bayes - 0.01
    assert run.metrics["calibration_error_heldout"] < 0.02


def test_a_response_too_long_takes_only_its_own_row_along(tmp_path, model):
    """Rows 1 and 2 share a response, so they would be one group; row 2 is short enough and stays."""
    rows = [
        {"prompt": "p", "chosen": "yes", "rejected": "n" * 90},
        {"prompt": "p", "chosen": "yes", "rejected": "no"},
        {"prompt": "q", "chosen": "yes", "rejected": "no"},
    ]
    data = write_lines(tmp_path / "rows.jsonl", rows)
    run = train("reward", tmp_path / "run", model=model, data=data, heldout=0, max_length=60)
    told = [event["text"] for event in run.of_kind("message") if event["level"] == "warning"]
    assert told == ["training data: 1 of 3 rows left out, a response alone is longer than max_length=60 (rows 1)"]
    assert run.metrics["pairs"] == 2
