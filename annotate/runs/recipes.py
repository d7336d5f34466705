"""What the site may start: each recipe's data, models and form fields. Types, ranges and help come from the trainer."""

import re
from dataclasses import dataclass, field

from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from annotate.errors import UserError
from annotate.models import Dataset, ModelVersion
from annotate.runs.reward_sources import FIELDS, for_trainer, own_sources
from training.config import ConfigError, describe, resolve
from training.records import CRITERIA

DEMONSTRATIONS, PREFERENCES, PROMPTS = Dataset.Kind.DEMONSTRATIONS, Dataset.Kind.PREFERENCES, Dataset.Kind.PROMPTS
COMPARISONS = Dataset.Kind.COMPARISONS
POLICY, REWARD = ModelVersion.Kind.POLICY, ModelVersion.Kind.REWARD


@dataclass(frozen=True)
class SiteRecipe:
    """A recipe as the site offers it.

    `data` are the kinds of dataset it takes, the usual one first, and `data_setting` what the trainer calls the file;
    `scored` recipes take a reward model, further rewards, or both, and `judged` ones judges besides; `makes` is the
    kind of model it leaves, if any; `form` are the settings shown in its form with the site's defaults, which suit a
    small model on a CPU; `words` are what the site lets a setting be where the trainer takes a file's name too.
    Recipes that `asks` is true for take an endpoint of the project's chat in place of a model. `own_page` recipes are
    not started from the list of recipes.
    """

    title: str
    purpose: str
    data: tuple[str, ...]
    data_setting: str = "data"
    base: tuple[str, ...] = (POLICY,)
    scored: bool = False
    judged: bool = False
    makes: str | None = POLICY
    form: dict = field(default_factory=dict)
    words: dict[str, tuple[str, ...]] = field(default_factory=dict)
    asks: bool = False
    own_page: bool = False


def _policy_gradient(title, purpose, *, judged: bool = False, **form) -> SiteRecipe:
    """A preset of the policy-gradient family with the settings they all show, and `form` as far as it differs."""
    shown = {"steps": 60, "prompts_per_step": 16, "samples": 8, "learning_rate": 3e-4, "temperature": 1.0}
    return SiteRecipe(
        title=title,
        purpose=purpose,
        data=(PROMPTS, DEMONSTRATIONS, PREFERENCES),
        data_setting="prompts",
        scored=True,
        judged=judged,
        form={**shown, **form, "max_tokens": 64, "seed": 0, "on_reward_error": "fail"},
    )


RECIPES: dict[str, SiteRecipe] = {
    "sft": SiteRecipe(
        title=_("Fine-tune on demonstrations"),
        purpose=_("Supervised learning of ideal answers: the policy that the later steps start from."),
        data=(DEMONSTRATIONS, PREFERENCES),
        form={"epochs": 3, "batch_size": 32, "learning_rate": 5e-4, "heldout": "0.05", "seed": 0},
    ),
    "reward": SiteRecipe(
        title=_("Train a reward model"),
        purpose=_("Learns from the judgments to score a response as people would."),
        data=(PREFERENCES,),
        base=(POLICY, REWARD),
        makes=REWARD,
        form={"epochs": 2, "batch_size": 32, "learning_rate": 5e-4, "heldout": "0.1", "seed": 0},
    ),
    "rejection": SiteRecipe(
        title=_("Rejection sampling"),
        purpose=_("Samples several responses to each prompt and fine-tunes on those that the reward model likes best."),
        data=(PROMPTS, DEMONSTRATIONS, PREFERENCES),
        data_setting="prompts",
        scored=True,
        form={
            "samples": 8, "keep": "per_prompt", "rounds": 1, "temperature": 1.0, "max_tokens": 64, "epochs": 2,
            "learning_rate": 3e-4, "seed": 0, "on_reward_error": "fail",
        },
    ),
    "ppo": _policy_gradient(
        "PPO",
        _("Reinforcement learning against the reward model, held near the starting policy by a KL penalty."),
        prompts_per_step=32, samples=4, beta=0.2, value_learning_rate=3e-4,
    ),
    "grpo": _policy_gradient(
        "GRPO",
        _("Like PPO without a second model: each answer is compared with the other answers to its prompt."),
        beta=0.04,
    ),
    "dr_grpo": _policy_gradient(
        "Dr. GRPO", _("GRPO that divides neither by the group’s spread nor by an answer’s length."), beta=0.0,
    ),
    "dapo": _policy_gradient(
        "DAPO",
        _("GRPO that lets rare words rise further, and draws again where all answers to a prompt score the same."),
        clip_high=0.28, overlong_cache=None,
    ),
    "cgpo": _policy_gradient(
        "CGPO",
        _("Rewards under constraints: only answers that all judges pass are reinforced."),
        judged=True, kl_max=5.0,
    ),
    "rloo": _policy_gradient(
        "RLOO",
        _("Each answer is compared with the mean of the prompt’s other answers; the simplest that works well."),
        prompts_per_step=32, samples=4, beta=0.2,
    ),
    "reinforce": _policy_gradient(
        "REINFORCE",
        _("The oldest: each answer is compared with the mean of all answers of the step."),
        prompts_per_step=32, samples=4, beta=0.2,
    ),
    "a2c": _policy_gradient(
        "A2C",
        _("A second model learns what to expect, and each answer is compared with that."),
        prompts_per_step=32, samples=4, beta=0.2, value_learning_rate=3e-4,
    ),
    "dpo": SiteRecipe(
        title="DPO",
        purpose=_("Trains the policy on the judgments directly, without a reward model."),
        data=(PREFERENCES,),
        form={"epochs": 2, "batch_size": 32, "learning_rate": 2e-4, "beta": 0.1, "heldout": "0.05", "seed": 0},
    ),
    "online_dpo": SiteRecipe(
        title=_("Online DPO"),
        purpose=_("The policy answers, the reward model picks the best and the worst answer, and DPO learns the pair."),
        data=(PROMPTS, DEMONSTRATIONS, PREFERENCES),
        data_setting="prompts",
        scored=True,
        form={
            "rounds": 3, "samples": 8, "beta": 0.1, "learning_rate": 2e-4, "epochs": 1, "batch_size": 32,
            "temperature": 1.0, "max_tokens": 64, "seed": 0, "on_reward_error": "fail",
        },
    ),
    "judge": SiteRecipe(
        title=_("Ask a model to judge"),
        purpose=_("A model compares the responses, each pair in both orders. People’s votes stay apart from its own."),
        data=(COMPARISONS, PREFERENCES),
        makes=None,
        form={"rubric": CRITERIA[0], "clear": 0.75, "limit": None, "seed": 0, "on_reward_error": "mask"},
        words={"rubric": CRITERIA},
        asks=True,
    ),
    "generate": SiteRecipe(
        title=_("New round"),
        purpose=_("The policy answers prompts, and pairs of different answers go to the annotators."),
        data=(PROMPTS,),
        data_setting="prompts",
        makes=None,
        own_page=True,
        form={"samples": 2, "temperature": 1.0, "max_tokens": 128, "seed": 0},
    ),
}


