"""Datasets: ask for a snapshot, list them and follow those that are being made, download one."""

from collections.abc import Iterable

from django import forms
from django.contrib import messages
from django.core.paginator import Paginator
from django.http import Http404, HttpRequest, HttpResponse, StreamingHttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils.translation import gettext_lazy as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET, require_POST

from annotate.background import presence
from annotate.datasets.exporting import export
from annotate.datasets.lines import PEOPLE, judges_of
from annotate.datasets.snapshots import ready_snapshots_of, request_snapshot, snapshots_of, try_again
from annotate.errors import UserError
from annotate.models import Dataset, Project
from annotate.web.common import RESEARCHER, page, project_view
from annotate.web.forms import add_user_error
from annotate.web.numbers import figure

DATASETS_A_PAGE = 25
FORMATS = {"jsonl", "parquet"}


class SnapshotForm(forms.Form):
    kind = forms.ChoiceField(
        choices=Dataset.Kind.choices, label=_("Kind"), help_text=_("Preferences are what training reads.")
    )
    votes = forms.ChoiceField(
        choices=[
            ("majority", _("One row per pair: the majority")),
            ("all", _("One row per judgment")),
            ("adjudicated", _("One row per pair: adjudicated verdicts, else the majority")),
        ],
        label=_("Several judgments of a pair"),
        help_text=_("For preferences only. Ties make no row and are counted."),
    )
    ties = forms.BooleanField(
        required=False, label=_("Keep ties"), help_text=_("As preferences of strength “tie”, for losses that use them.")
    )
    edited = forms.BooleanField(
        required=False, label=_("Improved answers"), help_text=_("For demonstrations: what people wrote while judging.")
    )
    voters = forms.ChoiceField(
        required=False, label=_("Whose judgments"), help_text=_("For preferences and judgments.")
    )
    note = forms.CharField(max_length=200, required=False, label=_("Note"), help_text=_("What it is for."))

    def __init__(self, project: Project, data=None):
        super().__init__(data)
        if judges := judges_of(project):
            choices = [(PEOPLE, _("People’s only")), ("judges", _("Models’ only")), ("everybody", _("Everybody’s"))]
            self.fields["voters"].choices = choices + [(name, name) for name in judges]
        else:
            del self.fields["voters"]

    def told(self) -> dict:
        """What was chosen; people's judgments count where nobody said otherwise."""
        return self.cleaned_data | {"voters": self.cleaned_data.get("voters") or PEOPLE}


@project_view(RESEARCHER)
def index(request: HttpRequest, project: Project) -> HttpResponse:
    form = SnapshotForm(project, request.POST or None)
    if form.is_valid():
        try:
            dataset = request_snapshot(project, user=request.user, **form.told())
        except UserError as error:
            add_user_error(form, error)
        else:
            _tell(request, dataset)
            return redirect("datasets", project.slug)
    listed = Paginator(snapshots_of(project).select_related("created_by"), DATASETS_A_PAGE)
    datasets = listed.get_page(request.GET.get("page"))
    context = {"form": form, "datasets": datasets, "worker_is_there": _marked(datasets)}
    return page(request, "datasets/index.html", project, **context)


@never_cache
@require_GET
@project_view(RESEARCHER)
def row(request: HttpRequest, project: Project, pk: int) -> HttpResponse:
    """How far a snapshot is: its row of the list, or 204 where that is what the page shows already."""
    dataset = get_object_or_404(project.datasets.select_related("created_by", "same_as"), pk=pk)
    worker_is_there = _marked([dataset])
    if request.GET.get("seen") == dataset.mark:
        return HttpResponse(status=204)
    context = {"project": project, "dataset": dataset, "worker_is_there": worker_is_there}
    return render(request, "datasets/row.html", context | {"news": not dataset.is_being_made})


@require_POST
@project_view(RESEARCHER)
def again(request: HttpRequest, project: Project, pk: int) -> HttpResponse:
    """A snapshot that failed is tried again."""
    dataset = get_object_or_404(project.datasets, pk=pk, state=Dataset.State.FAILED)
    try:
        _tell(request, try_again(dataset, request.user))
    except UserError as error:
        messages.error(request, error.message)
    return redirect("datasets", project.slug)


@require_GET
@project_view(RESEARCHER)
def download(request: HttpRequest, project: Project, pk: int, format: str) -> HttpResponse:
    """The rows as a file, written while it is read."""
    if format not in FORMATS:
        raise Http404
    filename, content_type, chunks = export(get_object_or_404(ready_snapshots_of(project), pk=pk), format)
    response = StreamingHttpResponse(chunks, content_type=content_type)
    response["Content-Disposition"] = f'attachment; filename="{filename}"'
    return response


def _tell(request: HttpRequest, dataset: Dataset) -> None:
    if dataset.is_ready:
        words = _("%(kind)s %(number)s holds %(rows)s rows.")
        told = {"kind": dataset.get_kind_display(), "number": dataset.number, "rows": figure(dataset.rows)}
        messages.success(request, words % told)
    else:
        messages.info(request, _("There are many rows, so a worker freezes them. You may leave the page meanwhile."))


def _marked(datasets: Iterable[Dataset]) -> bool:
    """Whether a worker lives, asked only where a dataset waits for one; each gets a `mark` of what its row shows."""
    worker_is_there = presence.is_there() if any(dataset.is_waiting for dataset in datasets) else True
    for dataset in datasets:
        dataset.mark = f"{dataset.state}-{dataset.rows}-{dataset.is_waiting:d}-{worker_is_there:d}"
    return worker_is_there
