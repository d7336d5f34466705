"""Numbers as people and models write them, read exactly: 1/3 is not 0.333333.

What `only_number` reads, of a row's answer or of what a text marks as its own:

| written | read as |
| --- | --- |
| `-3.5`, `.5`, `−3.5` and `–3.5` (Unicode's minus signs), `minus 3`, `- 3` | −3.5, ½, −3.5, −3 |
| `1,234.5`, `1 234.5`, `1{,}234`, `1\\,234`, with a space that does not break; `1.234.567`; `1.234,50` | 1234.5, … |
| `$5`, `\\$5`, `-$5`, `€5`, `5 €`, `USD 5`, `5 dollars` | 5, −5 |
| `25%`, `25\\%`, `25 percent`, `25 per cent` | ¼, marked as a percentage |
| `3/4`, `1 1/2`, `¾`, `1½`, `\\frac{3}{4}`, `\\frac34`, `2\\frac{1}{2}`, `\\frac{-1.5}{2}` | ¾, 1½, … |
| `2^{10}`, `2^3`, `10³`, `6e3`, `3 × 10^4`, `3 \\times 10^{-4}`, `3·10⁴` | 1024, 8, 1000, 6000, 30,000, … |
| `70 thousand`, `3 million`, `2 billion`, `1 trillion` | 70,000, … |
| `5 km`, `5km/h`, `10 m^2`, `12\\text{ cm}`, `120°`, `120^{\\circ}`, `5 dollars` | the number; units are passed over |
| `x = 3`, `f(2) = 3`, `x ≈ 3`, `$3$`, `\\(3\\)`, `**3**`, `(3)`, `3.` | 3 |

It reads nothing, because they are not one number: `(1,2)`, `[0, 5)`, `1,2,3`, `2,5`, `10:30`, `7:3`, `10!`, `2x`,
`2x+3`, `5-3`, `\\frac{x}{2}`, `\\sqrt{2}`, `3\\pi`, `∞`, `1/0`, `±5`, `70k`, `3 hundred`, `B`,
nor powers beyond 100 and more than 200 digits.
"""

import re
import unicodedata
from fractions import Fraction
from typing import NamedTuple

# Longer digit strings are no answer that anybody asked for, and arithmetic on them takes long.
_LONGEST = 200
_LARGEST_POWER = 100
# What may stand around one number in a text is no longer.
_AROUND = 100

_SEPARATOR = r"(?:,|\{,\}|\\,|[ \u00a0\u2009\u202f])"
_PLAIN = rf"""(?:(?P<continental>\d{{1,3}}(?:\.\d{{3}})+,\d+)(?![\d,])
    |(?:\d{{1,3}}(?:{_SEPARATOR}\d{{3}})+(?!\d)|\d{{1,3}}(?:\.\d{{3}}){{2,}}(?!\d)|\d+)(?:\.\d+)?|\.\d+)"""
_SYMBOL = r"\\sqrt|√|\\pi\b|π|\\infty|∞|\\pm|±"
_MULTIPLES = {"thousand": 10**3, "million": 10**6, "billion": 10**9, "trillion": 10**12}


def _argument(name: str) -> str:
    """Of \\frac: {3} or, of one digit, 3."""
    return rf"\s*(?:\{{(?P<{name}>[^{{}}]{{0,50}})\}}|(?P<{name}_digit>\d))"


