"""A project's guidelines: reading them, their versions, and writing a new one with a preview."""

from django import forms
from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render

from annotate.errors import UserError
from annotate.models import Project
from annotate.projects import current_guidelines, set_guidelines
from annotate.web.common import ADMIN, page, project_view
from annotate.web.forms import add_user_error


@project_view()
def guidelines(request: HttpRequest, project: Project, number: int | None = None) -> HttpResponse:
    newest = current_guidelines(project)
    shown = newest if number is None else get_object_or_404(project.guideline_versions, number=number)
    versions = project.guideline_versions.select_related("created_by")
    return page(request, "guidelines/show.html", project, guideline=shown, newest=newest, versions=versions)


class GuidelinesForm(forms.Form):
    text = forms.CharField(label="Text", widget=forms.Textarea(attrs={"rows": 24, "spellcheck": "true"}), strip=False)


@project_view(ADMIN)
def edit(request: HttpRequest, project: Project) -> HttpResponse:
    """Saves a new version; or shows a preview, with HTMX below the form, without it as the whole page."""
    newest = current_guidelines(project)
    form = GuidelinesForm(request.POST or None, initial={"text": newest.text if newest else ""})
    preview = request.POST.get("text", "") if "preview" in request.POST else ""
    if request.htmx:
        return render(request, "guidelines/preview.html", {"preview": preview})
    if "save" in request.POST and form.is_valid():
        try:
            version = set_guidelines(project, request.user, form.cleaned_data["text"])
        except UserError as error:
            add_user_error(form, error)
        else:
            if newest and version.pk == newest.pk:
                messages.info(request, f"The text is the same, so this is still version {version.number}.")
            else:
                messages.success(request, f"Saved as version {version.number}.")
            return redirect("guidelines", project.slug)
    next_number = newest.number + 1 if newest else 1
    return page(request, "guidelines/edit.html", project, form=form, preview=preview, next_number=next_number)
