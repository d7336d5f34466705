"""From the judgments of one comparison to preference lines. Pure: rows in, lines out.

A ranking is judged pair by pair: what its ranks imply about two responses is one vote on them.
"""

import itertools
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction

from annotate.models import Comparison, Judgment, Response
from annotate.models.comparison import text_digest
from annotate.models.judgment import Rating
from training.records import CRITERIA, Preference, to_line

CLEAR = {Rating.A_BETTER, Rating.B_BETTER}


@dataclass(frozen=True)
class PairVote:
    """What one judgment says about two responses: the `winner`, None for a tie. `clear` is None where ranks say it."""

    judgment: Judgment
    winner: Response | None
    clear: bool | None


@dataclass(frozen=True)
class VotedPair:
    """Two responses of a comparison and the votes on them."""

    comparison: Comparison
    first: Response
    second: Response
    votes: list[PairVote]


@dataclass(frozen=True)
class Columns:
    """Fields that every line of a snapshot has because one of them needs it; and whether ties make lines too."""

    criteria: bool = False
    edited: bool = False
    ties: bool = False


def majority(
    comparison: Comparison, judgments: Sequence[Judgment], facts: Counter[str], columns: Columns
) -> Iterator[dict]:
    """A line a pair: the response with more votes is chosen. As many for both is a tie, which `facts` counts.

    `probability` is the winner's share of the votes, an "equal" counting half for each side: a soft label. `weight` is
    1: a divided vote pulls less already, since with p = probability the cross-entropy −p·log σ(z) − (1−p)·log σ(−z) has
    at z = 0 the gradient −(2p−1)/2. `strength` is "better" where at least half of the winner's votes were clear, and
    null for a ranking. Where at least half of the judgments say that both are bad, the pair makes no line.
    """
    usable = _usable(judgments, facts)
    if judgments and 2 * len(usable) <= len(judgments):
        facts["comparisons_both_bad"] += 1
        return
    for pair in _voted_pairs(comparison, usable):
        won = Counter(vote.winner.pk for vote in pair.votes if vote.winner)
        ties = sum(vote.winner is None for vote in pair.votes)
        if won[pair.first.pk] == won[pair.second.pk]:
            facts["ties"] += 1
            if columns.ties:
                yield _tie(pair, columns)
            continue
        chosen, rejected = pair.first, pair.second
        if won[chosen.pk] < won[rejected.pk]:
            chosen, rejected = rejected, chosen
        probability = (won[chosen.pk] + Fraction(ties, 2)) / len(pair.votes)
        for_chosen = [vote for vote in pair.votes if vote.winner and vote.winner.pk == chosen.pk]
        yield _line(pair, chosen, rejected, _strength(for_chosen), probability, columns)


def adjudicated(
    comparison: Comparison, judgments: Sequence[Judgment], facts: Counter[str], columns: Columns
) -> Iterator[dict]:
    """As `majority`, but where an adjudicator has decided, their verdict stands in place of the votes, without doubt.

    `probability` is 1 then and `strength` the adjudicator's; a decision for “both are bad” makes no line.
    """
    decision = getattr(comparison, "adjudication", None)
    if decision is None or decision.rating is None:
        yield from majority(comparison, judgments, facts, columns)
        return
    (pair,) = _voted_pairs(comparison, _usable(judgments, facts))
    facts["adjudicated"] += 1
    if decision.rating == Rating.BOTH_BAD:
        facts["comparisons_both_bad"] += 1
    elif decision.winner_id is None:
        facts["ties"] += 1
        if columns.ties:
            yield _tie(pair, columns)
    else:
        first_wins = decision.winner_id == pair.first.pk
        chosen, rejected = (pair.first, pair.second) if first_wins else (pair.second, pair.first)
        strength = "better" if decision.rating in CLEAR else "slightly_better"
        yield _line(pair, chosen, rejected, strength, Fraction(1), columns)


