"""What every endpoint shares: the project of its address, the role it needs, and errors as JSON."""

from typing import ClassVar

from django.shortcuts import get_object_or_404
from rest_framework import serializers, status
from rest_framework.exceptions import PermissionDenied
from rest_framework.pagination import LimitOffsetPagination
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from annotate import access
from annotate.errors import UserError
from annotate.models import Project


class Pages(LimitOffsetPagination):
    """At most so many rows an answer, and no number that a database cannot hold."""

    max_limit = 1000


class ServiceView(APIView):
    """Answers 400 with `{"detail", "field"}` to what a person did wrong."""

    def handle_exception(self, error: Exception) -> Response:
        if isinstance(error, UserError):
            return Response({"detail": error.message, "field": error.field}, status=status.HTTP_400_BAD_REQUEST)
        return super().handle_exception(error)

    def read(self, serializer: type[serializers.Serializer], **context) -> dict:
        """The request's body, checked; a wrong value answers 400 with the fields and what is wrong with them."""
        checked = serializer(data=self.request.data, context=context)
        checked.is_valid(raise_exception=True)
        return checked.validated_data

    def paged(self, rows, serializer: type[serializers.Serializer]) -> Response:
        pages = Pages()
        page = pages.paginate_queryset(rows, self.request, view=self)
        return pages.get_paginated_response(serializer(page, many=True).data)


class ProjectView(ServiceView):
    """`self.project` is the address's. `roles` maps a method to the role it needs; where none is named, any will do.

    Services that write ask again, so a page, a script and an endpoint are refused alike.
    """

    roles: ClassVar[dict[str, str]] = {}

    def initial(self, request: Request, *args, **kwargs) -> None:
        super().initial(request, *args, **kwargs)
        self.project = get_object_or_404(Project, slug=kwargs["slug"])
        needed = self.roles.get(request.method)
        if needed:
            access.require(request.user, self.project, needed)
        elif not access.projects_for(request.user).filter(pk=self.project.pk).exists():
            raise PermissionDenied
