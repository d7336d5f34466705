"""Upload of data: a file lands whole or not at all, and the page says what landed or which line is wrong."""

import dataclasses
from pathlib import Path

from django import forms
from django.db.models import Sum
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from annotate.datasets.uploads import import_upload
from annotate.errors import UserError
from annotate.labeling.holding import leaks_of
from annotate.models import Comparison, Demonstration, PersonTally, Project, Prompt
from annotate.web.common import ADMIN, page, project_view
from annotate.web.forms import add_user_error

# What a file holds, as a person says it -> (kind, format) as the importers name it.
CHOICES = {
    "prompts": (_("Prompts to answer"), "prompts", "native"),
    "comparisons": (_("Comparisons: responses to be judged in pairs"), "comparisons", "native"),
    "rankings": (_("Rankings: 4 to 9 responses to be ranked at once"), "comparisons", "native"),
    "preferences": (_("Preferences: pairs with a winner"), "preferences", "native"),
    "demonstrations": (_("Demonstrations: prompts with ideal answers"), "demonstrations", "native"),
    "judgments": (_("Judgments: a snapshot of judgments from another project or server"), "judgments", "native"),
    "hh": (_("HH-RLHF: chosen and rejected dialogues"), "preferences", "hh"),
    "ukp": (_("UKP convincingness votes"), "comparisons", "ukp"),
}
EXAMPLES = [
    (_("Prompts"), _("Policies train on them and answer them in new rounds."), '{"prompt": "How do tides work?"}'),
    (
        _("Comparisons"),
        _("Two or more responses to one prompt; every pair goes to the annotators. “model” is never shown to them."),
        '{"prompt": "How do tides work?", "responses": [{"text": "The Moon…", "model": "base"}, {"text": "Wind…"}]}',
    ),
    (
        _("Prompts with a reference"),
        _("What rewards check an answer by: “answer” a number, “tests” Python, “schema” JSON. The last upload counts."),
        '{"prompt": "What is 6 times 7?", "answer": "42"}',
    ),
    (
        _("Preferences"),
        _("Pairs that were judged elsewhere; “strength” is better, slightly_better or tie."),
        '{"prompt": "How do tides work?", "chosen": "The Moon…", "rejected": "Wind…", "strength": "better"}',
    ),
    (
        _("Demonstrations"),
        _("An ideal answer, for fine-tuning."),
        '{"prompt": "How do tides work?", "completion": "The Moon pulls on the water…"}',
    ),
    (
        _("Chats"),
        _("Wherever a prompt stands, a chat may stand."),
        '{"prompt": [{"role": "user", "content": "Hello"}, {"role": "assistant", "content": "Hello!"}, '
        '{"role": "user", "content": "How do tides work?"}]}',
    ),
]

# The counts of an import's report.
REPORTED = {
    "rows": _("Rows"), "prompts": _("Prompts"), "responses": _("Responses"), "comparisons": _("Comparisons"),
    "judgments": _("Judgments"), "demonstrations": _("Demonstrations"), "annotators": _("Annotators"),
    "duplicates": _("Duplicates"), "contradictions": _("Contradictions"), "skipped": _("Skipped"),
}  # fmt: skip


class UploadForm(forms.Form):
    what = forms.ChoiceField(
        choices=[(name, title) for name, (title, *_) in CHOICES.items()],
        widget=forms.RadioSelect,
        label=_("What is in it"),
    )
    file = forms.FileField(
        label=_("File"), help_text=_("JSON lines (.jsonl, also as .jsonl.gz) or Parquet (.parquet).")
    )


@project_view(ADMIN)
def upload(request: HttpRequest, project: Project) -> HttpResponse:
    form = UploadForm(request.POST or None, request.FILES or None)
    context = {}
    if form.is_valid():
        try:
            context = _import(request, project, form)
            form = UploadForm()
        except UserError as error:
            add_user_error(
                form, UserError(_("%(message)s Nothing was changed.") % {"message": error.message}, field="file")
            )
    status = 422 if form.is_bound and form.errors else 200
    formats = [{"title": title, "text": text, "line": line} for title, text, line in EXAMPLES]
    return page(
        request, "data/upload.html", project, status, form=form, formats=formats, counts=_counts(project),
        leaks=leaks_of(project).count(), **context,
    )  # fmt: skip


def _import(request: HttpRequest, project: Project, form: UploadForm) -> dict:
    what = form.cleaned_data["what"]
    _title, kind, format = CHOICES[what]
    uploaded = form.cleaned_data["file"]
    report = import_upload(
        project, uploaded, kind, format=format, rankings=what == "rankings", user=request.user
    )
    return {"filename": Path(uploaded.name).name, "report": _report(report), "report_links": _links(project, kind)}


def _report(report) -> list[tuple[str, int]]:
    """The counts of an import by name, zeros left out."""
    counts = {field.name: getattr(report, field.name) for field in dataclasses.fields(report)}
    new = [(REPORTED[name], count) for name, count in counts.items() if name in REPORTED and count]
    why = report.skipped_because.items()
    return new + [(_("Left out: %(reason)s") % {"reason": gettext(reason)}, count) for reason, count in why]


def _links(project: Project, kind: str) -> list[dict]:
    targets = {"prompts": [(_("New round"), "round_new")], "comparisons": [(_("Compare"), "label")]}
    links = targets.get(kind, [(_("Start a run"), "runs")])
    return [{"title": title, "url": reverse(name, args=[project.slug])} for title, name in links]


def _counts(project: Project) -> list[tuple[str, int]]:
    return [
        (_("Prompts for policies"), Prompt.objects.filter(project=project, in_pool=True).count()),
        (_("Comparisons"), Comparison.objects.filter(project=project).count()),
        (_("Judgments"), PersonTally.objects.filter(project=project).aggregate(n=Sum("judged", default=0))["n"]),
        (
            _("Demonstrations"),
            Demonstration.objects.filter(prompt__project=project, state=Demonstration.State.ACCEPTED).count(),
        ),
    ]
