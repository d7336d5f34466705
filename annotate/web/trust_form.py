"""The part of a project's settings that is about trust: guidelines, the test, thresholds, and what judging costs."""

from django import forms
from django.utils.translation import gettext_lazy as _


class ShareField(forms.FloatField):
    """A share from 0 to 1 that people write and read in percent."""

    def __init__(self, **options):
        super().__init__(**{"required": False, "min_value": 1, "max_value": 100, **options})

    def prepare_value(self, value):
        if not isinstance(value, float):
            return value
        percent = round(100 * value, 2)
        return int(percent) if percent.is_integer() else percent

    def clean(self, value):
        percent = super().clean(value)
        return None if percent is None else percent / 100


class TrustForm(forms.Form):
    """The settings of guidelines, the test, thresholds and cost. Shares are asked in percent."""

    title = _("Trust and cost")

    must_acknowledge_guidelines = forms.BooleanField(
        required=False,
        label=_("Changed guidelines must be acknowledged"),
        help_text=_("Annotators read what changed before their next pair. Corrections of typos are left out."),
    )
    qualification_pass = ShareField(
        label=_("Test passed from, in percent"),
        help_text=_("A test before the first pair, made of gold questions. Empty: there is no test."),
    )
    qualification_questions = forms.IntegerField(
        min_value=1, max_value=100, label=_("Questions in a test"), help_text=_("As far as there are as many.")
    )
    pause_below_gold = ShareField(
        label=_("Pause below this share of gold questions, in percent"),
        help_text=_(
            "Who most likely matches fewer hidden gold questions is paused, with a kind explanation: after at least 4 "
            "answers, and only if somebody with exactly this share would do as badly in fewer than 1 of 20 cases. "
            "Empty: nobody."
        ),
    )
    pause_below_seconds = forms.FloatField(
        required=False, min_value=0.1, label=_("Pause below this median time, in seconds"),
        help_text=_("Who judges faster is paused, with a kind explanation. Empty: nobody."),
    )  # fmt: skip
    pause_after = forms.IntegerField(
        min_value=1, max_value=10000, label=_("Judgments before anybody is paused"),
        help_text=_("The median time is that of as many last judgments."),
    )  # fmt: skip
    show_gold_accuracy = forms.BooleanField(
        required=False, label=_("Annotators see how many gold questions they matched")
    )
    rate_per_hour = forms.DecimalField(
        required=False, min_value=0, max_digits=8, decimal_places=2, label=_("What an hour of judging costs"),
        help_text=_("For the cost of a judgment on the page about throughput. Empty: unknown."),
    )  # fmt: skip
    currency = forms.CharField(required=False, max_length=8, label=_("Currency"))
