"""Rounds of a policy that answers prompts, has its answers scored, and learns from them: what such recipes share.

What is learned from a round's answers is the recipe's own (rejection sampling, online preference training).
"""

import functools

from training import checkpoints
from training.answering import Answer, Answerer
from training.events import EventLog
from training.loop import total_steps
from training.records import Prompt
from training.rewards.combine import Scores
from training.rewards.load import load_rewards
from training.rollouts import PromptStream
from training.showcase import Showcase


class Rounds:
    """The rounds that `config` asks for, from the newest checkpoint on, whose weights are restored into `policy`.

    On the progress bar a round is the prompts that it samples, then the optimizer steps that it takes on `rows` rows
    (None: as many as prompts). `metrics` are those of the last round done.
    """

    def __init__(
        self, recipe: str, policy, prompts: list[Prompt], config, machine, log: EventLog, rows: int | None = None
    ):
        self.config, self.machine, self.log, self.prompts = config, machine, log, prompts
        drawn = {"max_tokens": config.max_tokens, "temperature": config.temperature}
        self.answerer = Answerer(config.model, machine, log, **drawn)
        self.tokenizer = self.answerer.tokenizer
        self.rewards = load_rewards(config, machine, log, tokenizer=self.tokenizer)
        self.showcase = Showcase(
            policy, self.tokenizer, prompts,
            count=config.sample_prompts, max_new_tokens=config.max_tokens, score=self.rewards,
        )  # fmt: skip
        self.asked_a_round = config.prompts_per_round or len(prompts)
        self.steps = self.asked_a_round + total_steps(rows or self.asked_a_round, config)
        self.total = config.rounds * self.steps
        self.done, self.metrics = checkpoints.resume_rounds(policy, config)
        resumed_from = self.done * self.steps or None
        log.start(recipe, device=str(machine.device), total=self.total, resumed_from=resumed_from)
        self.stream = PromptStream(len(prompts), config.seed, self.done * self.asked_a_round)

    def __iter__(self):
        """The numbers of the rounds that are left."""
        return iter(range(self.done, self.config.rounds))

    def answered(self, policy, number: int) -> tuple[list[Prompt], list[list[Answer]], Scores]:
        """The round's prompts, `config.samples` answers to each, and their scores, `total` (prompts, samples)."""
        asked = [self.prompts[i] for i in self.stream.take(self.asked_a_round)]
        seed = f"{self.config.seed}/{number}"
        answers = self.answerer.answers(
            policy, asked, self.config.samples, seed=seed, first_step=number * self.steps, total=self.total
        )
        self.log.progress(self._sampled(number), self.total, "scoring")
        texts = [[answer.text for answer in group] for group in answers]
        return asked, answers, self.machine.by_main(functools.partial(self.rewards.groups, asked, texts))

    def report(self, number: int, metrics: dict) -> None:
        """What the round's answers are like, before anything is learned from them."""
        self.log.metrics(self._sampled(number), self.total, **metrics)

    def place(self, number: int) -> dict[str, int]:
        """Where on the progress bar the round's optimizer steps are, as a Trainer takes it."""
        return {"first_step": self._sampled(number), "run_total": self.total}

    def end(self, policy, number: int, metrics: dict) -> None:
        """Shows what the policy says now, and writes a checkpoint unless this was the last round."""
        self.metrics = metrics
        self.showcase.show(policy, self.log)
        if self.machine.is_main and number + 1 < self.config.rounds:
            checkpoints.save_round(policy, number + 1, metrics, self.config, self.log)

    def _sampled(self, number: int) -> int:
        return number * self.steps + self.asked_a_round
