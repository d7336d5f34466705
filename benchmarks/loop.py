"""`make loop`: the whole loop with simulated annotators, and whether each way of training a policy learns from it.

Starter model, SFT, a round of answers, annotators who label them through the services that people use, a reward model,
then rejection sampling, PPO and DPO, each from the SFT policy. Every policy answers prompts that nothing was trained
on, and the hidden gold rule of the demo world says how often it beats the SFT policy. Prints Markdown.
"""

import os
import random
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

POOL_PROMPTS = 1600
DEMONSTRATIONS = 600
ROUND_PROMPTS = 1500
RESPONSES = 3
HELDOUT_PROMPTS = 250
SAMPLES = 4
ANSWER_TOKENS = 64

SETTINGS = {
    "sft": {"epochs": 3, "batch_size": 32, "learning_rate": 5e-4},
    "generate": {"max_tokens": ANSWER_TOKENS},
    "reward": {"epochs": 2, "batch_size": 32, "learning_rate": 5e-4, "heldout": 0.1},
    "rejection": {
        "samples": 8, "rounds": 2, "epochs": 2, "learning_rate": 3e-4, "max_tokens": ANSWER_TOKENS,
    },
    "ppo": {
        "steps": 60, "prompts_per_step": 32, "samples": 4, "beta": 0.2, "learning_rate": 3e-4,
        "value_learning_rate": 3e-4, "max_tokens": ANSWER_TOKENS,
    },
    "dpo": {"epochs": 2, "batch_size": 32, "learning_rate": 2e-4, "beta": 0.1, "heldout": 0.05},
}  # fmt: skip
LEARNERS = ("rejection", "ppo", "dpo")


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="prefloop-loop-") as directory:
        os.environ |= {"PREFLOOP_VAR": directory, "DJANGO_SETTINGS_MODULE": "annotate.settings"}
        import django

        django.setup()
        print(run_loop(), flush=True)


def run_loop() -> str:
    """The loop once, in the database and folders that Django is set up for. Returns the report in Markdown."""
    from django.core.management import call_command

    from annotate.runs.directory import model_path

    clock = Clock()
    call_command("migrate", verbosity=0)
    with clock("starter"):
        starter = build_starter()
    project, annotators = make_project(starter)
    with clock("SFT"):
        sft = train(project, "sft", base_model=project.models.get(name="starter"))
    with clock("round"):
        pairs = new_round(project, sft)
    with clock("labeling"):
        judgments = label(project, annotators)
    with clock("reward model"):
        reward = train(project, "reward", base_model=sft)
    policies = {"starter": project.models.get(name="starter"), "SFT": sft}
    for recipe in LEARNERS:
        with clock(recipe):
            policies[recipe] = train(
                project, recipe, base_model=sft, **({} if recipe == "dpo" else {"reward_model": reward})
            )
    with clock("held-out answers"):
        answers = {
            name: Answers.of(str(model_path(policy)), seed) for seed, (name, policy) in enumerate(policies.items())
        }
    return report(answers, reward.metrics, {"pairs": pairs, "judgments": judgments}, clock)


class Clock:
    """Seconds of every stage, said as they end."""

    def __init__(self):
        self.seconds: dict[str, float] = {}

    @contextmanager
    def __call__(self, stage: str):
        begin = time.monotonic()
        yield
        self.seconds[stage] = time.monotonic() - begin
        print(f"{stage}: {self.seconds[stage]:.0f} s", file=sys.stderr, flush=True)


def build_starter() -> Path:
    from django.conf import settings

    output = settings.MODELS_DIR / "starter"
    command = [sys.executable, "-m", "training", "starter", "--output", str(output)]
    subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
    return output / "model"


def make_project(starter: Path):
    """A project with prompts, demonstrations and the starter model, and its simulated annotators {user: Annotator}."""
    from annotate.datasets.importing import import_items
    from annotate.models import Membership, User
    from annotate.projects import start_project
    from annotate.runs.registry import add_external
    from training.records import Demonstration, Prompt
    from world import demo

    project = start_project(name="Loop", description=demo.DESCRIPTION)
    import_items(project, [Prompt(messages) for messages in demo.prompts(POOL_PROMPTS)])
    import_items(project, [Demonstration(*pair) for pair in demo.demonstrations(DEMONSTRATIONS)])
    add_external(project, "policy", "starter", str(starter))
    annotators = {}
    for person in demo.TEAM:
        user = User.objects.create_user(person.name)
        Membership.objects.create(project=project, user=user, role=Membership.Role.ANNOTATOR)
        annotators[user] = person
    project.refresh_from_db()
    return project, annotators


def train(project, recipe: str, **models):
    """The model that a run of the recipe makes, the run queued and supervised as by a worker."""
    from annotate.runs.launch import create_run

    run = create_run(project, recipe, user=None, params=SETTINGS[recipe], **models)
    supervise(run)
    return run.model_made