_NUMBER = re.compile(
    # Not at an exponent, at an index or in the middle of a number.
    rf"""(?<![\^_\d])(?<![\^_]\{{)(?<![\^_][-+])(?<![\^_]\{{[-+])
    (?P<sign>[-+]|\b(?:minus|negative)\s)?\s?(?:(?:(?:\bUS)?\\?[$€£¥₹]|\b(?:USD|EUR|GBP)\b)\s?)?(?P<below_zero>-)?
    (?:(?:(?P<ones>\d+)\s*)?\\[dt]?frac{_argument("top")}{_argument("below")}
      |(?P<whole>\d+)\s+(?P<part>\d+)\s*/\s*(?P<parts>\d+)
      |(?P<symbol>{_SYMBOL})
      |(?P<number>{_PLAIN})
        (?:[eE](?P<exponent>[-+]?\d{{1,3}})(?!\w)
          |\s*(?:\\times|\\cdot|[×·*x])\s*10\s*\^\s*\{{?\s*(?P<of_ten>[-+]?\d{{1,3}})\s*\}}?
          |\s*\^\s*\{{?\s*(?P<power>[-+]?\d{{1,3}})\s*\}}?)?
        (?:\s*/\s*(?P<divisor>\d+(?:\.\d+)?))?)
    (?P<times>\s*(?:{_SYMBOL}))?
    (?:\s*(?:\\,)?(?P<percent>\\?%|\bper\s?cent\b)|\s(?P<multiple>{"|".join(_MULTIPLES)})\b)?""",
    re.VERBOSE | re.ASCII | re.IGNORECASE,
)
# `x =` and the like, before the number that it is.
_NAME = re.compile(
    r"(?:\\?[^\W\d_]{1,20}(?:_\{?\w{1,10}\}?)?(?:\s?\([^()=]{0,20}\))?\s?(?:=|≈|:|\\approx|\\equiv)|≈|\\approx)\s?"
)
# Words that make another number of the one before them.
_CHANGE = (
    r"(?:hundreds?|thousands|millions|billions|trillions|dozens?|half|halves|thirds?|quarters?|fourths?|fifths?|sixths?"
    r"|eighths?|tenths?|hundredths?|thousandths?|squared|cubed|factorial)\b"
)
# No unit: these, variables, and what else makes the number a part of something.
_NO_UNIT = rf"(?!{_CHANGE}|(?:[xyzabn]+|and|or|to|plus|minus|times|over|mod|pi|sqrt|root|log|ln|sin|cos|tan)\b)"
_WORD = rf"{_NO_UNIT}(?:[^\W\d_]{{2,30}}|[mgshlLAVWJNCFT])(?:\^\{{?-?\d\}}?)?"
_UNIT = re.compile(rf"\s?(?:°|\^?\s?\{{?\s?\\circ\s?\}}?)?\s?(?:{_WORD}(?:[\s/·.-]{{1,3}}{_WORD}){{0,7}})?\s?[$€£¥₹]?")
_WRAPPERS = (("$$", "$$"), ("$", "$"), ("\\(", "\\)"), ("\\[", "\\]"), ("**", "**"), ("*", "*"), ("`", "`"), ("(", ")"))

_ANSWER_IS = re.compile(r"answer\s*(?:is|:|=)[:\s]*", re.IGNORECASE)
_SENTENCE_END = re.compile(r"\n|[.!?](?=\s|$)|;")
_REMARK = re.compile(rf"(?<!\\)\([^()]{{0,{_AROUND}}}\)")
_OPERATOR_BEFORE = re.compile(
    r"(?:[\w)\]}%][ ]?[-+/]|[×·/^<>±]|[\w)]\*{1,2}|[ ]\*{1,2}[ ]|[\d)][ ]?x|\\(?:times|cdot|div|pm))[ ]?\Z"
    r"|\d[,:]\Z|(?:\\sqrt|√)\{?\Z"
)
_OPERATOR_AFTER = re.compile(
    r"[ ]?(?:[+×·/^±]|\\(?:times|cdot|div|pm))|\*{1,2}[\w(]|[ ]\*{1,2}[ ]|[ ]?-[ ]?\d|[,:]\d|[xyzabn]+\b|[ ]x[ ]?\d"
    rf"|[ ]{_CHANGE}"
)
_TUPLE_BEFORE = re.compile(r"[(\[][^()\[\]]*,\s*\Z")
_TUPLE_AFTER = re.compile(r"\s*,[^()\[\]]*[)\]]")


class Number(NamedTuple):
    value: Fraction
    """25% is 1/4"""
    percent: bool


def only_number(text: str) -> Number | None:
    """The one number that the text is, with what the table above lets stand around it; None where it is anything else.

    Of a longer text, the one that it marks: after "####" (GSM8K), in the last \\boxed{…} (MATH), after "answer is".
    """
    text = _plain(text)
    marked = _marked(text)
    return _alone(text if marked is None else marked)


