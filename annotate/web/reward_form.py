"""The part of a run's form that names further rewards, and judges: a small form a kind of source, and JSON for more."""

from django import forms
from django.utils.translation import gettext_lazy as _

from annotate.errors import UserError
from annotate.models import ModelVersion, Project
from annotate.runs.reward_sources import FIELDS, own_sources
from training.records import CRITERIA
from training.rewards.spec import UNITS

_UNIT_NAMES = {"tokens": _("tokens"), "words": _("words"), "characters": _("characters")}
_CRITERION_NAMES = {"helpful": _("Helpful"), "truthful": _("Truthful"), "harmless": _("Harmless")}


class _Folded(forms.Form):
    """A row that is folded while nothing stands in it."""

    @property
    def is_touched(self) -> bool:
        """Whether something was sent that the form does not hold by itself. What was not sent at all is untouched."""
        return any(field.data and field.field.has_changed(field.initial, field.data) for field in self)


class SourceForm(_Folded):
    """One source: what it counts as, its weight, and in subclasses what else it can be told (`settings`)."""

    kind: str
    title: str
    help: str
    required_settings: tuple[str, ...] = ()

    use = forms.ChoiceField(label=_("Use it"), required=False)
    weight = forms.FloatField(
        label=_("Weight"), initial=1, required=False, widget=forms.NumberInput(attrs={"step": "any"}),
        help_text=_("What its score counts in the sum. A judge has none."),
    )  # fmt: skip

    def __init__(self, project: Project, judged: bool, data=None):
        super().__init__(data, prefix=self.kind)
        uses = [("", _("No")), ("rewards", _("As a reward"))] + ([("judges", _("As a judge"))] if judged else [])
        self.fields["use"].choices = uses
        for name in self.required_settings:
            self.fields[name].initial = ""  # once the source is used it is not optional
        self.prepare(project)

    def prepare(self, project: Project) -> None:
        """Fields that depend on the project."""

    def clean(self):
        cleaned = super().clean()
        if cleaned.get("use"):
            for name in self.required_settings:
                if name in cleaned and cleaned[name] in (None, ""):
                    self.add_error(name, _("Please fill this in."))
        elif self.is_touched:
            self.add_error("use", _("Choose what this counts as, or empty its settings."))
        return cleaned

    def settings(self) -> dict:
        """As the trainer has them."""
        return {}

    def source(self) -> dict:
        weight = self.cleaned_data["weight"]
        weighted = {} if self.cleaned_data["use"] == "judges" or weight in (None, 1) else {"weight": weight}
        return {"source": self.kind, **self.settings(), **weighted}


class _LengthForm(SourceForm):
    required_settings = ("limit",)

    limit = forms.IntegerField(label=_("Limit"), required=False, min_value=0)
    unit = forms.ChoiceField(
        label=_("Counted in"), required=False, initial=UNITS[0], choices=[(unit, _UNIT_NAMES[unit]) for unit in UNITS]
    )

    def settings(self) -> dict:
        return {self.cleaned_data["unit"] or UNITS[0]: self.cleaned_data["limit"]}


class MaxLengthForm(_LengthForm):
    kind, title = "max_length", _("Maximum length")
    help = _("1 for an answer up to the limit, else 0.")


class LengthPenaltyForm(_LengthForm):
    kind, title = "length_penalty", _("Length penalty")
    help = _("Takes something off for each token, word or character beyond the limit.")

    penalty = forms.FloatField(
        label=_("Penalty for each"), initial=0.01, required=False, min_value=0,
        widget=forms.NumberInput(attrs={"step": "any"}),
    )  # fmt: skip

    def settings(self) -> dict:
        penalty = self.cleaned_data["penalty"]
        return super().settings() | ({} if penalty is None else {"penalty": penalty})


class JSONForm(SourceForm):
    kind, title = "json", _("Valid JSON")
    help = _("1 for JSON that fits the prompt’s “schema”, where it has one, else 0.")

    fenced = forms.BooleanField(label=_("Inside a ``` block counts too"), required=False)

    def settings(self) -> dict:
        return {"fenced": True} if self.cleaned_data["fenced"] else {}


