"""AI feedback: a judge labels comparisons, each asked in both orders, and the labels are preferences to train on.

RLAIF (Lee et al. 2023): a judge leans towards the answer that it reads first (or second), so a pair is shown both ways
and the two probabilities are averaged. Where the winner changes with the order, the judge cannot tell: a tie.
"""

from dataclasses import dataclass
from itertools import combinations

from training import runtime
from training.config import ConfigError
from training.errors import TrainingError
from training.events import EventLog
from training.recipes import Outcome
from training.recipes.judge_config import JudgeConfig
from training.records import Comparison, Message, Preference, iter_rows, parse_record, to_line
from training.rewards.judge import Judge, load_judge, prefer, read_rubric
from training.rewards.source import Failure

# Pairs judged between two looks at the progress bar.
_AT_ONCE = 32


@dataclass(frozen=True)
class Pair:
    """Two responses; `human` is the probability that people gave a, 1 or 0 where one of them won, None if unknown."""

    messages: list[Message]
    a: str
    b: str
    human: float | None = None
    group: str | None = None


@dataclass(frozen=True)
class Verdict:
    """P(a is better), asked with a shown first and with b shown first."""

    shown_first: float
    shown_second: float

    @property
    def probability(self) -> float:
        return (self.shown_first + self.shown_second) / 2

    @property
    def consistent(self) -> bool:
        """The same response won in both orders."""
        return (self.shown_first - 0.5) * (self.shown_second - 0.5) > 0


def run(config: JudgeConfig, log: EventLog) -> Outcome:
    """Makes preferences.jsonl, a line a pair: chosen, rejected, strength, and the judge's probability of `chosen`."""
    machine = runtime.start(config, log)
    rubric = read_rubric(config.rubric)
    pairs = read_pairs(config.data, config.limit)
    log.start("judge", device=str(machine.device), total=len(pairs))
    judge = load_judge(config, device=machine.device, tokens_per_batch=config.tokens_per_batch)

    def asked(places: list[int]) -> list[tuple[float | Failure, float | Failure]]:
        """A process's share of the pairs, in both orders."""
        answers = []
        for start in range(0, len(places), _AT_ONCE):
            log.progress(start * machine.processes, len(pairs), "judging")
            part = [pairs[place] for place in places[start : start + _AT_ONCE]]
            with machine.autocast():
                given = prefer(judge, rubric, [(pair.messages, pair.a, pair.b) for pair in part])
            if config.on_reward_error == "fail" and (failed := _failures(judge, part, given)):
                raise TrainingError(failed[0])
            answers += given
        return answers

    answers = machine.dealt(len(pairs), asked)
    failures = _failures(judge, pairs, answers)
    judged = [
        (pair, Verdict(*both))
        for pair, both in zip(pairs, answers, strict=True)
        if not any(isinstance(answer, Failure) for answer in both)
    ]
    if not judged:
        raise TrainingError(f"no pair was judged: {failures[0]}")
    if failures:
        log.message(f"{len(failures)} of {len(pairs)} pairs are left out: {failures[0]}", "warning")
    lines = (to_line(preference(pair, verdict, config.clear)) for pair, verdict in judged)
    metrics = describe(judged) | {"failures": len(failures)}
    log.metrics(len(pairs), len(pairs), **metrics)
    return Outcome(metrics, lines=lines)


def _failures(judge: Judge, pairs: list[Pair], answers: list[tuple[float | Failure, float | Failure]]) -> list[str]:
    """A sentence for each pair that the judge gave no verdict of."""
    failed = [
        (pair, next((answer for answer in both if isinstance(answer, Failure)), None))
        for pair, both in zip(pairs, answers, strict=True)
    ]
    return [
        f"{judge.name} {failure.reason} for the responses {pair.a[:100]!r} and {pair.b[:100]!r}"
        for pair, failure in failed
        if failure
    ]


def preference(pair: Pair, verdict: Verdict, clear: float) -> Preference:
    """The pair as a row to train on; a tie where the order decided, or nothing did."""
    a_wins = verdict.probability >= 0.5
    probability = max(verdict.probability, 1 - verdict.probability)
    strength = "tie" if not verdict.consistent else "better" if probability >= clear else "slightly_better"
    chosen, rejected = (pair.a, pair.b) if a_wins else (pair.b, pair.a)
    return Preference(
        pair.messages, chosen, rejected, strength=strength, group=pair.group, probability=round(probability, 6)
    )


def describe(judged: list[tuple[Pair, Verdict]]) -> dict[str, float]:
    """How sure the judge is of itself, how it leans, and how often it agrees with people where both decided."""
    verdicts = [verdict for _, verdict in judged]
    metrics = {
        "pairs": len(judged),
        "order_agreement": sum(verdict.consistent for verdict in verdicts) / len(judged),
        "ties": sum(not verdict.consistent for verdict in verdicts),
        # Half where the judge does not mind the order.
        "first_shown_wins": sum(v.shown_first + 1 - v.shown_second for v in verdicts) / (2 * len(judged)),
        "a_wins": sum(verdict.consistent and verdict.probability > 0.5 for verdict in verdicts) / len(judged),
        "b_wins": sum(verdict.consistent and verdict.probability < 0.5 for verdict in verdicts) / len(judged),
    }
    both = [(p.human, v) for p, v in judged if p.human is not None and p.human != 0.5 and v.consistent]
    if both:
        agreed = sum((human > 0.5) == (verdict.probability > 0.5) for human, verdict in both)
        metrics |= {"human_pairs": len(both), "human_agreement": agreed / len(both)}
    return metrics


def read_pairs(path: str, limit: int | None) -> list[Pair]:
    """All pairs of each comparison, and each preference with people's verdict; of the first `limit` rows."""
    pairs: list[Pair] = []
    for number, (line, row) in enumerate(iter_rows(path)):
        if number == limit:
            break
        record = parse_record(row, "preferences" if "chosen" in row else "comparisons", path, line)
        if isinstance(record, Comparison):
            texts = [response.text for response in record.responses]
            pairs += [Pair(record.messages, a, b) for a, b in combinations(texts, 2)]
        else:
            pairs.append(_of_people(record))
    if not pairs:
        raise ConfigError(f"{path} holds no comparisons")
    return pairs


def _of_people(row: Preference) -> Pair:
    """In an order that does not tell who won."""
    human = 0.5 if row.strength == "tie" else 1.0 if row.probability is None else row.probability
    if row.chosen <= row.rejected:
        return Pair(row.messages, row.chosen, row.rejected, human, row.group)
    return Pair(row.messages, row.rejected, row.chosen, 1 - human, row.group)
