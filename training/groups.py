"""The groups of a round: prompts dealt out to the processes, answered and scored, and put together again."""

import random
from collections.abc import Callable
from dataclasses import dataclass

from training.generators import Generator
from training.monitors import Monitor
from training.recipes.presets import PolicyGradientConfig
from training.rewards.combine import Scores
from training.rollouts import PromptStream
from training.runtime import Runtime
from training.sampling import Completion

# DAPO draws groups again while all of a group's completions score the same; this often at most.
_DRAWS = 4

Score = Callable[[list[int], list[list[Completion]]], Scores]
"""Takes prompts' indices and a group of completions for each, and gives scores (prompts, completions)."""


@dataclass(frozen=True)
class Group:
    prompt: int
    """its index among all prompts"""
    completions: list[Completion]
    scores: Scores
    """(completions,)"""

    @property
    def teaches(self) -> bool:
        """Whether its rewards differ: a group that has the same ones throughout, or none, has no advantages."""
        whole = self.scores.total[~self.scores.total.isnan()]
        return len(whole.unique()) > 1


def draw_groups(
    generator: Generator,
    prompts: list[list[int]],
    score: Score,
    stream: PromptStream,
    step: int,
    config: PolicyGradientConfig,
    machine: Runtime,
    monitor: Monitor,
) -> list[Group]:
    """`config.prompts_per_step` groups of the stream's next prompts, the same list in every process.

    What a completion's random numbers are is fixed by the seed, the step and the prompt's place in the round, so the
    number of processes changes nothing about it. With dynamic sampling, prompts whose group teaches nothing give way to
    the next ones, as long as _DRAWS lasts. The monitor hears where sources failed, in whichever process.
    """
    kept: list[Group] = []
    draws = _DRAWS if config.dynamic_sampling else 1
    for draw in range(draws):
        chosen = stream.take(config.prompts_per_step - len(kept))
        seed = random.Random(f"{config.seed}/{step}/{draw}").getrandbits(62)

        def answered(places: list[int], chosen=chosen, seed=seed) -> list[Group]:
            asked = [chosen[place] for place in places]
            answers = generator.sample(
                [prompts[i] for i in asked],
                n=config.samples, max_new_tokens=config.max_tokens, temperature=config.temperature,
                seed=seed, places=places,
            )  # fmt: skip
            scores = score(asked, answers)
            return [Group(i, answers[number], scores[number]) for number, i in enumerate(asked)]

        drawn = machine.dealt(len(chosen), answered)
        monitor.hear(Scores.stack([group.scores for group in drawn]))
        kept += [group for group in drawn if group.teaches or draw == draws - 1]
        if len(kept) == config.prompts_per_step:
            break
    return kept
