"""Settings of a run: a frozen dataclass a recipe, filled from defaults, a JSON file and key=value words, and checked.

Imports no torch: the site asks `describe` what a recipe can be told, and `resolve` whether settings are right.
"""

import dataclasses
import difflib
import importlib
import inspect
import json
import math
import os
import types
import typing
from collections.abc import Callable, Iterable
from dataclasses import MISSING, dataclass
from pathlib import Path


class ConfigError(ValueError):
    """A setting or the data is wrong: one sentence that names it. Ends a run with exit code 2.

    `values` stand at the sentence's %(name)s, where the site translates it; "setting" among them is what to change.
    """

    def __init__(self, sentence: str, **values):
        self.sentence, self.values = sentence, values
        super().__init__(sentence % values if values else sentence)


@dataclass(frozen=True)
class Recipe:
    """Where a recipe lives, as "module:attribute", imported only when asked for. Config modules import no torch."""

    config: str
    run: str
    writes: tuple[str, ...] = ("model",)
    """what a run that succeeds leaves in its directory, besides metrics.json"""


RECIPES: dict[str, Recipe] = {
    "starter": Recipe("training.recipes.starter_config:StarterConfig", "training.recipes.starter:run"),
    "sft": Recipe("training.recipes.configs:SFTConfig", "training.recipes.sft:run"),
    "reward": Recipe("training.recipes.configs:RewardConfig", "training.recipes.reward:run", ("model", "adapter")),
    "dpo": Recipe("training.recipes.configs:PreferenceConfig", "training.recipes.preference:run"),
    "online_dpo": Recipe("training.recipes.configs:OnlinePreferenceConfig", "training.recipes.online_preference:run"),
    "rejection": Recipe("training.recipes.sampling_configs:RejectionConfig", "training.recipes.rejection:run"),
    "best_of_n": Recipe(
        "training.recipes.sampling_configs:BestOfNConfig", "training.recipes.best_of_n:run", ("responses.jsonl",)
    ),
    "generate": Recipe(
        "training.recipes.sampling_configs:GenerateConfig", "training.recipes.generate:run", ("responses.jsonl",)
    ),
    "score": Recipe("training.recipes.sampling_configs:ScoreConfig", "training.recipes.score:run", ("scores.jsonl",)),
    "evaluate": Recipe("training.recipes.sampling_configs:EvaluateConfig", "training.recipes.evaluate:run", ()),
    "judge": Recipe("training.recipes.judge_config:JudgeConfig", "training.recipes.judge:run", ("preferences.jsonl",)),
    "reinforce": Recipe("training.recipes.presets:REINFORCE", "training.recipes.policy_gradient:run"),
    "a2c": Recipe("training.recipes.presets:A2C", "training.recipes.policy_gradient:run"),
    "rloo": Recipe("training.recipes.presets:RLOO", "training.recipes.policy_gradient:run"),
    "ppo": Recipe("training.recipes.presets:PPO", "training.recipes.policy_gradient:run"),
    "grpo": Recipe("training.recipes.presets:GRPO", "training.recipes.policy_gradient:run"),
    "dr_grpo": Recipe("training.recipes.presets:DR_GRPO", "training.recipes.policy_gradient:run"),
    "dapo": Recipe("training.recipes.presets:DAPO", "training.recipes.policy_gradient:run"),
    "cgpo": Recipe("training.recipes.presets:CGPO", "training.recipes.policy_gradient:run"),
}


def setting(
    default=MISSING, help: str = "", *, choices: tuple = (), low=-math.inf, high=math.inf, parse: Callable | None = None
):
    """A dataclass field with what `resolve` checks and a person is told. Without a default it must be given.

    `parse` (name, text or JSON value) gives the value of a setting that is more than a word, or raises ConfigError.
    """
    metadata = {"help": help, "choices": choices, "low": low, "high": high, "parse": parse}
    return dataclasses.field(default=default, metadata=metadata)


@dataclass(frozen=True, kw_only=True)
class BaseConfig:
    """What every recipe can be told."""

    output: str = setting(help="the run directory")
    seed: int = setting(0, "the same seed, data and machine give the same run, bit for bit on a CPU", low=0)
    device: str = setting("auto", "auto takes a GPU where there is one", choices=("auto", "cpu", "cuda"))
    precision: str = setting(
        "auto",
        "fp32 or bf16 arithmetic (weights are kept in fp32); auto measures which is faster here",
        choices=("auto", "fp32", "bf16"),
    )
    resume: bool = setting(True, "go on from the newest checkpoint of the run directory; false starts afresh")

    def check(self) -> None:
        """Raise ConfigError where settings that are each right do not fit together. Recipes extend this."""


