"""The form that starts a run, built from what the recipe can be told."""

from django import forms
from django.utils.formats import date_format
from django.utils.translation import gettext, ngettext
from django.utils.translation import gettext as _

from annotate.datasets.snapshots import ready_snapshots_of
from annotate.models import Dataset, ModelVersion, Project
from annotate.runs.recipes import FormField, SiteRecipe, form_fields
from annotate.web.numbers import figure
from annotate.web.recipe_texts import text_of
from annotate.web.reward_form import RewardForms


class ModelChoice(forms.ModelChoiceField):
    """A model of the registry by name; `promoted_pk` is marked, and where kinds are mixed so are reward models."""

    def __init__(self, *args, promoted_pk: int | None = None, mixed: bool = False, **kwargs):
        self.promoted_pk, self.mixed = promoted_pk, mixed
        super().__init__(*args, **kwargs)

    def label_from_instance(self, model: ModelVersion) -> str:
        promoted, reward = model.pk == self.promoted_pk, self.mixed and model.kind == ModelVersion.Kind.REWARD
        if promoted and reward:
            return _("%(name)s (reward model) – promoted") % {"name": model.name}
        if reward:
            return _("%(name)s (reward model)") % {"name": model.name}
        return _("%(name)s – promoted") % {"name": model.name} if promoted else model.name


class DatasetChoice(forms.ModelChoiceField):
    def label_from_instance(self, dataset: Dataset) -> str:
        rows = ngettext("%(count)s row", "%(count)s rows", dataset.rows) % {"count": figure(dataset.rows)}
        day = date_format(dataset.created_at, _("j M Y"))
        return f"{dataset.get_kind_display()} {dataset.number}: {rows}, {day}"


class RunForm(forms.Form):
    """Data and models first, then the settings that matter most; the others are `advanced_fields`."""

    def __init__(self, project: Project, name: str, recipe: SiteRecipe, data=None):
        super().__init__(data)
        text = text_of(name)
        self.settings = {setting.name: setting for setting in form_fields(name)}
        if recipe.data:
            self.fields["dataset"] = DatasetChoice(
                ready_snapshots_of(project).filter(kind__in=recipe.data),
                required=False,
                label=_("Data"),
                empty_label=_("%(data)s of the project, as of now") % {"data": Dataset.Kind(recipe.data[0]).label},
                help_text=_("Whatever you choose is frozen, so that the model’s data can be cited and used again."),
            )
        self.fields["base_model"] = ModelChoice(
            project.models.filter(kind__in=recipe.base),
            label=_("Judge") if recipe.asks else _("Start from"),
            initial=project.policy_id,
            promoted_pk=project.policy_id,
            mixed=len(recipe.base) > 1,
            required=not recipe.asks,
            empty_label=_("None") if recipe.asks else None,
        )
        if recipe.asks:
            self.fields["endpoint"] = forms.ModelChoiceField(
                project.chat_endpoints.filter(enabled=True, model__isnull=True),
                label=_("Or a server"),
                required=False,
                empty_label=_("None: the model above"),
                help_text=_("One that an admin has set up for chats. Its key stays with the worker."),
            )
        self.rewards = RewardForms(project, recipe.judged, data) if recipe.scored else None
        if recipe.scored:
            self.fields["reward_model"] = ModelChoice(
                project.models.filter(kind=ModelVersion.Kind.REWARD),
                label=_("Reward model"),
                initial=project.reward_model_id,
                promoted_pk=project.reward_model_id,
                required=False,
                empty_label=_("None: further rewards alone"),
            )
        labels = dict(text.labels)
        for setting in self.settings.values():
            self.fields[setting.name] = _field(setting, labels.get(setting.name) or gettext(setting.label))
        self.fields["title"] = forms.CharField(
            max_length=120,
            required=False,
            label=_("Title"),
            help_text=_("To find it again. Without one it goes by its number."),
        )
        self._advanced = [key for key in self.settings if key not in text.main]

    @property
    def main_fields(self):
        return [self[name] for name in self.fields if name not in self._advanced]

    @property
    def advanced_fields(self):
        return [self[name] for name in self._advanced]

    @property
    def advanced_errors(self) -> bool:
        return any(self.errors.get(name) for name in self._advanced)

    def is_valid(self) -> bool:
        rewards = self.rewards is None or self.rewards.is_valid()
        return super().is_valid() and rewards

    def params(self) -> dict:
        """The settings as given; what was left empty is the recipe's default."""
        given = {name: self.cleaned_data[name] for name in self.settings if self.cleaned_data[name] not in (None, "")}
        return given | (self.rewards.params() if self.rewards else {})


def _field(setting: FormField, label: str) -> forms.Field:
    """Only the outer shape: ranges are checked by the service, which has them from the trainer."""
    help_text = gettext(setting.help[:1].upper() + setting.help[1:])
    common = {"label": label, "initial": setting.default, "help_text": help_text, "required": False}
    if setting.choices:
        return forms.ChoiceField(choices=[(choice, _readable(choice)) for choice in setting.choices], **common)
    if setting.kind == "bool":
        return forms.BooleanField(**common)
    if setting.kind == "int":
        return forms.IntegerField(**common)
    if setting.kind == "float":
        return forms.FloatField(widget=forms.NumberInput(attrs={"step": "any"}), **common)
    return forms.CharField(**common)


def _readable(choice) -> str:
    words = gettext(str(choice).replace("_", " "))
    return words[:1].upper() + words[1:]
