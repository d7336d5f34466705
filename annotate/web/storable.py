"""NUL characters are taken out of what is sent, before a view reads it: PostgreSQL holds none, and nobody means one."""

from django.http import HttpRequest, HttpResponse, QueryDict

FORMS = {"application/x-www-form-urlencoded", "multipart/form-data"}


class WithoutNulMiddleware:
    """Of addresses and of forms; files and JSON have readers of their own, which name the field."""

    def __init__(self, get_response):
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        if "%00" in request.META.get("QUERY_STRING", ""):
            request.GET = _without_nul(request.GET)
        if request.method == "POST" and request.content_type in FORMS:
            request.POST = _without_nul(request.POST)
        return self.get_response(request)


def _without_nul(sent: QueryDict) -> QueryDict:
    if not any("\0" in value for _, values in sent.lists() for value in values):
        return sent
    kept = QueryDict(mutable=True, encoding=sent.encoding)
    for name, values in sent.lists():
        kept.setlist(name, [value.replace("\0", "") for value in values])
    kept._mutable = False
    return kept
