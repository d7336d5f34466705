"""Questions with one word or phrase for an answer, and what grows from them: follow-ups, doubts, one-word orders."""

from collections.abc import Iterator
from dataclasses import dataclass

from . import facts
from .checks import Check, Mentions
from .task import Task, ask, sentence


@dataclass(frozen=True)
class Lookup:
    """A table asked about. A row has "x" (what is asked), "y" (the answer) and what else its templates name."""

    family: str
    rows: tuple[dict[str, str], ...]
    questions: tuple[str, ...]
    sentences: tuple[str, ...]
    bare: str = "{y}"
    follow_up: bool = False
    one_word: bool = False

    def sentences_for(self, row: dict[str, str], answer: str) -> list[str]:
        """Whole-sentence answers that give `answer`, right or wrong."""
        texts = [template.format(**{**row, "y": answer}) for template in self.sentences]
        return [text[0].upper() + text[1:] for text in texts]

    def bare_for(self, answer: str) -> str:
        """The answer alone."""
        return sentence(self.bare.format(y=answer))

    def wrong_words(self, row: dict[str, str]) -> list[str]:
        """A few untrue answers to the row: its tempting mistake, if it has one, and what is true of other rows."""
        others = [other["y"] for other in self.rows if other["y"] not in (row["x"], row["y"])]
        place = self.rows.index(row)
        drawn = [others[(place * 5 + step * 3) % len(others)] for step in range(4)]
        return list(dict.fromkeys([row["mistake"], *drawn[:2]] if "mistake" in row else drawn))

    def check(self, row: dict[str, str]) -> Check:
        """Right if the row's answer is named and no other answer of the table is."""
        accept = (row["y"], *row.get("also", ()))
        others = {other["y"] for other in self.rows} | {other["mistake"] for other in self.rows if "mistake" in other}
        asked = {row["x"], *accept}
        return Mentions(accept, tuple(sorted(others - asked)))


def _rows(table: dict[str, str]) -> tuple[dict[str, str], ...]:
    return tuple({"topic": x, "x": x, "y": y} for x, y in table.items())


def _next_in(names: list[str], step: int) -> tuple[dict[str, str], ...]:
    return tuple({"topic": x, "x": x, "y": names[(place + step) % len(names)]} for place, x in enumerate(names))


LOOKUPS = (
    Lookup("colours", _rows(facts.COLOURS),
           ("What colour is {x}?", "Which colour does {x} have?", "Tell me the colour of {x}.",
            "What is the colour of {x}?"),
           ("{x} is {y}.", "{x} is **{y}**.", "The colour of {x} is {y}."), follow_up=True, one_word=True),
    Lookup("opposites", _rows(facts.OPPOSITES),
           ("What is the opposite of {x}?", "Give me the opposite of {x}.", "Which word means the opposite of {x}?"),
           ("The opposite of {x} is {y}.", "The opposite of *{x}* is **{y}**."), follow_up=True, one_word=True),
    Lookup("plurals", tuple({"topic": x, "x": x, "y": y, "mistake": slip} for x, (y, slip) in facts.PLURALS.items()),
           ("What is the plural of {x}?", "How do I write more than one {x}?", "Give me the plural of {x}."),
           ("The plural of {x} is {y}.", "The plural of *{x}* is **{y}**."), follow_up=True, one_word=True),
    Lookup("capitals", _rows(facts.CAPITALS),
           ("What is the capital of {x}?", "Which city is the capital of {x}?", "Name the capital of {x}."),
           ("The capital of {x} is {y}.", "{y} is the capital of {x}.", "The capital of {x} is **{y}**."),
           follow_up=True, one_word=True),
    Lookup("sounds", _rows(facts.SOUNDS),
           ("What sound does {x} make?", "What does {x} say?", "Which noise does {x} make?"),
           ("{x} says {y}.", 'The sound of {x} is "{y}".'), one_word=True),
    Lookup("young animals", _rows(facts.YOUNG),
           ("What is the young of {x} called?", "What do we call the baby of {x}?", "Name the young of {x}."),
           ("The young of {x} is {y}.", "The baby of {x} is called {y}.")),
    Lookup("homes", _rows(facts.HOMES),
           ("Where does {x} live?", "What is the home of {x}?", "Where can I find {x} at home?"),
           ("{x} lives in {y}.", "The home of {x} is {y}.")),
    Lookup("definitions", _rows(facts.DEFINITIONS),
           ("What is {x}?", "Explain to a child what {x} is.", "Tell me in one sentence what {x} is."),
           ("{x} is {y}.",)),
    Lookup("days", _next_in(facts.DAYS, 1),
           ("Which day comes after {x}?", "What day follows {x}?", "Today is {x}. What day is tomorrow?"),
           ("{y} comes after {x}.", "The day after {x} is {y}."), one_word=True),
    Lookup("months", _next_in(facts.MONTHS, 1),
           ("Which month comes after {x}?", "What month follows {x}?", "It is {x}. What is next month?"),
           ("{y} comes after {x}.", "The month after {x} is {y}."), one_word=True),
    Lookup("months before", _next_in(facts.MONTHS, -1),
           ("Which month comes before {x}?", "What month is just before {x}?", "It is {x}. What was last month?"),
           ("{y} comes before {x}.", "The month before {x} is {y}.")),
    Lookup("counts",
           tuple({"topic": f"{what} of {owner}", "x": owner, "what": what, "y": facts.NUMBER_WORDS[number],
                  "also": (str(number),)} for (what, owner), number in facts.COUNTS.items()),
           ("How many {what} does {x} have?", "Count the {what} of {x}.", "What is the number of {what} {x} has?"),
           ("{x} has {y} {what}.", "{x} has **{y}** {what}.")),
    Lookup("python", _rows(facts.PYTHON),
           ("How do I {x} in Python?", "Which Python code can {x}?", "Show me how to {x} in Python."),
           ("Use `{y}`.", "In Python, write `{y}`.", "You can {x} with `{y}`."), bare="`{y}`"),
)


