"""Rewards that a rule decides: lengths, JSON and schemas, patterns, and the numbers of math problems. By hand."""

import json
import time

import pytest

from training.config import ConfigError
from training.records import Prompt, RecordError, parse_record, to_line
from training.rewards import spec
from training.rewards.math_answer import MathAnswerSource
from training.rewards.source import Failure, checked_scores
from training.rewards.text_rules import JSONSource, LengthPenaltySource, MaxLengthSource, RegexSource, fenced_block

ASK = [{"role": "user", "content": "?"}]


def scores(source, texts, **reference):
    return source.score([Prompt(ASK, reference)] * len(texts), texts)


class Letters:
    """A tokenizer of one token a letter."""

    def __call__(self, text, **_):
        return type("Encoding", (), {"input_ids": list(text)})


def test_lengths_in_words_characters_and_tokens():
    assert scores(MaxLengthSource(spec.MaxLength(words=2)), ["one two", " one  two\nthree", ""]) == [1, 0, 1]
    assert scores(MaxLengthSource(spec.MaxLength(characters=3)), ["abc", "abcd"]) == [1, 0]
    assert scores(MaxLengthSource(spec.MaxLength(tokens=4), Letters()), ["abcd", "abcde"]) == [1, 0]
    penalty = LengthPenaltySource(spec.LengthPenalty(words=2, penalty=0.25))
    assert scores(penalty, ["a b", "a b c", "a b c d e"]) == [0, -0.25, -0.75]
    assert scores(LengthPenaltySource(spec.LengthPenalty(characters=0, penalty=0.5)), ["", "ab"]) == [0, -1]


def test_tokens_need_a_policy_that_counts_them():
    with pytest.raises(ConfigError, match="use words="):
        MaxLengthSource(spec.MaxLength(tokens=4))


def test_json_is_strict():
    texts = ['{"a": [1, null]}', "7", "", "{'a': 1}", '{"a": 1} and more', "NaN", "```json\n{}\n```", "[" * 100_000]
    assert scores(JSONSource(spec.ValidJSON()), texts) == [1, 1, 0, 0, 0, 0, 0, 0]
    fenced = JSONSource(spec.ValidJSON(fenced=True))
    assert scores(fenced, ["Here:\n```json\n{}\n```\nThere.", "{}", "```\n{\n```"]) == [1, 1, 0]


@pytest.mark.parametrize(
    ("text", "inside"),
    [
        ("```python\nx\n```", "x\n"),
        ("Here:\n```python \nx\n```\nand\n```\ny\n```", "x\n"),
        ("```py\r\nx\r\n```", "x\r\n"),
        ("~~~ py\nx\n~~~", "x\n"),
        ('```python title="a.py"\nx\n```', "x\n"),
        ("````md\n```\nx\n```\n````", "```\nx\n```\n"),
        ("```\ns = '```'\n```", "s = '```'\n"),
        ("so: ```\nx```", "x"),
        ("```\nx", None),
        ("a ~~~\nx\n~~~", None),
        ("x", None),
    ],
)
def test_the_first_block_of_a_text(text, inside):
    assert fenced_block(text) == inside


def test_a_schema_of_the_source_and_of_the_prompt():
    schema = {"type": "object", "required": ["name"], "properties": {"name": {"type": "string", "maxLength": 3}}}
    source = JSONSource(spec.ValidJSON(schema=schema))
    texts = ['{"name": "Ann"}', '{"name": "Anna"}', '{"nom": "Ann"}', '["name"]']
    assert scores(source, texts) == [1, 0, 0, 0]
    assert scores(source, texts, schema={"type": "array"}) == [0, 0, 0, 1]
    (failed,) = scores(source, texts[:1], schema={"type": "no such type"})
    assert isinstance(failed, Failure) and "schema" in failed.reason
    assert failed.reason.startswith("found a schema in the prompt's row, and the JSON schema is not one: 'no such")
    with pytest.raises(ConfigError, match="the JSON schema is not one: 7 is not valid"):
        JSONSource(spec.ValidJSON(schema={"type": 7}))


@pytest.mark.parametrize("reference", ["http://127.0.0.1:9/schema.json", "#/nowhere"])
def test_a_schema_never_makes_anything_be_fetched(reference):
    """An address of this machine where nobody listens, and no attempt at it: refused at once, or failed by name."""
    with pytest.raises(ConfigError, match=r"the JSON schema refers to what is not in it: .*(schema\.json|nowhere)"):
        JSONSource(spec.ValidJSON(schema={"$ref": reference}))
    source = JSONSource(spec.ValidJSON(schema={"properties": {"a": {"$ref": reference}}}))
    _, failed = checked_scores(source, [Prompt(ASK)], ['{"a": 1}'])
    assert "the JSON check failed" in failed[0]


def test_a_schema_without_end_is_no_completions_fault():
    with pytest.raises(ConfigError, match="it refers to itself without end"):
        JSONSource(spec.ValidJSON(schema={"$ref": "#"}))
    endless = {"properties": {"a": {"$ref": "#/$defs/a"}}, "$defs": {"a": {"$ref": "#/$defs/a"}}}
    fine, failed = scores(JSONSource(spec.ValidJSON(schema=endless)), ['{"b": 1}', '{"a": 1}'])
    assert fine == 1 and isinstance(failed, Failure) and "refers to itself without end" in failed.reason
    tree = JSONSource(spec.ValidJSON(schema={"additionalProperties": {"$ref": "#"}, "type": "object"}))
    assert scores(tree, ['{"a": {"b": {}}}', '{"a": {"b": 1}}', '{"a":' * 900 + "{}" + "}" * 900]) == [1, 0, 0]


