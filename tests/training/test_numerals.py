"""Which text is read as which number: the table of `training/rewards/numerals.py`, by hand."""

import time
from fractions import Fraction

import pytest

from training.rewards.numerals import Number, final_number, only_number


def value(number: Number | None) -> Fraction | None:
    return number and number.value


@pytest.mark.parametrize(
    ("texts", "number"),
    [
        (["-3.5", "−3.5", "–3.5", "minus 3.5", "- 3.5", "-7/2", "\\frac{-7}{2}", "-\\frac{7}{2}"], Fraction(-7, 2)),
        ([".5", "0.5", "1/2", "½", "\\frac12", "\\dfrac{1}{2}", "50%", "50\\%", "50 percent", "50 per cent"], 0.5),
        (
            ["1,234.5", "1 234.5", "1{,}234.5", "1\\,234.5", "1\u202f234.5", "1,\\!234.5", "1.234,50", "1234.5"],
            Fraction(2469, 2),
        ),
        (["1,000,000", "1.000.000", "1 000 000", "1 million", "10^6", "1e6", "10⁶", "1 × 10^6"], 1_000_000),
        (["$5", "\\$5", "€5", "5 €", "5€", "USD 5", "US$5", "5 dollars", "£ 5.00"], 5),
        (["-$5", "$-5", "−$5"], -5),
        (["1 1/2", "1½", "1\\frac{1}{2}", "3/2", "1.5"], Fraction(3, 2)),
        (["3·10⁻⁴", "3 \\times 10^{-4}", "3e-4", "0.0003", "3 \\cdot 10^{−4}"], Fraction(3, 10_000)),
        (["12", "12 km", "12km/h", "12 m^2", "12 m²", "12\\text{ cm}", "12\\mathrm{cm}^3", "12 square feet"], 12),
        (["120", "120°", "120^{\\circ}", "120^\\circ", "120 degrees"], 120),
        (["3", "x = 3", "x=3", "f(2) = 3", "x ≈ 3", "\\alpha = 3", "x_1 = 3", "$3$", "\\(3\\)", "\\[x = 3\\]"], 3),
        (["**3**", "(3)", "3.", "\\text{3}", "`3`", " 3 ", "#### 3", "a longer text of 7\n#### 3"], 3),
        (["\\boxed{3}", "so 7, that is $\\boxed{x = 3\\text{ cm}}$ in all", "The answer is 3.", "\\fbox{3}"], 3),
    ],
)
def test_what_is_one_number(texts, number):
    assert [(text, value(only_number(text))) for text in texts] == [(text, number) for text in texts]
    assert [(text, value(final_number(text))) for text in texts] == [(text, number) for text in texts]


@pytest.mark.parametrize(
    "text",
    [
        "(1,2)",
        "[0, 5)",
        "1,2,3",
        "9,9,3",
        "2,5",
        "10:30",
        "7:3",
        "2x",
        "2x+3",
        "x^2+1",
        "5-3",
        "5 - 3",
        "3 + 4",
        "12 x 12",
        "\\frac{x}{2}",
        "\\sqrt{2}",
        "3\\sqrt{2}",
        "\\frac{\\pi}{2}",
        "3\\pi",
        "∞",
        "1/0",
        "±5",
        "9^{999}",
        "B",
        "",
        "no number",
        "\\boxed{}",
        "\\boxed{(3,2)}",
        "\\boxed{1,2,3}",
        "#### 9,9,3",
        "The answer is (3,2).",
        "so 9,9,3",
        "the points (1, 2)",
        "at 10:30",
        "y = 2x+3",
        "the sum 3 + 4",
    ],
)
def test_what_is_none_or_several(text):
    assert only_number(text) is None and final_number(text) is None


@pytest.mark.parametrize(
    "text",
    [
        "10!",
        "70k",
        "3 hundred",
        "2 dozen eggs",
        "5 thirds",
        "3 squared",
        "6 - 5i",
        "3 or 4",
        "\\boxed{10!}",
        "1 and 2",
        "12 eggs for 3 people",
        "9" * 5000,
    ],
)
def test_an_answer_is_stricter_than_a_text(text):
    assert only_number(text) is None


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("She has 3 apples and buys 4, so 7.", 7),
        ("so 3 + 4 = 7\n#### 1,234", 1234),
        ("#### 12 apples (out of 20)", 12),
        ("####\n12", 12),
        ("It is \\boxed{\\frac{3}{4}} of 12.", Fraction(3, 4)),
        ("\\boxed{3} and indeed 3 + 1 = 4", 3),
        ("\\boxed 12", 12),
        ("The answer is $5.50 a day for 3 days.", Fraction(11, 2)),
        ("The answer is 12 of 20", 12),
        ("The answer is 5 x 3 = 15.", 15),
        ("The answer is:\n\n12", 12),
        ("the answer is not 5 but 12", 12),
        ("**Answer: 12**, as 5 ** 2 = 25", 12),
        ("The answer is unknown, but 9 is near.", 9),
        ("So 12 it is. (see step 3)", 12),
        ("The sum is 12 (twelve)", 12),
        ("(that makes 12 apples)", 12),
        ("So it is 12!", 12),
        ("In 2019, 5 apples", 5),
        ("5-3 = 2", 2),
        ("x^2 = 9, so x_1 = -3", -3),
        ("x = - 3", -3),
        ("about -7 degrees", -7),
        ("about –7 degrees", -7),
        ("what is left:\n- 5 apples", 5),
        ("after step-3", 3),
        ("between -3 and 5", 5),
        ("10\\,\\%", Fraction(1, 10)),
        ("1.234.567 inhabitants", 1_234_567),
        ("It has 70 thousand inhabitants", 70_000),
    ],
)
def test_the_number_that_a_text_ends_up_with(text, number):
    assert value(final_number(text)) == number


def test_a_long_hostile_text_is_read_in_a_moment():
    pieces = (
        *(" ", "1", "1 ", "1,", "1/", "$ ", "- ", "1e", "1.111", "9^", "1 x 10^", "(", "(a", "not 1", "1 a", "a/", "¾"),
        *("⁻", "–", "****", "((", "=", "x_", "1 000 ", "1. ", "answer is ", "answer is 1+1 ", "####", "\\boxed{"),
        *("\\frac{1", "\\frac1", "2^{", "1 \\frac", "1\\,", "\\text{", "\\boxed "),
    )  # fmt: skip
    for piece in pieces:
        started = time.process_time()
        final_number(piece * 10_000)
        only_number(piece * 10_000)
        assert time.process_time() - started < 10, piece
