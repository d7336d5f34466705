"""The REST API for people to read: what can be asked where, and what is sent, read off its OpenAPI schema."""

import functools
from dataclasses import dataclass

from django.http import HttpRequest, HttpResponse
from django.views.decorators.http import require_GET
from drf_spectacular.generators import SchemaGenerator

from annotate.web.common import page, signed_in

PROJECT = "/api/projects/{slug}/"


@dataclass(frozen=True)
class Operation:
    """One method of one address; `fields` are names of what is sent, and whether it must be."""

    method: str
    path: str
    text: str
    fields: list[tuple[str, bool]]

    @property
    def short(self) -> str:
        """What is below a project without the part that all those addresses share."""
        below = self.path.removeprefix(PROJECT)
        return f"…/{below}" if below and below != self.path else self.path


@require_GET
@signed_in
def reference(request: HttpRequest) -> HttpResponse:
    return page(request, "api.html", groups=_groups(), prefix=PROJECT)


@functools.cache
def _groups() -> list[tuple[str, list[Operation]]]:
    """The operations by what they are about, which is the first word of an address below a project."""
    schema = SchemaGenerator().get_schema(request=None, public=True)
    groups: dict[str, list[Operation]] = {}
    for path, operations in schema["paths"].items():
        about = path.removeprefix(PROJECT).split("/")[0] if path.startswith(PROJECT) else ""
        for method, operation in operations.items():
            row = Operation(method.upper(), path, operation["description"], _fields(operation, schema))
            groups.setdefault(about.replace("-", " ") or "projects", []).append(row)
    return sorted(groups.items(), key=lambda group: (group[0] != "projects", group[0]))


def _fields(operation: dict, schema: dict) -> list[tuple[str, bool]]:
    content = operation.get("requestBody", {}).get("content", {})
    body = next(iter(content.values()), {}).get("schema", {})
    if "$ref" in body:
        body = schema["components"]["schemas"][body["$ref"].rsplit("/", 1)[-1]]
    required = body.get("required", [])
    names = [name for name, field in body.get("properties", {}).items() if not field.get("readOnly")]
    asked = [row["name"] for row in operation.get("parameters", []) if row["in"] == "query"]
    return [(name, name in required) for name in names] + [(f"?{name}", False) for name in asked]
