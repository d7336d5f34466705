"""Your own Python function as a source, where the worker's machine allows it by name.

Whoever may start a run says which function; only who sets up the machine says which may be named. Without
PREFLOOP_REWARD_FUNCTIONS="my_rewards:politeness,my_rewards:brevity" none may.
"""

import importlib
import os

from training.config import ConfigError
from training.records import Prompt
from training.rewards.source import Failure
from training.rewards.spec import FunctionReward

VARIABLE = "PREFLOOP_REWARD_FUNCTIONS"


class FunctionSource:
    def __init__(self, spec: FunctionReward):
        self.name = f"the function {spec.path}"
        self.function = load_function(spec.path)

    def score(self, prompts: list[Prompt], completions: list[str]) -> list[float | Failure]:
        return [self._one(prompt, text) for prompt, text in zip(prompts, completions, strict=True)]

    def _one(self, prompt: Prompt, text: str) -> float | Failure:
        try:
            return self.function([dict(message) for message in prompt.messages], text, dict(prompt.reference))
        except Exception as error:
            return Failure(f"failed with {type(error).__name__}: {error}")


def load_function(path: str):
    """The function at "package.module:function". Raises ConfigError, and imports nothing, where it is not allowed."""
    allowed = [name.strip() for name in os.environ.get(VARIABLE, "").split(",") if name.strip()]
    if path not in allowed:
        raise ConfigError(f"the function {path} is not allowed on this machine: {VARIABLE} does not name it")
    module, _, attribute = path.partition(":")
    try:
        function = getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError, ValueError) as error:
        raise ConfigError(f"the function {path} cannot be loaded: {error}") from None
    if not callable(function):
        raise ConfigError(f"{path} is not a function")
    return function
