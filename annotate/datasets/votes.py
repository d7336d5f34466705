"""From the judgments of one comparison to preference lines. Pure: rows in, lines out."""

from collections import Counter
from collections.abc import Iterator, Sequence
from fractions import Fraction

from annotate.models import Comparison, Judgment, Response
from annotate.models.judgment import Rating
from training.records import CRITERIA, Preference, to_line

CLEAR = {Rating.A_BETTER, Rating.B_BETTER}


def majority(
    comparison: Comparison, judgments: Sequence[Judgment], facts: Counter[str], *, with_criteria: bool
) -> Iterator[dict]:
    """One line: the response with more votes is chosen. None if both have as many; `facts` counts that as a tie.

    `probability` is the winner's share of the votes, an "equal" counting half for each side: a soft label. `weight` is
    1: a divided vote pulls less already, since with p = probability the cross-entropy −p·log σ(z) − (1−p)·log σ(−z) has
    at z = 0 the gradient −(2p−1)/2. `strength` is "better" where at least half of the winner's votes were clear.
    """
    facts["judgments"] += len(judgments)
    votes = Counter(judgment.winner_id for judgment in judgments)
    first, second = comparison.first, comparison.second
    if votes[first.pk] == votes[second.pk]:
        facts["ties"] += 1
        return
    chosen, rejected = (first, second) if votes[first.pk] > votes[second.pk] else (second, first)
    probability = (votes[chosen.pk] + Fraction(votes[None], 2)) / len(judgments)
    clear = sum(judgment.rating in CLEAR for judgment in judgments if judgment.winner_id == chosen.pk)
    strength = "better" if 2 * clear >= votes[chosen.pk] else "slightly_better"
    yield _line(comparison, chosen, rejected, strength, probability, judgments if with_criteria else None)


def adjudicated(
    comparison: Comparison, judgments: Sequence[Judgment], facts: Counter[str], *, with_criteria: bool
) -> Iterator[dict]:
    """As `majority`, but where an adjudicator has decided, their verdict stands in place of the votes, without doubt.

    `probability` is 1 then and `strength` the adjudicator's; a decision for “equal” or “both are bad” makes no line.
    """
    decision = getattr(comparison, "adjudication", None)
    if decision is None or decision.rating is None:
        yield from majority(comparison, judgments, facts, with_criteria=with_criteria)
        return
    facts["judgments"] += len(judgments)
    facts["adjudicated"] += 1
    if decision.winner_id is None:
        facts["ties"] += 1
        return
    pair = (comparison.first, comparison.second)
    chosen, rejected = pair if decision.winner_id == comparison.first_id else pair[::-1]
    strength = "better" if decision.rating in CLEAR else "slightly_better"
    yield _line(comparison, chosen, rejected, strength, Fraction(1), judgments if with_criteria else None)


def all_votes(
    comparison: Comparison, judgments: Sequence[Judgment], facts: Counter[str], *, with_criteria: bool
) -> Iterator[dict]:
    """A line per judgment, each of weight 1; a vote for "equal" makes none and is counted as a tie."""
    facts["judgments"] += len(judgments)
    for judgment in judgments:
        if judgment.winner_id is None:
            facts["ties"] += 1
            continue
        pair = (comparison.first, comparison.second)
        chosen, rejected = pair if judgment.winner_id == comparison.first_id else pair[::-1]
        strength = "better" if judgment.rating in CLEAR else "slightly_better"
        yield _line(comparison, chosen, rejected, strength, Fraction(1), [judgment] if with_criteria else None)


def _line(
    comparison: Comparison,
    chosen: Response,
    rejected: Response,
    strength: str,
    probability: Fraction,
    criteria_from: Sequence[Judgment] | None,
) -> dict:
    """Every line of a snapshot has the same fields, because readers of JSON lines take the first ones as the schema."""
    preference = Preference(
        comparison.prompt.messages,
        chosen.text,
        rejected.text,
        strength=strength,
        group=comparison.group or f"prompt:{comparison.prompt.digest[:16]}",
        probability=float(probability),
    )
    line = to_line(preference) | {"weight": preference.weight}
    if criteria_from is not None:
        line["criteria"] = {name: _verdict(name, chosen, criteria_from) for name in CRITERIA}
    return line


def _verdict(criterion: str, chosen: Response, judgments: Sequence[Judgment]) -> str | None:
    """The side that more verdicts on this criterion favour; None where nobody gave one."""
    given = [
        verdict if judgment.left_id == chosen.pk else -verdict
        for judgment in judgments
        if (verdict := getattr(judgment, criterion)) is not None
    ]
    if not given:
        return None
    balance = sum(given)
    return "chosen" if balance > 0 else "rejected" if balance < 0 else "tie"