def final_number(text: str) -> Number | None:
    """The number that a text ends up with: what it marks as above, and else its last one.

    In running text a number is taken out of its sentence ("12 apples, as asked"), of a calculation what comes out, and
    not out of a tuple, a list without spaces, a time or a sum that is not worked out: there the text has none. What is
    in brackets behind it ("(see step 3)") is passed over, and so is what it is not ("not 5 but 12").
    """
    text = _plain(text)
    if (place := text.rfind("####")) >= 0:
        return _stated(text[place + 4 :])
    boxed = _boxed(text)
    if boxed is not None:
        return _alone(boxed)
    said = list(_ANSWER_IS.finditer(text))
    if said and _NUMBER.search(of := text[said[-1].end() :]):
        return _stated(of)
    return _alone(text) or _last(text)


def _plain(text: str) -> str:
    """One way to write what Unicode and LaTeX have several for."""
    text = re.sub(r"[−‐‑–﹣－](?=[\s\d.$€£¥₹\\])", "-", text).replace("⁄", "/").replace("％", "%")
    text = text.replace("\\!", "")
    text = re.sub(r"([0-9]?)([¼-¾⅐-⅞])", _fraction, text)
    text = re.sub(r"[⁺⁻]?[⁰¹²³⁴-⁹]+", lambda found: "^{" + unicodedata.normalize("NFKC", found[0]) + "}", text)
    text = text.replace("^{−", "^{-")
    text = re.sub(r"\\(?:text|mathrm|mbox|textbf|mathbf|textit)\s?\{([^{}]{0,100})\}", r" \1", text)
    return re.sub(r"\\(?:left|right)\b|\\[;: ]|~", " ", text)


def _fraction(found: re.Match) -> str:
    """1¾ as 1 3/4."""
    return (found[1] and found[1] + " ") + unicodedata.normalize("NFKC", found[2]).replace("⁄", "/")


def _marked(text: str) -> str | None:
    if "####" in text:
        return text.rsplit("####", 1)[1]
    boxed = _boxed(text)
    if boxed is not None:
        return boxed
    said = list(_ANSWER_IS.finditer(text))
    return text[said[-1].end() :] if said else None


def _boxed(text: str) -> str | None:
    """The inside of the last \\boxed{…} or \\fbox{…}, whose braces may nest."""
    begin = max(text.rfind("\\boxed"), text.rfind("\\fbox"))
    if begin < 0:
        return None
    start = re.compile(r"\\(?:boxed|fbox)\s*").match(text, begin).end()
    if text[start : start + 1] != "{":
        return text[start:].split(maxsplit=1)[0].rstrip(".$") if text[start:].strip() else None
    depth = 0
    for place in range(start, len(text)):
        depth += {"{": 1, "}": -1}.get(text[place], 0)
        if depth == 0:
            return text[start + 1 : place]
    return None


def _alone(text: str) -> Number | None:
    text = _unwrapped(text)
    if len(text) > 2 * _LONGEST:
        return None
    if name := _NAME.match(text):
        text = _unwrapped(text[name.end() :])
    match = _NUMBER.match(text)
    return _value(match) if match and _UNIT.fullmatch(text, match.end()) else None


def _unwrapped(text: str) -> str:
    """Without blanks, emphasis, LaTeX's delimiters, brackets and the full stop around it."""
    while True:
        text = text.strip()
        if text.endswith(".") and text[-2:-1] != ".":
            text = text[:-1]
        before = text
        for left, right in _WRAPPERS:
            if len(text) > len(left) + len(right) and text.startswith(left) and text.endswith(right):
                text = text[len(left) : -len(right)]
                break
        if text == before:
            return text.strip()


def _stated(text: str) -> Number | None:
    """The first number of the sentence in which a text says its answer; of a calculation there, what comes out."""
    text = text.lstrip()
    while text:
        end = _SENTENCE_END.search(text)
        sentence = text[: end.start()] if end else text
        if (number := _alone(sentence)) is not None:
            return number
        said = [match for match in _NUMBER.finditer(sentence) if not _is_denied(match)]
        if said:
            equals = max(sentence.rfind("="), sentence.rfind("≈"))
            after = next((match for match in said if match.start() > equals), said[0])
            return _in_text(said[0]) or _in_text(after)
        text = text[end.end() :].lstrip() if end else ""
    return None


