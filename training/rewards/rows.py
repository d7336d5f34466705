"""What the sources of reward check answers by, looked at in every prompt's row before anything is loaded or sampled."""

from training.events import EventLog
from training.records import Prompt, RecordError
from training.rewards.settings import RewardSettings


def check_rows(prompts: list[Prompt], config: RewardSettings, log: EventLog) -> None:
    """Raises RecordError at the first row that a source could not check answers by.

    With on_reward_error=mask such rows are said, since their completions are going to be left out, and only a file
    without a single row that can be used is refused.
    """
    for name, source in {**config.reward_sources(), **config.judge_sources()}.items():
        wrong = [(prompt, problem) for prompt in prompts if (problem := source.wrong_in(prompt.reference))]
        if not wrong:
            continue
        prompt, (field, expected) = wrong[0]
        file, line = prompt.place or ("prompts", None)
        error = RecordError(file, line, field, f"{expected}, for the source {name}")
        if config.on_reward_error == "fail" or len(wrong) == len(prompts):
            raise error
        log.message(f"{error}; completions of {len(wrong)} of {len(prompts)} prompts are left out", "warning")