def single_questions() -> Iterator[Task]:
    for lookup in LOOKUPS:
        for row in lookup.rows:
            yield from ask(
                lookup.family, row["topic"], [question.format(**row) for question in lookup.questions],
                **_answers(lookup, row), terse=lookup.bare_for(row["y"]),
                terse_wrong=tuple(lookup.bare_for(word) for word in lookup.wrong_words(row)),
            )


def one_word_answers() -> Iterator[Task]:
    """A system turn asks for one word, so that a whole sentence is too long."""
    for lookup in LOOKUPS:
        for row in lookup.rows if lookup.one_word else ():
            for question in lookup.questions[:2]:
                yield Task(
                    "one word", row["topic"],
                    (("system", "Answer in one word."), ("user", question.format(**row))),
                    right=(lookup.bare_for(row["y"]),),
                    wrong=tuple(lookup.bare_for(word) for word in lookup.wrong_words(row)), check=lookup.check(row),
                )


def follow_ups() -> Iterator[Task]:
    """A second question that makes sense only after the first: "And a plum?"."""
    for lookup in LOOKUPS:
        for place, row in enumerate(lookup.rows if lookup.follow_up else ()):
            for distance in (1, 3, 4):
                before = lookup.rows[(place + distance) % len(lookup.rows)]
                turns = (
                    ("user", lookup.questions[0].format(**before)),
                    ("assistant", lookup.sentences_for(before, before["y"])[0]),
                    ("user", f"And {row['x']}?"),
                )
                yield Task("follow-ups", row["topic"], turns, **_answers(lookup, row))


def doubts() -> Iterator[Task]:
    """ "Are you sure?" after a right answer to stand by, or after a wrong one to take back."""
    for lookup in LOOKUPS:
        for row in lookup.rows if lookup.follow_up else ():
            truth = lookup.sentences_for(row, row["y"])[0]
            untrue = [lookup.sentences_for(row, word)[0] for word in lookup.wrong_words(row)]
            for said, right, wrong_opening in (
                (truth, f"Yes, I am sure. {truth}", "No, I was wrong."),
                (untrue[0], f"Sorry, I was wrong. {truth}", "Yes, I am sure."),
            ):
                turns = (
                    ("user", lookup.questions[0].format(**row)), ("assistant", said), ("user", "Are you sure?"),
                )
                wrong = tuple(f"{wrong_opening} {text}" for text in untrue)
                yield Task("doubts", row["topic"], turns, (right,), wrong, lookup.check(row))


def _answers(lookup: Lookup, row: dict[str, str]) -> dict:
    wrong = [text for word in lookup.wrong_words(row) for text in lookup.sentences_for(row, word)]
    return {"right": tuple(lookup.sentences_for(row, row["y"])), "wrong": tuple(wrong), "check": lookup.check(row)}
