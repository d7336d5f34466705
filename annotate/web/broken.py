"""What somebody sees whose request failed on our side: the page 500, or 507 in plain words where the disk is full."""

import sys

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import render
from django.utils.translation import gettext as _

from annotate.disk import is_disk_full


def server_error(request: HttpRequest) -> HttpResponse:
    """Called by Django while it handles the exception. Transactions have been rolled back."""
    full = is_disk_full(sys.exception())
    status = 507 if full else 500
    if request.path.startswith("/api/"):
        told = _("The disk of the server is full. Nothing was saved.") if full else _("Something broke on our side")
        return JsonResponse({"detail": told, "field": None}, status=status)
    return render(request, "500.html", {"full": full}, status=status)
