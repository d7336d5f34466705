"""What a preference row tells a loss: how likely the label is, how large a lead it asks for, how much it counts."""

from dataclasses import dataclass

import torch

from training.records import Preference


@dataclass(frozen=True)
class Label:
    weight: float = 1.0
    probability: float = 1.0
    """that chosen beats rejected: 1, the share of votes, or 1/2 for a tie"""
    margin: float = 0.0
    """by how much its reward should lead"""
    tie: bool = False


def label_of(row: Preference, *, margin_better: float, margin_slightly_better: float) -> Label:
    """The row's own margin, else the one of its strength. A tie and divided votes ask for no lead."""
    if row.strength == "tie":
        return Label(row.weight, 0.5, 0.0, True)
    probability = 1.0 if row.probability is None else row.probability
    if row.margin is not None:
        margin = row.margin
    else:
        margin = {"better": margin_better, "slightly_better": margin_slightly_better}.get(row.strength, 0.0)
    return Label(row.weight, probability, margin if probability == 1.0 else 0.0)


def accuracy(lead: torch.Tensor, probability: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """(how many of the decided labels the sign of `lead` (pairs,) agrees with, how many are decided).

    A lead of nothing is half right; a label of probability below 1/2 is for the rejected response.
    """
    decided = (probability != 0.5).float()
    agrees = (torch.sign(lead) * torch.sign(probability - 0.5) + 1) / 2
    return (agrees * decided).sum(), decided.sum()
