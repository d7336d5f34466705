"""What somebody sees whose request came to nothing: 500, or in plain words 507 where the disk is full and 503 where the
database is away; and no blank page where an address is opened that only takes what a form sends.
"""

import sys

from django.db import InterfaceError, OperationalError, connection
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import render
from django.utils.translation import gettext as _

from annotate.disk import is_disk_full

# SQLite has one class of errors for a database that is busy and for a statement that is wrong.
SQLITE_IS_AWAY = ("is locked", "unable to open database file")
RETRY_AFTER_SECONDS = 30


def server_error(request: HttpRequest) -> HttpResponse:
    """Called by Django while it handles the exception. Transactions have been rolled back."""
    error = sys.exception()
    full = is_disk_full(error)
    away = not full and is_database_away(error)
    status = 507 if full else 503 if away else 500
    if request.path.startswith("/api/"):
        told = _("Something broke on our side")
        if full:
            told = _("The disk of the server is full. Nothing was saved.")
        elif away:
            told = _("The database does not answer at the moment")
        response = JsonResponse({"detail": told, "field": None}, status=status)
    else:
        response = render(request, "500.html", {"full": full, "away": away}, status=status)
    if away:
        response["Retry-After"] = str(RETRY_AFTER_SECONDS)
    return response


def is_database_away(error: BaseException | None) -> bool:
    """Locked, restarted or out of reach, anywhere in the chain of causes: the same request may well succeed later."""
    while error is not None:
        if isinstance(error, OperationalError | InterfaceError):
            return connection.vendor != "sqlite" or any(words in str(error) for words in SQLITE_IS_AWAY)
        error = error.__cause__ or error.__context__
    return False


class FormsOnlyMiddleware:
    """An address that only takes what a form sends, opened by hand or after a sign-in, says so in words."""

    def __init__(self, get_response):
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        response = self.get_response(request)
        if response.status_code != 405 or request.method != "GET" or request.path.startswith("/api/"):
            return response
        page = render(request, "404.html", status=405)
        page["Allow"] = response["Allow"]
        return page
