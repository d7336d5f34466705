"""One file a stage; the loops are visible here, and read top to bottom as the papers' algorithms do.

A recipe is a function run(config, log) -> Outcome, named in `training.config.RECIPES`.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field


@dataclass
class Outcome:
    """What a recipe hands back. `training.__main__` writes the lines, metrics.json, the model, then the `end` event."""

    metrics: dict = field(default_factory=dict)
    model: object = None
    tokenizer: object = None
    tensors: dict = field(default_factory=dict)
    """what lies beside the model's weights: {file name: {name: tensor}}"""
    adapter: object = None
    """the `training.adapters.Adapter` that the model has merged, to be kept beside it"""
    lines: Iterable[dict] | None = None
    """of the JSON lines file that `RECIPES` names, where the recipe makes one instead of a model"""