@dataclass(frozen=True)
class FormField:
    """One setting in a form: `kind` is int, float, bool, str; `default` is the site's."""

    name: str
    label: str
    kind: str
    default: object
    choices: tuple
    help: str


def site_recipe(name: str) -> SiteRecipe:
    """Raises UserError for a recipe that the site does not start."""
    if name not in RECIPES:
        raise UserError(
            _("The site does not start a recipe %(name)s; it starts %(recipes)s.")
            % {"name": name, "recipes": ", ".join(RECIPES)},
            field="recipe",
        )
    return RECIPES[name]


def form_fields(name: str) -> list[FormField]:
    """The fields of the recipe's form, in order."""
    settings = {setting["name"]: setting for setting in describe(name)}
    return [
        FormField(
            name=key,
            label=key.replace("_", " ").capitalize(),
            kind=settings[key]["type"],
            default=default,
            choices=site_recipe(name).words.get(key) or tuple(settings[key]["choices"]),
            help=settings[key]["help"],
        )
        for key, default in site_recipe(name).form.items()
    ]


def checked_params(name: str, params: dict) -> dict:
    """The given settings in their types, the form's defaults filled in. Raises UserError naming the setting.

    Settings that name files or models are the site's to fill: a person chooses datasets and models of the project.
    """
    recipe = site_recipe(name)
    settings = {setting["name"]: setting for setting in describe(name)}
    for key in params:
        if key in settings and key not in recipe.words and _is_the_sites(settings[key]):
            raise UserError(
                _("%(key)s is set by the site: choose a dataset or a model of the project instead.") % {"key": key},
                field=key,
            )
    given = {**recipe.form, **params}
    if "heldout" in given:
        _check_share(given["heldout"])
    for key, words in recipe.words.items():
        if given[key] not in words:
            raise UserError(
                _("%(setting)s=%(value)s must be one of %(words)s")
                % {"setting": key, "value": given[key], "words": ", ".join(words)},
                field=key,
            )
    sources = {key: own_sources(key, given[key]) for key in FIELDS if given.get(key)}
    placeholders = {key: key for key, setting in settings.items() if setting["required"]}
    if recipe.scored:
        placeholders["reward_model"] = "reward_model"
    try:
        config = resolve(name, None, given | placeholders | {key: for_trainer(own) for key, own in sources.items()})
    except ConfigError as error:
        named = re.match(r"(\w+)=", str(error)) or re.search(r"has no setting (\w+)", str(error))
        said = gettext(error.sentence)
        raise UserError(
            said % error.values if error.values else said,
            field=error.values.get("setting") or (named and named.group(1)),
        ) from None
    return {key: getattr(config, key) for key in given} | sources


def _is_the_sites(setting: dict) -> bool:
    free_text = setting["type"] == "str" and not setting["choices"]
    return setting["name"] == "resume" or (free_text and setting["name"] != "heldout")


def _check_share(value) -> None:
    try:
        float(value)
    except (TypeError, ValueError):
        raise UserError(
            _("heldout=%(value)s must be a share of the rows from 0 to 0.9.") % {"value": value}, field="heldout"
        ) from None
