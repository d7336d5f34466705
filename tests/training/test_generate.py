"""New responses, scores and evaluations as files; and that a reward source scores what a plain loader would."""

import json

import pytest
import torch
from transformers import AutoModelForSequenceClassification

from tests.training.tiny import make_gpt2, make_tokenizer, save_tiny
from training.__main__ import execute
from training.config import resolve
from training.events import EventLog
from training.models import load_reward_model, load_tokenizer, save_model
from training.recipes.evaluate import wins, with_interval
from training.records import Prompt
from training.rewards.model import RewardModelSource

SHIFT = 0.7


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """A policy, and a reward model of another architecture with a tokenizer whose ids are all different."""
    root = tmp_path_factory.mktemp("models")
    policy = save_tiny(root / "policy")
    other = make_tokenizer()
    other.add_tokens(["xyz"])
    other.chat_template = "{% for m in messages %}[{{ m['role'] }}] {{ m['content'] }}\n{% endfor %}"
    base = root / "base"
    make_gpt2(vocabulary=262, seed=4).save_pretrained(base)
    other.save_pretrained(base)
    reward = load_reward_model(str(base), seed=2)
    reward.config.reward_shift = SHIFT
    save_model(reward, load_tokenizer(str(base)), root / "reward")
    (root / "prompts.jsonl").write_text("".join(json.dumps({"prompt": f"say {i}"}) + "\n" for i in range(5)))
    return {"policy": policy, "reward": str(root / "reward"), "prompts": str(root / "prompts.jsonl"), "root": root}


def run(recipe, output, **settings):
    output.mkdir(parents=True, exist_ok=True)
    config = resolve(recipe, None, {"device": "cpu", "precision": "fp32", "output": str(output), **settings})
    code = execute(recipe, config, EventLog(output))
    end = json.loads((output / "events.jsonl").read_text().splitlines()[-1])
    return code, end


def lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def plain_score(source, prompt, text):
    """As any loader of the directory would: the whole conversation as one row of ids; then less the config's shift."""
    tokenizer, model = load_tokenizer(source), AutoModelForSequenceClassification.from_pretrained(source)
    rendered = tokenizer.apply_chat_template(
        [{"role": "user", "content": prompt}], add_generation_prompt=True, tokenize=False
    )
    ids = tokenizer(rendered, add_special_tokens=False).input_ids + tokenizer(text).input_ids
    with torch.no_grad():
        return model(torch.tensor([[*ids, tokenizer.eos_token_id]])).logits.item() - SHIFT


def test_different_responses_to_each_prompt(models, tmp_path):
    settings = {"model": models["policy"], "prompts": models["prompts"], "samples": 3, "max_tokens": 10}
    code, end = run("generate", tmp_path / "a", **settings)
    assert code == 0 and end["status"] == "succeeded"
    rows = lines(tmp_path / "a" / "responses.jsonl")
    assert [row["prompt"][0]["content"] for row in rows] == [f"say {i}" for i in range(5)]
    for row in rows:
        texts = [response["text"] for response in row["responses"]]
        assert len(texts) == 3 == len(set(texts)) and all(texts)
    run("generate", tmp_path / "b", **settings)
    assert lines(tmp_path / "b" / "responses.jsonl") == rows
    run("generate", tmp_path / "c", **settings, seed=1)
    assert lines(tmp_path / "c" / "responses.jsonl") != rows


def test_greedy_has_one_response_and_says_so(models, tmp_path):
    code, _ = run(
        "generate", tmp_path, model=models["policy"], prompts=models["prompts"], temperature=0, max_tokens=5, limit=2
    )
    assert code == 0
    assert all(len(row["responses"]) <= 1 for row in lines(tmp_path / "responses.jsonl"))
    warnings = [event for event in lines(tmp_path / "events.jsonl") if event.get("level") == "warning"]
    assert "2 of 2 prompts" in warnings[0]["text"]


def test_a_reward_model_reads_texts_with_its_own_tokenizer_and_template(models):
    source = RewardModelSource(models["reward"])
    asked = ("hello", "hello", "a much longer question", "xyz")
    prompts = [Prompt([{"role": "user", "content": text}]) for text in asked]
    completions = ["yes", "no, and a long reason for it", "", "xyzzy"]
    scores = source.score(prompts, completions)
    expected = [
        plain_score(models["reward"], prompt.messages[0]["content"], text)
        for prompt, text in zip(prompts, completions, strict=True)
    ]
    assert scores.tolist() == pytest.approx(expected, abs=1e-5)