@dataclass(frozen=True, kw_only=True)
class TrainingConfig(BaseConfig):
    """What every recipe that runs the shared optimizer loop can be told (`training.loop`)."""

    model: str = setting(help="the model to start from: a local directory or a hub id")
    epochs: int = setting(1, "passes over the data", low=1)
    max_steps: int | None = setting(None, "stop after so many optimizer steps; none goes through all epochs", low=1)
    batch_size: int = setting(32, "rows (conversations, pairs or groups) an optimizer step, over all devices", low=1)
    tokens_per_batch: int = setting(
        8192, "tokens computed at once on a device; lower it when memory runs out: the result stays the same", low=1
    )
    max_length: int = setting(2048, "longest prompt with response, in tokens; prompts lose their start", low=8)
    learning_rate: float = setting(1e-5, "at its peak", low=0)
    schedule: str = setting("cosine", "of the learning rate after warm-up", choices=("cosine", "linear", "constant"))
    warmup: float = setting(0.05, "share of the steps in which the learning rate rises to its peak", low=0, high=1)
    weight_decay: float = setting(0.0, "AdamW's, on matrices only", low=0)
    adam_beta2: float = setting(0.999, "AdamW's second moment", low=0, high=1)
    max_grad_norm: float = setting(1.0, "gradients are scaled down to this norm; 0 leaves them", low=0)
    dropout: float = setting(0.0, "in the model while training", low=0, high=1)
    heldout: str = setting("0.05", "a file of rows to evaluate on, or the share of rows kept back for it; 0 for none")
    log_every: int = setting(1, "steps between points of the curves", low=1)
    evaluate_every: int | None = setting(None, "steps between held-out evaluations; none: at the end only", low=1)
    checkpoint_every: int = setting(100, "steps between checkpoints; 0 for none but on SIGTERM", low=0)
    keep_checkpoints: int = setting(2, "newest checkpoints kept, besides the best", low=1)
    sharding: str = setting(
        "none",
        "of several processes: each trains a whole copy, or a share of weights, gradients and optimizer state (fsdp)",
        choices=("none", "fsdp"),
    )
    gradient_checkpointing: bool = setting(False, "compute activations twice to save memory")
    lora_rank: int = setting(0, "train low-rank updates of this rank, merged into the saved model; 0 trains all", low=0)
    lora_alpha: float = setting(32.0, "the low-rank update is scaled by lora_alpha / lora_rank", low=0)
    lora_dropout: float = setting(0.0, "on the input of the low-rank updates", low=0, high=1)

    def heldout_share(self) -> float | None:
        """The share of rows to keep back, or None where `heldout` names a file."""
        try:
            return float(self.heldout)
        except ValueError:
            return None

    def check(self) -> None:
        share = self.heldout_share()
        if share is None and not Path(self.heldout).is_file():
            raise ConfigError(f"heldout={self.heldout} is neither a share from 0 to 0.9 nor a file")
        if share is not None and not 0 <= share <= 0.9:
            raise ConfigError(f"heldout={self.heldout} must be a share from 0 to 0.9, or a file")


def config_class(recipe: str) -> type[BaseConfig]:
    """The recipe's dataclass. Raises ConfigError for an unknown recipe."""
    if recipe not in RECIPES:
        raise ConfigError(f"unknown recipe {recipe}{suggestion(recipe, RECIPES)}; known: {', '.join(RECIPES)}")
    return _load(RECIPES[recipe].config)


def run_function(recipe: str) -> Callable:
    """The recipe's run(config, log) -> final metrics. Imports torch."""
    return _load(RECIPES[recipe].run)


def resolve(recipe: str, config_file: str | os.PathLike | None = None, overrides: dict | None = None) -> BaseConfig:
    """Defaults, then the JSON file, then `overrides` (texts as typed, or values). Raises ConfigError."""
    given = list(_read_config_file(config_file, recipe).items()) if config_file else []
    config = filled(recipe, config_class(recipe), given + list((overrides or {}).items()))
    config.check()
    return config