def supervise(run) -> None:
    from annotate.background.presence import worker_name
    from annotate.runs import claim, follow

    follow.supervise(claim.claim(run.pk, worker_name()))
    run.refresh_from_db()
    if run.state != run.State.SUCCEEDED:
        raise SystemExit(f"{run.recipe} {run.state}: {run.error}\n{run.log_tail}")


def new_round(project, policy) -> int:
    """The number of pairs in the queue after the policy has answered prompts of the pool."""
    from annotate.runs.rounds import start_round

    opened = start_round(
        project, policy, user=None, prompts=ROUND_PROMPTS, responses_per_prompt=RESPONSES, params=SETTINGS["generate"]
    )
    supervise(opened.run)
    return project.comparisons.count()


def label(project, annotators) -> int:
    """Everybody takes pairs from the queue in turn until it is empty. Returns the number of judgments."""
    from annotate.labeling.queue import reserve_next
    from annotate.labeling.submit import submit_judgment
    from annotate.models import Judgment

    rng = random.Random(0)
    working = list(annotators.items())
    while working:
        for user, person in list(working):
            pair = reserve_next(project, user, rng=rng)
            if pair is None:
                working.remove((user, person))
                continue
            said = person.judge(pair.comparison.prompt.messages, pair.left.text, pair.right.text, rng)
            submit_judgment(
                user, pair.key, said.rating, helpful=said.helpful, truthful=said.truthful, harmless=said.harmless
            )
    return Judgment.objects.filter(comparison__project=project).count()


class Answers:
    """A policy's answers to the held-out prompts and what the gold rule says of them, each (prompts, samples)."""

    def __init__(self, prompts, texts):
        from world import gold
        from world.tasks import find

        self.texts = texts
        self.aspects = [
            [gold.aspects(find(messages), text) for text in row] for messages, row in zip(prompts, texts, strict=True)
        ]
        self.scores = [[aspects.score for aspects in row] for row in self.aspects]

    @classmethod
    def of(cls, directory: str, seed: int) -> "Answers":
        """Different seeds for policies to be compared: else both would be lucky with the same random numbers."""
        from training.chat import decode_completion, encode_prompt
        from training.models import load_policy, load_tokenizer
        from training.sampling import sample
        from world import demo

        model, tokenizer = load_policy(directory), load_tokenizer(directory)
        prompts = demo.heldout_prompts(HELDOUT_PROMPTS)
        completions = sample(
            model, [encode_prompt(tokenizer, messages) for messages in prompts], n=SAMPLES, seed=seed,
            max_new_tokens=ANSWER_TOKENS, eos_id=tokenizer.eos_token_id, pad_id=tokenizer.pad_token_id,
        )  # fmt: skip
        return cls(prompts, [[decode_completion(tokenizer, one.ids) for one in row] for row in completions])

    def mean(self, of) -> float:
        values = [of(aspects, text) for row, texts in zip(self.aspects, self.texts, strict=True)
                  for aspects, text in zip(row, texts, strict=True)]  # fmt: skip
        return sum(values) / len(values)


def report(answers: dict[str, Answers], reward_metrics: dict, counts: dict, clock: Clock) -> str:
    from benchmarks.intervals import win_rate

    lines = [
        f"Gold win rate against the SFT policy on {HELDOUT_PROMPTS} held-out prompts, {SAMPLES} answers of each "
        "policy at temperature 1, ties as halves, 95 % bootstrap interval over prompts:",
        "",
        "| policy | gold win rate against SFT | gold score | right | kind | words | training |",
        "| --- | --- | ---: | ---: | ---: | ---: | ---: |",
    ]
    for name, of_policy in answers.items():
        wins = "—" if name == "SFT" else str(win_rate(of_policy.scores, answers["SFT"].scores))
        lines.append(
            f"| {name} | {wins} | {of_policy.mean(lambda aspects, _: aspects.score):.2f} "
            f"| {of_policy.mean(lambda aspects, _: aspects.truthful > 0):.0%} "
            f"| {of_policy.mean(lambda aspects, _: aspects.harmless == 0):.0%} "
            f"| {of_policy.mean(lambda _, text: len(text.split())):.1f} | {clock.seconds[name]:.0f} s |"
        )
    other = ("round", "labeling", "reward model", "held-out answers")
    lines += [
        "",
        f"The reward model learned from {counts['judgments']} judgments of {counts['pairs']} pairs and agrees with "
        f"{reward_metrics['accuracy_heldout']:.1%} of held-out judgments. "
        + " · ".join(f"{stage} {clock.seconds[stage]:.0f} s" for stage in other)
        + f" · all {sum(clock.seconds.values()):.0f} s.",
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