def _last(text: str) -> Number | None:
    without_remarks = _REMARK.sub(lambda found: " " if re.search(r"[^\W\d_]{2}", found[0]) else found[0], text)
    for one in (without_remarks, text):
        matches = [match for match in _NUMBER.finditer(one) if not _is_denied(match)]
        if matches:
            return _in_text(matches[-1])
    return None


def _is_denied(match: re.Match) -> bool:
    return re.search(r"\bnot\s*\Z", match.string[max(match.start() - 10, 0) : match.start()], re.IGNORECASE) is not None


def _in_text(match: re.Match) -> Number | None:
    """The number, unless it is a part of a tuple, a time, or a calculation."""
    blanks = len(match.group()) - len(match.group().lstrip())
    start = match.start() + blanks
    before = match.string[max(start - _AROUND, 0) : start]
    after = match.string[match.end() : match.end() + _AROUND]
    sign = match["sign"] if match["sign"] in ("-", "+") else None
    if _calculates(sign, match.group()[1:2].isspace(), before) if sign else _OPERATOR_BEFORE.search(before):
        return None
    if _OPERATOR_AFTER.match(after) or (_TUPLE_BEFORE.search(before) and re.match(r"\s*[,)\]]", after)):
        return None
    if _TUPLE_AFTER.match(after) and re.search(r"[(\[]\s*\Z", before):
        return None
    return _value(match, signed=sign is None or not _is_dash(match.group()[1:2].isspace(), before))


def _calculates(sign: str, apart: bool, before: str) -> bool:
    """Whether the sign is that of "5-3", "5 - 3", "2x+3" or "x-3"."""
    if re.search(r"[\d)\]}%]\Z|(?<![^\W\d_])[a-z]\Z", before):
        return True
    return bool(re.search(r"[\d)\]}%][ ]\Z", before) if apart else sign == "+" and re.search(r"\w\Z", before))


def _is_dash(apart: bool, before: str) -> bool:
    """A dash that is no sign: within words ("step-3"), of a list's item, or between words ("so - 3 of them")."""
    return before[-1:].isalpha() or (apart and before.rstrip(" ")[-1:] not in ("=", "≈", ":", "(", "$", "{"))


def _value(match: re.Match, *, signed: bool = True) -> Number | None:
    """None for what looks like a number and is none: 1/0, a root, digits without end."""
    if len(match.group()) > _LONGEST or match["symbol"] or match["times"]:
        return None
    try:
        value = _magnitude(match)
    except (ZeroDivisionError, ValueError):
        return None
    negative = (signed and match["sign"] not in (None, "+")) != (match["below_zero"] is not None)
    value *= _MULTIPLES.get((match["multiple"] or "").lower(), 1)
    return Number((-value if negative else value) / (100 if match["percent"] else 1), bool(match["percent"]))


def _magnitude(match: re.Match) -> Fraction:
    """Raises ZeroDivisionError, and ValueError for a fraction of other things than numbers."""
    if match["whole"]:
        return int(match["whole"]) + Fraction(int(match["part"]), int(match["parts"]))
    if match["number"] is None:
        top, below = (_decimal(match[name] or match[f"{name}_digit"]) for name in ("top", "below"))
        return int(match["ones"] or 0) + top / below
    if match["continental"]:
        digits = match["continental"].replace(".", "").replace(",", ".")
    else:
        digits = re.sub(_SEPARATOR, "", match["number"])
        digits = digits.replace(".", "") if digits.count(".") > 1 else digits
    value = Fraction(digits) * Fraction(10) ** int(match["exponent"] or match["of_ten"] or 0)
    if match["power"]:
        power = int(match["power"])
        if abs(power) > _LARGEST_POWER:
            raise ValueError
        value **= power
    return value / Fraction(match["divisor"] or 1)


def _decimal(text: str) -> Fraction:
    return Fraction(re.sub(_SEPARATOR, "", text.strip()))
