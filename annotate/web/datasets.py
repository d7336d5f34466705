"""Datasets: make a snapshot, list them, download one."""

from django import forms
from django.contrib import messages
from django.core.paginator import Paginator
from django.http import Http404, HttpRequest, HttpResponse, StreamingHttpResponse
from django.shortcuts import get_object_or_404, redirect
from django.utils.translation import gettext_lazy as _
from django.views.decorators.http import require_GET

from annotate.datasets.exporting import export
from annotate.datasets.snapshots import PEOPLE, create_snapshot, judges_of
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
            dataset = create_snapshot(project, user=request.user, **form.told())
        except UserError as error:
            add_user_error(form, error)
        else:
            messages.success(
                request,
                _("%(kind)s %(number)s holds %(rows)s rows.")
                % {"kind": dataset.get_kind_display(), "number": dataset.number, "rows": figure(dataset.rows)},
            )
            return redirect("datasets", project.slug)
    datasets = Paginator(project.datasets.select_related("created_by").order_by("-id"), DATASETS_A_PAGE)
    return page(request, "datasets/index.html", project, form=form, datasets=datasets.get_page(request.GET.get("page")))


@require_GET
@project_view(RESEARCHER)
def download(request: HttpRequest, project: Project, pk: int, format: str) -> HttpResponse:
    """The rows as a file, written while it is read."""
    if format not in FORMATS:
        raise Http404
    filename, content_type, chunks = export(get_object_or_404(project.datasets, pk=pk), format)
    response = StreamingHttpResponse(chunks, content_type=content_type)
    response["Content-Disposition"] = f'attachment; filename="{filename}"'
    return response