def all_votes(
    comparison: Comparison, judgments: Sequence[Judgment], facts: Counter[str], columns: Columns
) -> Iterator[dict]:
    """A line a vote, each of weight 1; a vote for "equal" makes none and is counted as a tie."""
    usable = _usable(judgments, facts)
    for pair in _voted_pairs(comparison, usable):
        for vote in pair.votes:
            alone = VotedPair(comparison, pair.first, pair.second, [vote])
            if vote.winner is None:
                facts["ties"] += 1
                if columns.ties:
                    yield _tie(alone, columns)
                continue
            rejected = pair.second if vote.winner.pk == pair.first.pk else pair.first
            yield _line(alone, vote.winner, rejected, _strength([vote]), Fraction(1), columns)


def _usable(judgments: Sequence[Judgment], facts: Counter[str]) -> list[Judgment]:
    """Those that may become training pairs; counts them, those that may not, and those that were changed later."""
    facts["judgments"] += len(judgments)
    usable = [judgment for judgment in judgments if judgment.rating != Rating.BOTH_BAD]
    # Only what is there is counted: a snapshot without them has the facts it always had.
    if bad := len(judgments) - len(usable):
        facts["both_bad"] += bad
    if changed := sum(judgment.version > 1 for judgment in judgments):
        facts["changed_later"] += changed
    return usable


def _voted_pairs(comparison: Comparison, judgments: Sequence[Judgment]) -> Iterator[VotedPair]:
    responses = comparison.responses
    ranks = {
        judgment.pk: {row.response_id: row.rank for row in judgment.assessments.all()}
        for judgment in judgments if judgment.is_ranking
    }  # fmt: skip
    for first, second in itertools.combinations(responses, 2):
        votes = [_vote(judgment, first, second, ranks.get(judgment.pk)) for judgment in judgments]
        yield VotedPair(comparison, first, second, votes)


def _vote(judgment: Judgment, first: Response, second: Response, ranks: dict[int, int] | None) -> PairVote:
    if ranks is not None:
        ahead = ranks[second.pk] - ranks[first.pk]
        return PairVote(judgment, first if ahead > 0 else second if ahead < 0 else None, None)
    winner = {first.pk: first, second.pk: second}.get(judgment.winner_id)
    return PairVote(judgment, winner, judgment.rating in CLEAR)


def _strength(votes: Sequence[PairVote]) -> str | None:
    if votes[0].clear is None:
        return None
    return "better" if 2 * sum(vote.clear for vote in votes) >= len(votes) else "slightly_better"


def _tie(pair: VotedPair, columns: Columns) -> dict:
    """The order says nothing, so the texts decide it and not who was first."""
    one, other = sorted((pair.first, pair.second), key=lambda response: text_digest(response.text))
    return _line(pair, one, other, "tie", Fraction(1, 2), columns)


def _line(
    pair: VotedPair, chosen: Response, rejected: Response, strength: str | None, probability: Fraction, columns: Columns
) -> dict:
    """Every line of a snapshot has the same fields, because readers of JSON lines take the first ones as the schema."""
    comparison = pair.comparison
    preference = Preference(
        comparison.prompt.messages,
        chosen.text,
        rejected.text,
        strength=strength,
        group=comparison.group or f"prompt:{comparison.prompt.digest[:16]}",
        probability=float(probability),
    )
    line = to_line(preference)
    line = {name: line.get(name) for name in ("prompt", "chosen", "rejected", "strength")} | line
    line["weight"] = preference.weight
    judgments = [vote.judgment for vote in pair.votes]
    if columns.criteria:
        line["criteria"] = {name: _verdict(name, chosen, judgments) for name in CRITERIA}
    if columns.edited:
        edited = _improvement(chosen, pair.votes)
        line["edited"] = [{"role": "assistant", "content": edited}] if edited else None
    return line


def _improvement(chosen: Response, votes: Sequence[PairVote]) -> str | None:
    """What somebody made of the chosen response; of several texts the first in the order of the alphabet."""
    texts = [vote.judgment.edited for vote in votes if vote.judgment.edited and _best(vote) == chosen.pk]
    return min(texts, default=None)


def _best(vote: PairVote) -> int | None:
    """The response that this person's improved answer started from."""
    if not vote.judgment.is_ranking:
        return vote.judgment.winner_id
    return min(vote.judgment.assessments.all(), key=lambda row: (row.rank, row.place)).response_id


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