class RegexForm(SourceForm):
    kind, title = "regex", _("Regular expression")
    help = _("1 where the pattern is found in the answer, else 0.")
    required_settings = ("pattern",)

    pattern = forms.CharField(label=_("Pattern"), required=False, strip=False, max_length=1000)
    whole = forms.BooleanField(label=_("It must match the whole answer"), required=False)

    def settings(self) -> dict:
        whole = {"whole": True} if self.cleaned_data["whole"] else {}
        return {"pattern": self.cleaned_data["pattern"]} | whole


class MathForm(SourceForm):
    kind, title = "math", _("Numeric answer")
    help = _("1 where the answer’s last number is the prompt’s “answer”, else 0.")


class CodeForm(SourceForm):
    kind, title = "code", _("Code that passes tests")
    help = _(
        "The share of the prompt’s “tests” that the answer’s Python program passes. It runs shut in on the worker; "
        "where the worker’s machine cannot do that, the run ends and says so."
    )

    all = forms.BooleanField(label=_("Only all tests together count"), required=False)

    def settings(self) -> dict:
        return {"all": True} if self.cleaned_data["all"] else {}


class _RegistryForm(SourceForm):
    required_settings = ("registry",)
    of_kind: str

    registry = forms.ModelChoiceField(
        ModelVersion.objects.none(), label=_("Model"), required=False, to_field_name="name", empty_label=_("None")
    )

    def prepare(self, project: Project) -> None:
        self.fields["registry"].queryset = project.models.filter(kind=self.of_kind)

    def settings(self) -> dict:
        return {"registry": self.cleaned_data["registry"].name}


class RewardModelForm(_RegistryForm):
    kind, title, of_kind = "model", _("A second reward model"), ModelVersion.Kind.REWARD
    help = _("Another reward model of the project, added to the first.")


class JudgeForm(_RegistryForm):
    kind, title, of_kind = "judge", _("A policy’s opinion"), ModelVersion.Kind.POLICY
    help = _("A language model of the project is asked about each answer and says from 0 to 1 how good it is.")

    rubric = forms.ChoiceField(
        label=_("What is good"), required=False, initial=CRITERIA[0],
        choices=[(name, _CRITERION_NAMES[name]) for name in CRITERIA],
    )  # fmt: skip
    scale = forms.ChoiceField(
        label=_("It is asked for"), required=False, initial="rating",
        choices=[("rating", _("A rating from 1 to 10")), ("yes_no", _("Yes or no"))],
    )  # fmt: skip

    def settings(self) -> dict:
        given = {name: self.cleaned_data[name] for name in ("rubric", "scale") if self.cleaned_data[name]}
        return super().settings() | given


class MoreForm(_Folded):
    """What the small forms cannot say, and several sources of one kind."""

    def __init__(self, judged: bool, data=None):
        super().__init__(data, prefix="more")
        labels = {"rewards": _("More rewards, as JSON"), "judges": _("More judges, as JSON")}
        for name in FIELDS if judged else FIELDS[:1]:
            self.fields[name] = forms.CharField(
                label=labels[name], required=False, widget=forms.Textarea(attrs={"rows": 2, "spellcheck": "false"}),
                help_text=_("A list such as %(example)s") % {"example": '[{"source": "max_length", "words": 80}]'},
            )  # fmt: skip

    def clean(self):
        cleaned = super().clean()
        for name in self.fields:
            if cleaned.get(name):
                try:
                    cleaned[name] = own_sources(name, cleaned[name])
                except UserError as error:
                    self.add_error(name, error.message)
        return cleaned


KINDS = (
    MaxLengthForm, LengthPenaltyForm, JSONForm, RegexForm, MathForm, CodeForm, RewardModelForm, JudgeForm,
)  # fmt: skip


class RewardForms:
    """All of them as one."""

    def __init__(self, project: Project, judged: bool, data=None):
        self.judged = judged
        self.sources = [kind(project, judged, data) for kind in KINDS]
        self.more = MoreForm(judged, data)

    def is_valid(self) -> bool:
        forms_valid = [form.is_valid() for form in (*self.sources, self.more)]  # all of them say what is wrong
        return all(forms_valid)

    @property
    def is_used(self) -> bool:
        """Whether something stands in them."""
        return any(form.is_touched for form in (*self.sources, self.more))

    def params(self) -> dict:
        """{"rewards": rows, "judges": rows}, each where there are any."""
        found = {
            name: [form.source() for form in self.sources if form.cleaned_data["use"] == name]
            + (self.more.cleaned_data.get(name) or [])
            for name in FIELDS
        }
        return {name: given for name, given in found.items() if given}