def test_a_schemas_pattern_that_backtracks_for_ever_is_given_up(monkeypatch):
    from training.rewards import json_schema

    monkeypatch.setattr(json_schema, "_PATTERN_SECONDS", 0.1)
    started = time.process_time()
    by_name = {"patternProperties": {"^(a|aa)+$": {}}}
    for below in ({"pattern": "^(a|aa)+$"}, by_name, {"additionalProperties": False, **by_name}):
        source = JSONSource(spec.ValidJSON(schema={"items": below}))
        (failed,) = scores(source, [json.dumps(["a" * 100 + "!", {"a" * 100 + "!": 1}])])
        assert failed == Failure("was given up: a pattern of its schema takes too long")
        assert scores(source, ['["aaa", {"aaa": 1}]']) == [1]
    assert time.process_time() - started < 20
    named = JSONSource(spec.ValidJSON(schema={"patternProperties": {"^n": {"type": "number"}}}))
    assert scores(named, ['{"n": 1, "x": "a"}', '{"n": "a"}']) == [1, 0]
    others = {"properties": {"x": {}}, "patternProperties": {"^n": {}}}
    none = JSONSource(spec.ValidJSON(schema={**others, "additionalProperties": False}))
    assert scores(none, ['{"n1": 1, "x": 1}', '{"y": 1}']) == [1, 0]
    numbers = JSONSource(spec.ValidJSON(schema={**others, "additionalProperties": {"type": "number"}}))
    assert scores(numbers, ['{"n1": "a", "y": 1}', '{"y": "a"}']) == [1, 0]


def test_a_pattern_anywhere_or_of_the_whole():
    assert scores(RegexSource(spec.Regex(pattern=r"\bcat\b")), ["a cat.", "catalogue"]) == [1, 0]
    assert scores(RegexSource(spec.Regex(pattern="[a-z]+", whole=True)), ["abc", "abc1"]) == [1, 0]


def test_a_pattern_that_backtracks_for_ever_is_given_up():
    source = RegexSource(spec.Regex(pattern="(a|aa)+$", timeout=0.2))
    started = time.process_time()
    failed, fine = scores(source, ["a" * 100 + "!", "aa"])
    assert time.process_time() - started < 20
    assert failed == Failure("was given up after 0.2 seconds") and fine == 1


def test_the_answer_is_the_prompts_own_within_a_tolerance():
    source = MathAnswerSource(spec.MathAnswer(tolerance=0.001))
    assert scores(source, ["3.14159", "3.2", "none"], answer="3.1416") == [1, 0, 0]
    assert scores(source, ["one third: 1/3", "0.3333"], answer="1/3") == [1, 1]
    # Asked for a percentage, people say the number with its sign and without.
    assert scores(source, ["25%", "25", "0.25", "2.5", "0.25%"], answer="25") == [1, 1, 0, 0, 0]
    assert scores(source, ["25%", "25", "0.25", "1/4", "2.5"], answer="25%") == [1, 1, 1, 1, 0]
    exact = MathAnswerSource(spec.MathAnswer(tolerance=0))
    assert isinstance(scores(exact, ["2"], answer="\\sqrt{2}")[0], Failure)
    assert scores(exact, ["0.3333333333", "2/6"], answer="\\frac{1}{3}") == [0, 1]
    assert [type(score) for score in scores(exact, ["1"], answer="plenty") + scores(exact, ["1"])] == [Failure, Failure]


@pytest.mark.parametrize(
    ("answer", "wrong"),
    [
        ("(1,2)", "\\boxed{(3,2)}"),
        ("2x+3", "\\boxed{3}"),
        ("1,2,3", "9,9,3"),
        ("10:30", "30"),
        ("10!", "10"),
        ("[0, 5)", "5"),
    ],
)
def test_an_answer_that_is_no_single_number_is_no_part_of_it(answer, wrong):
    (score,) = scores(MathAnswerSource(spec.MathAnswer()), [wrong], answer=answer)
    assert isinstance(score, Failure) and f"no single number in the answer {answer!r}" in score.reason


def test_a_prompts_row_may_say_how_its_answer_is_checked():
    row = {"prompt": "2+2?", "answer": 4, "tests": ["assert f() == 4"], "schema": {"type": "object"}, "other": 1}
    prompt = parse_record(row, "prompts", "f.jsonl", 1)
    assert prompt.reference == {"answer": "4", "tests": ["assert f() == 4"], "schema": {"type": "object"}}
    assert parse_record(to_line(prompt), "prompts", "f.jsonl", 1) == prompt
    for wrong in ({"answer": ["4"]}, {"tests": "assert True"}, {"tests": []}, {"tests": [1]}, {"schema": 3}):
        with pytest.raises(RecordError, match=f'f.jsonl, line 3, field "{next(iter(wrong))}'):
            parse_record({"prompt": "?", **wrong}, "prompts", "f.jsonl", 3)
