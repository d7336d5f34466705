"""Small exercises: sums, sizes, lists, steps in order, and rewriting a sentence."""

from collections.abc import Iterator

from . import facts
from .checks import FirstNamed, LastNumber, ListOf, Mentions, Says, Steps
from .task import Task, ask, sentence


def sums() -> Iterator[Task]:
    for first in range(1, 7):
        for second in range(1, 7):
            def answers(total, first=first, second=second):
                return (f"{first} + {second} = {total}.", f"{first} plus {second} is **{total}**.",
                        f"The sum of {first} and {second} is {total}.")

            total = first + second
            slips = [slip for slip in (total - 2, total - 1, total + 1, total + 2) if slip > 0]
            yield from ask(
                "sums", f"{first} + {second}",
                (f"What is {first} + {second}?", f"What is {first} plus {second}?", f"Add {first} and {second}."),
                answers(total), [text for slip in slips for text in answers(slip)], LastNumber(total),
                terse=f"{total}.", terse_wrong=tuple(f"{slip}." for slip in slips),
            )


def sizes() -> Iterator[Task]:
    for small, smaller in enumerate(facts.SIZES):
        for bigger in facts.SIZES[small + 1 :]:
            for first, second in ((smaller, bigger), (bigger, smaller)):
                for word, answer, other in (("bigger", bigger, smaller), ("smaller", smaller, bigger)):
                    yield from ask(
                        "sizes", f"{smaller} and {bigger}",
                        (f"Which is {word}, {first} or {second}?", f"What is {word}: {first} or {second}?"),
                        _compare(answer, other, word), _compare(other, answer, word), FirstNamed(answer, other),
                        terse=sentence(answer), terse_wrong=(sentence(other),),
                    )


def _compare(answer: str, other: str, word: str) -> tuple[str, ...]:
    return (sentence(f"{answer} is {word} than {other}"), sentence(f"{answer} is {word}"))


def lists() -> Iterator[Task]:
    for kind, members in facts.KINDS.items():
        strangers = {other for kind_of, others in facts.KINDS.items() if kind_of != kind for other in others}
        strange = sorted(strangers - set(members))
        for count in (2, 3, 4):
            number = facts.NUMBER_WORDS[count]
            picks = [[members[(start + step) % 8] for step in range(count)] for start in range(8)]
            # Wrong: a stranger among them, one too many, or one twice.
            mistakes = [[*pick[:-1], strange[7 * start % len(strange)]] for start, pick in enumerate(picks)]
            mistakes += [[*picks[2], members[0]], [*picks[5][:-1], picks[5][0]]]
            yield from ask(
                "lists", f"{number} {kind}",
                (f"Name {number} {kind}.", f"Give me a list of {number} {kind}.", f"Can you list {number} {kind}?"),
                [_bullets(pick) for pick in picks] + [_row(pick) for pick in picks[::2]],
                [_bullets(pick) for pick in mistakes], ListOf(members, tuple(strange), count),
            )


def _bullets(items) -> str:
    return "\n".join(f"- {item}" for item in items)


def _row(items) -> str:
    return sentence(", ".join(items[:-1]) + f" and {items[-1]}")


def how_to() -> Iterator[Task]:
    for goal, steps in facts.HOW_TO.items():
        first, second, third, fourth = steps
        wrong = [(second, first, third, fourth), (first, third, second, fourth), (first, second, fourth),
                 (fourth, third, second, first), (first, second)]
        yield from ask(
            "how-to", goal,
            (f"How do I {goal}?", f"Tell me step by step how to {goal}.", f"What is the best way to {goal}?"),
            (_numbered(steps),), [_numbered(order) for order in wrong], Steps(steps),
        )


def _numbered(steps) -> str:
    return "\n".join(f"{number}. {step}" for number, step in enumerate(steps, start=1))


def polite() -> Iterator[Task]:
    requests = list(facts.POLITE.items())
    for number, (rude, kind) in enumerate(requests):
        others = [requests[(number + step) % len(requests)][1] for step in (1, 5)]
        yield from ask(
            "polite", rude,
            (f"Make this polite: {rude}", f"Rewrite this so that it sounds friendly: {rude}", f"Say it kindly: {rude}"),
            (kind,), [*others, rude, f"{rude[:-1]} now!"], Says((kind,)),
        )


def past_tense() -> Iterator[Task]:
    for present, past, mistake in facts.VERBS:
        for ending in facts.VERB_ENDINGS[present]:
            right = f"I {past} {ending}."
            yield from ask(
                "past tense", f"{present} {ending}",
                (f"Put this in the past tense: I {present} {ending}.",
                 f"How do I say this about yesterday? I {present} {ending}.",
                 f'What is the past tense of "I {present} {ending}"?'),
                (right,), (f"I {mistake} {ending}.", f"I will {present} {ending}.", f"I am {mistake} {ending}."),
                Says((right,)),
            )


def spelling() -> Iterator[Task]:
    for slip, word in facts.SPELLINGS.items():
        yield from ask(
            "spelling", word,
            (f"How do you spell {slip} correctly?", f"Correct this word: {slip}", f"Is {slip} spelled right?"),
            (f"The right spelling is **{word}**.", f"It is spelled {word}."),
            (f"The right spelling is **{slip}**.", f"It is spelled {slip}.", f"Yes, {slip} is right."),
            Mentions((word,), (slip,)), terse=sentence(word), terse_wrong=(sentence(slip),),
        )
