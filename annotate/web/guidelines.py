"""A project's guidelines: reading them, their versions and what changed, and writing a new one with a preview."""

from django import forms
from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils.translation import gettext_lazy as _

from annotate.errors import UserError
from annotate.models import Project
from annotate.projects import current_guidelines, set_guidelines
from annotate.web.common import ADMIN, page, project_view
from annotate.web.forms import add_user_error
from annotate.web.word_diff import word_diff


@project_view()
def guidelines(request: HttpRequest, project: Project, number: int | None = None) -> HttpResponse:
    newest = current_guidelines(project)
    shown = newest if number is None else get_object_or_404(project.guideline_versions, number=number)
    versions = project.guideline_versions.select_related("created_by")
    return page(request, "guidelines/show.html", project, guideline=shown, newest=newest, versions=versions)


@project_view()
def changes(request: HttpRequest, project: Project, number: int) -> HttpResponse:
    """What version `number` changed against the one before it, or against `?since=`."""
    newer = get_object_or_404(project.guideline_versions.select_related("created_by"), number=number)
    since = request.GET.get("since", "")
    older = project.guideline_versions.filter(number=int(since) if since.isdecimal() else number - 1).first()
    if older is None:
        raise Http404
    changed = word_diff(older.text, newer.text)
    return page(request, "guidelines/changes.html", project, older=older, newer=newer, changes=changed)


class GuidelinesForm(forms.Form):
    text = forms.CharField(
        label=_("Text"), widget=forms.Textarea(attrs={"rows": 24, "spellcheck": "true"}), strip=False
    )
    minor = forms.BooleanField(
        required=False,
        label=_("Only a correction, such as a typo"),
        help_text=_("Annotators go on without being asked to read it again."),
    )


@project_view(ADMIN)
def edit(request: HttpRequest, project: Project) -> HttpResponse:
    """Saves a new version; or shows a preview, with HTMX below the form, without it as the whole page."""
    newest = current_guidelines(project)
    form = GuidelinesForm(request.POST or None, initial={"text": newest.text if newest else ""})
    preview = request.POST.get("text", "") if "preview" in request.POST else ""
    changed = word_diff(newest.text, preview) if newest and preview else []
    if request.htmx:
        return render(request, "guidelines/preview.html", {"preview": preview, "changes": changed})
    if "save" in request.POST and form.is_valid():
        try:
            version = set_guidelines(project, request.user, **form.cleaned_data, based_on=_number(request, "based_on"))
        except UserError as error:
            add_user_error(form, error)
        else:
            if newest and version.pk == newest.pk:
                messages.info(
                    request,
                    _("The text is the same, so this is still version %(number)s.") % {"number": version.number},
                )
            else:
                messages.success(request, _("Saved as version %(number)s.") % {"number": version.number})
            return redirect("guidelines", project.slug)
    next_number = newest.number + 1 if newest else 1
    context = {"form": form, "preview": preview, "changes": changed, "newest": newest, "next_number": next_number}
    return page(request, "guidelines/edit.html", project, **context)


def _number(request: HttpRequest, name: str) -> int | None:
    """What our own form sent; anything else is as if it had sent nothing."""
    sent = request.POST.get(name, "")
    return int(sent) if sent.isdecimal() and len(sent) < 10 else None