def filled(what: str, cls: type, given: Iterable[tuple[str, object]]):
    """A dataclass of settings from its defaults and what is given. Raises ConfigError; `what` is its name there."""
    types_of = typing.get_type_hints(cls)
    fields = {field.name: field for field in dataclasses.fields(cls)}
    values: dict = {}
    for key, value in given:
        if key not in fields:
            raise ConfigError(f"{what} has no setting {key}{suggestion(key, fields)}")
        values[key] = _checked(fields[key], types_of[key], value)
    for name, field in fields.items():
        if name not in values and field.default is MISSING:
            raise ConfigError(f"{what} needs {name}=… ({field.metadata.get('help', '')})")
    return cls(**values)


def about(recipe: str) -> str:
    """What the recipe is: a sentence, and after an empty line, where it follows a paper, how it deviates from it."""
    return inspect.getdoc(config_class(recipe))


def describe(recipe: str) -> list[dict]:
    """Per setting {"name", "type", "default", "required", "choices", "help"}, for forms and help texts."""
    cls = config_class(recipe)
    types_of = typing.get_type_hints(cls)
    return [
        {
            "name": field.name,
            "type": _type_name(types_of[field.name]),
            "default": None if field.default is MISSING else field.default,
            "required": field.default is MISSING,
            "choices": list(field.metadata.get("choices", ())),
            "help": field.metadata.get("help", ""),
        }
        for field in dataclasses.fields(cls)
    ]


def to_json(recipe: str, config: BaseConfig) -> dict:
    """The resolved settings as `config.json` holds them; `resolve` reads them back."""
    return {"recipe": recipe, **dataclasses.asdict(config)}


def _load(reference: str):
    module, _, attribute = reference.partition(":")
    return getattr(importlib.import_module(module), attribute)


def _read_config_file(path, recipe: str) -> dict:
    try:
        values = json.loads(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigError(f"there is no config file {path}") from None
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise ConfigError(f"the config file {path} is not readable as JSON: {error}") from None
    if not isinstance(values, dict):
        raise ConfigError(f"the config file {path} must hold one JSON object of settings")
    named = values.pop("recipe", recipe)
    if named != recipe:
        raise ConfigError(f"the config file {path} is for the recipe {named}, not {recipe}")
    return values


def suggestion(word: str, known) -> str:
    """" (did you mean …?)" where a known word is close, else nothing."""
    close = difflib.get_close_matches(word, list(known), n=1)
    return f" (did you mean {close[0]}?)" if close else ""


def _checked(field: dataclasses.Field, kind, value):
    """The value in the field's type and range, from a typed word or a JSON value."""
    optional = isinstance(kind, types.UnionType)
    if optional:
        if value is None or (isinstance(value, str) and value.lower() in ("", "none", "null")):
            return None
        kind = next(member for member in typing.get_args(kind) if member is not types.NoneType)
    if parse := field.metadata.get("parse"):
        return parse(field.name, value)
    converted = _convert(kind, value)
    if converted is None:
        raise ConfigError(f"{field.name}={value} must be {_TYPE_WORDS[kind]}{' or none' if optional else ''}")
    choices = field.metadata.get("choices", ())
    if choices and converted not in choices:
        given = {"setting": field.name, "value": value, "words": ", ".join(map(str, choices))}
        raise ConfigError("%(setting)s=%(value)s must be one of %(words)s", **given)
    if kind in (int, float):
        low, high = field.metadata.get("low", -math.inf), field.metadata.get("high", math.inf)
        if not low <= converted <= high:
            given = {"setting": field.name, "value": value, "low": low}
            if high == math.inf:
                raise ConfigError("%(setting)s=%(value)s must be at least %(low)s", **given)
            raise ConfigError("%(setting)s=%(value)s must be from %(low)s to %(high)s", high=high, **given)
    return converted


def _convert(kind: type, value):
    """`value` as `kind`, or None where it is not one."""
    if kind is str:
        return str(value) if isinstance(value, str | int | float) and not isinstance(value, bool) else None
    if kind is bool:
        if isinstance(value, str):
            return {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}.get(value.lower())
        return value if isinstance(value, bool) else None
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return None
    try:
        number = float(value)
        if not math.isfinite(number):
            return None
        if kind is float:
            return number
        return int(value) if isinstance(value, str) and value.strip().lstrip("+-").isdigit() else _whole(number)
    except ValueError:
        return None


def _whole(number: float) -> int | None:
    return int(number) if number.is_integer() else None


_TYPE_WORDS = {int: "a whole number", float: "a number", bool: "true or false", str: "a text"}


def _type_name(kind) -> str:
    if isinstance(kind, types.UnionType):
        kind = next(member for member in typing.get_args(kind) if member is not types.NoneType)
    return kind.__name__
