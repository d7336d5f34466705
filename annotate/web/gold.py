"""Gold questions: what people agreed on is turned into questions, a file brings others, and bad ones are taken out."""

from django import forms
from django.contrib import messages
from django.core.paginator import Paginator
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from annotate.errors import UserError
from annotate.models import GoldQuestion, Project
from annotate.quality.gold_questions import (
    PURPOSES,
    change_question,
    make_of_candidates,
    make_of_file,
    question_rows,
)
from annotate.quality.waiting import waiting_candidates
from annotate.web.common import ADMIN, page, project_view

CANDIDATES_SHOWN = 20
QUESTIONS_A_PAGE = 50


class FileForm(forms.Form):
    file = forms.FileField(
        label=gettext_lazy("File"),
        help_text=gettext_lazy(
            "JSON lines or Parquet of preferences: “chosen” is the expected answer, “explanation” may stand beside it."
        ),
    )
    purpose = forms.ChoiceField(choices=PURPOSES.choices, label=gettext_lazy("What they are for"))


@project_view(ADMIN)
def index(request: HttpRequest, project: Project) -> HttpResponse:
    """The questions and how people fare with them; POST makes some of agreed pairs (`do=make`) or of a file."""
    form = FileForm()
    if request.method == "POST":
        try:
            made = _make(request, project)
        except UserError as error:
            messages.error(request, error.message)
        else:
            said = ngettext("One question is made.", "%(count)d questions are made.", len(made))
            messages.success(request, said % {"count": len(made)})
        return redirect("gold", project.slug)
    questions = Paginator(question_rows(project), QUESTIONS_A_PAGE).get_page(request.GET.get("page"))
    found = waiting_candidates(project)
    return page(
        request, "gold/index.html", project, form=form, questions=questions, purposes=PURPOSES.choices,
        candidates=found.pairs[:CANDIDATES_SHOWN], listed=found,
    )  # fmt: skip


@project_view(ADMIN)
def change(request: HttpRequest, project: Project, pk: int) -> HttpResponse:
    """POST takes a question into or out of service (`active`), or explains it anew (`explanation`)."""
    question = get_object_or_404(GoldQuestion, pk=pk, comparison__project=project)
    active = {"yes": True, "no": False}.get(request.POST.get("active", ""))
    if request.method == "POST":
        try:
            change_question(question, user=request.user, active=active, explanation=request.POST.get("explanation"))
        except UserError as error:
            messages.error(request, error.message)
        else:
            messages.success(request, _("The question is changed."))
    return redirect("gold", project.slug)


def _make(request: HttpRequest, project: Project) -> list[GoldQuestion]:
    purpose = request.POST.get("purpose", "")
    if request.POST.get("do") == "upload":
        if "file" not in request.FILES:
            raise UserError(_("Choose a file first."), field="file")
        return make_of_file(project, request.FILES["file"], purpose, user=request.user)
    chosen = [int(value) for value in request.POST.getlist("pair") if value.isdecimal() and len(value) < 19]
    explanations = {pk: request.POST.get(f"explanation-{pk}", "") for pk in chosen}
    return make_of_candidates(project, chosen, purpose, user=request.user, explanations=explanations)