def test_scores_are_written_beside_their_texts(models, tmp_path):
    data = tmp_path / "data.jsonl"
    rows = [
        {"prompt": "hello", "responses": [{"text": "yes"}, {"text": "no"}]},
        {"prompt": "hello", "chosen": "yes", "rejected": "never"},
        {"prompt": "hello", "responses": [{"text": "no", "score": 7}]},
    ]
    data.write_text("".join(json.dumps(row) + "\n" for row in rows))
    code, _ = run("score", tmp_path / "run", model=models["reward"], data=str(data))
    assert code == 0
    scored = lines(tmp_path / "run" / "scores.jsonl")
    found = [[(r["text"], r["score"]) for r in row["responses"]] for row in scored]
    assert [[text for text, _ in row] for row in found] == [["yes", "no"], ["yes", "never"], ["no"]]
    for text, score in (pair for row in found for pair in row):
        assert score == pytest.approx(plain_score(models["reward"], "hello", text), abs=1e-5)


def test_a_wrong_row_is_named(models, tmp_path):
    (tmp_path / "data.jsonl").write_text('{"prompt": "a", "responses": [{"text": "b"}, {"text": 7}]}\n')
    code, end = run("score", tmp_path / "run", model=models["reward"], data=str(tmp_path / "data.jsonl"))
    assert code == 2 and 'data.jsonl, line 1, field "responses[1].text"' in end["error"]
    assert not (tmp_path / "run" / "scores.jsonl").exists()


def test_a_reward_model_is_evaluated_on_preferences(models, tmp_path):
    data = tmp_path / "data.jsonl"
    texts = ["a", "bb", "ccc"]
    scores = {text: plain_score(models["reward"], "hello", text) for text in texts}
    low, middle, high = sorted(texts, key=scores.get)
    rows = [(high, low), (middle, low), (high, middle), (low, high)]
    lines_of_data = [{"prompt": "hello", "chosen": w, "rejected": l} for w, l in rows]  # noqa: E741
    lines_of_data.append({"prompt": "hello", "chosen": "a", "rejected": "a ", "strength": "tie"})
    data.write_text("".join(json.dumps(row) + "\n" for row in lines_of_data))
    _, end = run("evaluate", tmp_path / "run", model=models["reward"], data=str(data))
    metrics = end["metrics"]
    assert metrics["pairs"] == 4 and metrics["accuracy"] == 0.75
    assert metrics["accuracy_low"] < 0.75 < metrics["accuracy_high"]
    assert metrics["margin"] == pytest.approx((scores[high] - scores[low]) / 4, abs=1e-5)
    assert metrics["length_baseline"] == sum(len(w) > len(l) for w, l in rows) / 4  # noqa: E741


def test_a_policy_is_evaluated_against_another(models, tmp_path):
    settings = {"model": models["policy"], "prompts": models["prompts"], "reward_model": models["reward"]}
    _, end = run("evaluate", tmp_path / "run", **settings, against=models["policy"], max_tokens=6)
    metrics = end["metrics"]
    assert 0 <= metrics["win_rate_low"] <= metrics["win_rate"] <= metrics["win_rate_high"] <= 1
    assert metrics["prompts"] == 5 and {"reward", "reward_against", "length", "truncated"} <= metrics.keys()


def test_what_evaluate_needs_is_named(models, tmp_path):
    code, end = run("evaluate", tmp_path, model=models["reward"])
    assert code == 2 and "data=" in end["error"]


def test_wilsons_interval():
    """10 wins of 20: centre 0.5, half width z/(1 + z²/n)·√(0.0125 + z²/1600) = 0.2007."""
    interval = with_interval("x", wins(torch.tensor([1.0] * 8 + [0.0] * 4 + [-1.0] * 8)))
    assert interval["x"] == 0.5
    assert interval["x_low"] == pytest.approx(0.2993, abs=1e-4)
    assert interval["x_high"] == pytest.approx(0.7007, abs=1e-4)
