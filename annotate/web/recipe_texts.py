"""The recipes in plain words: what a run does, which settings matter most, and what may look wrong but is not."""

from dataclasses import dataclass

from django.utils.translation import gettext_lazy as _


@dataclass(frozen=True)
class RecipeText:
    """`paragraphs` stand above the form; `main` are the settings shown unfolded; `caveat` stands above the curves."""

    paragraphs: tuple[str, ...]
    main: tuple[str, ...] = ()
    caveat: str = ""
    labels: tuple[tuple[str, str], ...] = ()


CHOSEN_MAY_FALL = _(
    "The log-probability of the chosen responses may fall here, and that is no error: DPO only asks that the chosen "
    "response gains on the rejected one, so both may fall as long as the rejected one falls faster. Watch the margin "
    "and the accuracy; if the chosen one falls far while samples get worse, raise beta or train less."
)
REWARD_IS_NOT_ALL = _(
    "A rising reward is not yet a better policy: watch the KL divergence and read the samples. A fast growing KL with "
    "strange answers means that the policy exploits the reward model."
)
POLICY_LABELS = (
    ("steps", _("Rounds of sampling and updating")),
    ("beta", _("KL penalty")),
    ("samples", _("Answers per prompt")),
    ("on_reward_error", _("Where a reward fails")),
)

TEXTS = {
    "sft": RecipeText(
        (
            _(
                "The model reads prompts with ideal answers and learns to write such answers itself. It is the usual "
                "first step: everything later starts from this policy and is compared with it."
            ),
            _("It takes the project’s demonstrations, or the chosen responses of its preferences."),
        ),
        ("epochs",),
    ),
    "reward": RecipeText(
        (
            _(
                "The model learns to give a response a number, so that the response people chose gets a higher one "
                "than the response they did not choose. The policy is then trained to write what gets high numbers."
            ),
            _(
                "Some comparisons are kept back. The share of them in which the model agrees with the people is its "
                "held-out accuracy: 50 % is guessing, and people themselves rarely agree on more than 75 %."
            ),
        ),
        ("epochs",),
        _(
            "The accuracy on the training rows goes on rising after the held-out accuracy has stopped: from there on "
            "the model learns these rows by heart, and more epochs do harm."
        ),
    ),
    "rejection": RecipeText(
        (
            _(
                "The policy answers every prompt several times, the reward model scores the answers, and the policy is "
                "fine-tuned on the best ones. It is the simplest way to use a reward model, and a robust one."
            ),
        ),
        ("samples", "keep"),
        labels=POLICY_LABELS,
    ),
    "ppo": RecipeText(
        (
            _(
                "The policy answers prompts, the reward model scores each answer, and the policy is moved a little "
                "towards what scored better than expected; then again with new answers. A second model learns what to "
                "expect."
            ),
            _(
                "A policy may find answers that the reward model likes and people do not. The KL penalty keeps it near "
                "the policy it started from: raise it when the answers get strange while the reward goes on rising."
            ),
        ),
        ("steps", "beta"),
        REWARD_IS_NOT_ALL,
        POLICY_LABELS,
    ),
    "grpo": RecipeText(
        (
            _(
                "The policy answers each prompt several times. An answer that scores better than the others to its "
                "prompt is made more likely, a worse one less: no second model is needed to know what to expect."
            ),
        ),
        ("steps", "beta"),
        REWARD_IS_NOT_ALL,
        POLICY_LABELS,
    ),
    "dr_grpo": RecipeText(
        (
            _(
                "GRPO divides by the spread of a prompt’s scores and by an answer’s length, which favours prompts that "
                "are nearly solved and long wrong answers. This variant divides by neither."
            ),
        ),
        ("steps", "beta"),
        REWARD_IS_NOT_ALL,
        POLICY_LABELS,
    ),
    "dapo": RecipeText(
        (
            _(
                "GRPO for long runs with rules as rewards: rare words may rise further than usual ones may fall, "
                "prompts whose answers all score the same are drawn again, and answers near the length limit cost "
                "something. There is no KL penalty."
            ),
        ),
        ("steps",),
        REWARD_IS_NOT_ALL,
        POLICY_LABELS,
    ),
    "cgpo": RecipeText(
        (
            _(
                "Several rewards pull in several directions, and a policy trades one for another. Here judges draw "
                "lines that no reward can buy: an answer that fails one of them is made less likely, however well it "
                "scores."
            ),
        ),
        ("steps", "kl_max"),
        REWARD_IS_NOT_ALL,
        (*POLICY_LABELS, ("kl_max", _("KL at which nothing is left of a reward"))),
    ),
    "rloo": RecipeText(
        (
            _(
                "Each answer is compared with the mean score of the prompt’s other answers and moved as a whole, once "
                "a step: few settings, no second model."
            ),
        ),
        ("steps", "beta"),
        REWARD_IS_NOT_ALL,
        POLICY_LABELS,
    ),
    "reinforce": RecipeText(
        (_("Each answer is compared with the mean score of the step. Simple and noisy: good to compare others with."),),
        ("steps", "beta"),
        REWARD_IS_NOT_ALL,
        POLICY_LABELS,
    ),
    "a2c": RecipeText(
        (_("As PPO, a second model learns what to expect; the policy is moved once for each answer, without a clip."),),
        ("steps", "beta"),
        REWARD_IS_NOT_ALL,
        POLICY_LABELS,
    ),
    "dpo": RecipeText(
        (
            _(
                "The policy learns from the comparisons directly, without a reward model: it is moved to make the "
                "chosen response more likely than the rejected one, measured against the policy it started from."
            ),
            _(
                "Beta says how dear it is to leave that policy: small values learn more from the comparisons, large "
                "values stay closer to the start."
            ),
        ),
        ("epochs", "beta"),
        CHOSEN_MAY_FALL,
    ),
    "online_dpo": RecipeText(
        (
            _(
                "The policy answers every prompt several times and the reward model scores the answers. Of each prompt "
                "the best and the worst answer are a pair, which DPO learns from; the next round begins with the "
                "answers of the policy that has learned."
            ),
            _(
                "DPO on the project’s comparisons goes on learning about answers that the policy no longer gives. Here "
                "the pairs are its own, but judged by the reward model, so what that gets wrong is learned too."
            ),
        ),
        ("rounds", "beta"),
        CHOSEN_MAY_FALL,
        (*POLICY_LABELS, ("rounds", _("Rounds of answering and learning"))),
    ),
    "judge": RecipeText(
        (
            _(
                "A model is asked which of two responses is better, by a rubric. Models lean towards what they read "
                "first, so each pair is asked in both orders; where the winner changes with the order, it is a tie."
            ),
            _(
                "Nothing is mixed into people’s votes: when the run has ended you may import the verdicts as votes of "
                "the judge, and a snapshot takes people’s votes only unless you say otherwise. With preferences as "
                "data, the run measures how often the judge agrees with people."
            ),
        ),
        ("rubric",),
        labels=(
            ("rubric", _("What is better")),
            ("clear", _("Clearly better from this probability on")),
            ("limit", _("Judge only the first so many")),
            ("on_reward_error", _("Where the judge gives no verdict")),
        ),
    ),
    "generate": RecipeText((_("The policy answers the prompts of a round, each several times."),)),
}


def text_of(recipe: str) -> RecipeText:
    return TEXTS.get(recipe, RecipeText(()))
