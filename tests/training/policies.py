"""A tiny policy-gradient run for tests: random models, four prompts, and a reward for one token."""

import torch
from transformers import LlamaForSequenceClassification

from tests.training.tiny import make_llama
from training.actors import Actors, Position, Round, make_generator
from training.config import resolve
from training.events import EventLog
from training.logprobs import supports_shared_prefix
from training.loop import Means
from training.monitors import Monitor
from training.recipes.policy_gradient import collect, improve
from training.rewards.combine import Scores
from training.rollouts import PromptStream, RunningDeviation
from training.runtime import start

PRESETS = ["reinforce", "a2c", "rloo", "ppo", "grpo", "dr_grpo", "dapo"]
PROMPTS = [[10, 11, 12], [13], [14, 15], [16, 17, 18, 19]]
VOCABULARY, EOS, PAD, REWARDED = 24, 1, 0, 7


def settings_of(preset, output, **settings):
    fixed = {"model": "m", "reward_model": "r", "prompts": "p", "device": "cpu", "precision": "fp32"}
    sizes = {"prompts_per_step": 4, "samples": 4, "max_tokens": 8, "checkpoint_every": 0}
    return resolve(preset, None, {**fixed, **sizes, "output": str(output), **settings})


def make_actors(*, value=True, seed=0, shared=True) -> Actors:
    policy, reference = (make_llama(VOCABULARY, seed=seed) for _ in range(2))
    value_model = None
    if value:
        torch.manual_seed(seed + 1)
        value_model = LlamaForSequenceClassification(make_llama(VOCABULARY).config).eval()
        value_model.score = torch.nn.Linear(32, 1, bias=False)
        torch.nn.init.zeros_(value_model.score.weight)
    for model in (policy, reference, value_model) if shared else ():
        assert model is None or supports_shared_prefix(model)
    return Actors(policy, reference, value_model, eos_id=EOS, pad_id=PAD, shared=shared)


def count_rewarded(indices, groups):
    """How often a completion has the rewarded token: (prompts, samples)."""
    return torch.tensor([[float(completion.ids.count(REWARDED)) for completion in group] for group in groups])


def scored(score):
    """A function that gives rewards, as one that gives scores of sources; one that gives such is left as it is."""

    def give(indices, groups) -> Scores:
        given = score(indices, groups)
        return given if isinstance(given, Scores) else Scores(given)

    return give


def moved(actors: Actors, by: float = 0.05) -> Actors:
    """The policy a little away from the reference, so that a KL is there to be seen."""
    torch.manual_seed(7)
    for parameter in actors.policy.parameters():
        parameter.data.add_(by * torch.randn_like(parameter))
    return actors


def logits_of(model, example, completion: int, *, temperature: float) -> torch.Tensor:
    """log-probabilities (tokens, vocabulary) at a completion's tokens, by the model's own forward."""
    ids = torch.tensor([[*example.prompt_ids, *example.completions[completion]]])
    with torch.no_grad():
        return (model(ids).logits[0, len(example.prompt_ids) - 1 : -1] / temperature).log_softmax(-1)


def quiet(settings):
    return EventLog(settings.output, enabled=False)


def learn(settings, actors, score=count_rewarded):
    return improve(actors, PROMPTS, scored(score), settings, start(settings, quiet(settings)), quiet(settings))


def first_round(settings, actors, score=count_rewarded):
    machine = start(settings, quiet(settings))
    position = Position(0, settings.beta, PromptStream(len(PROMPTS), 0), RunningDeviation(), PromptStream(0, 0))
    generator = make_generator(actors, settings, machine)
    monitor = Monitor(quiet(settings), settings, position.watched)
    rollout = collect(actors, generator, PROMPTS, scored(score), position, settings, machine, monitor)
    position.round = Round(rollout, Means(machine.device))
    return machine, position, rollout
