"""The groups of a round: prompts dealt out to the processes, answered and scored, and put together again."""

import random
from collections.abc import Callable
from dataclasses import dataclass

import torch

from training.actors import Position
from training.advantages import groups_differ
from training.generators import Generator
from training.monitors import Monitor
from training.recipes.presets import PolicyGradientConfig
from training.rewards.combine import Scores
from training.rewards.shaping import shaped
from training.rollouts import RunningDeviation
from training.runtime import Runtime
from training.sampling import Completion

Score = Callable[[list[int], list[list[Completion]]], Scores]
"""Takes prompts' indices and a group of completions for each, and gives scores (prompts, completions)."""


@dataclass(frozen=True)
class Group:
    prompt: int
    """its index among all prompts"""
    completions: list[Completion]
    scores: Scores
    """(completions,)"""

    def teaches(self, deviation: RunningDeviation, config: PolicyGradientConfig) -> bool:
        """Whether anything tells its completions apart: rewards, as the rounds before shaped them, or verdicts.

        A group in which nothing does, or that has no score at all, has no advantages.
        """
        lengths = torch.tensor([len(completion.ids) for completion in self.completions])
        truncated = torch.tensor([completion.truncated for completion in self.completions])
        rewards = shaped(self.scores.total, lengths, truncated, deviation, config)
        counted = ~rewards.isnan()
        return bool(groups_differ(counted[None], rewards[None], self.scores.passed[None]))


def draw_groups(
    generator: Generator,
    prompts: list[list[int]],
    score: Score,
    position: Position,
    config: PolicyGradientConfig,
    machine: Runtime,
    monitor: Monitor,
) -> tuple[list[Group], float]:
    """`config.prompts_per_step` groups of the next prompts, the same list in every process; and the share of the groups
    drawn that gave way to them.

    What a completion's random numbers are is fixed by the seed, the step and the prompt's place in the round, so the
    number of processes changes nothing about it. With dynamic sampling, prompts whose group teaches nothing give way to
    the next ones, `config.draws` times at most. The monitor hears where sources failed, in whichever process.
    """
    kept: list[Group] = []
    draws = config.draws if config.dynamic_sampling else 1
    total = 0
    for draw in range(draws):
        chosen = position.prompts.take(config.prompts_per_step - len(kept))
        seed = random.Random(f"{config.seed}/{position.step}/{draw}").getrandbits(62)

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
        total += len(drawn)
        kept += [group for group in drawn if group.teaches(position.deviation, config) or draw == draws - 1]
        if len(kept) == config.prompts_per_step:
            break
    return kept, 1 - len(kept) / total
