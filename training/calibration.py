"""How far predicted probabilities are from what happened, and what rules that understand nothing would reach."""

from collections.abc import Sequence

import torch

from training.records import Preference


def calibration_error(probability: torch.Tensor, happened: torch.Tensor, bins: int = 10) -> float:
    """Expected calibration error: mean of |share that happened − mean probability| over bins of equal numbers.

    `probability` (n,) of the likelier outcome, `happened` (n,) in 0 … 1 (votes may be divided) of that outcome.
    """
    order = probability.argsort()
    error = 0.0
    for part in order.tensor_split(min(bins, len(order))):
        error += len(part) / len(order) * float((happened[part].mean() - probability[part].mean()).abs())
    return error


def baselines(train: Sequence[Preference], heldout: Sequence[Preference]) -> dict[str, float]:
    """Held-out accuracy of two rules: the longer response wins; the place that won more often in training wins.

    The place is the order of the two texts in the alphabet, which is blind to the label. Ties are left out, and a rule
    that cannot tell two responses apart is half right.
    """
    train, heldout = ([_winner_first(row) for row in rows if _decided(row)] for rows in (train, heldout))
    if not heldout:
        return {}
    first_wins = _share(train, lambda text: text) < 0.5
    alphabetical = _share(heldout, lambda text: text)
    return {
        "length_baseline_heldout": _share(heldout, len),
        "majority_baseline_heldout": 1 - alphabetical if first_wins else alphabetical,
    }


def _decided(row: Preference) -> bool:
    return row.strength != "tie" and row.probability != 0.5


def _winner_first(row: Preference) -> tuple[str, str]:
    turned = row.probability is not None and row.probability < 0.5
    return (row.rejected, row.chosen) if turned else (row.chosen, row.rejected)


def _share(pairs: list[tuple[str, str]], key) -> float:
    """Of pairs whose winner has the larger key."""
    points = [1.0 if key(winner) > key(loser) else 0.5 if key(winner) == key(loser) else 0.0 for winner, loser in pairs]
    return sum(points) / len(points) if points else 0.5
