"""The OpenAPI 3.1 document, made from the table of routes (spec.openapis.org/oas/v3.1.0)."""

from typing import Any, Final

import msgspec

from trimtab._version import __version__

from .replies import ProblemReply
from .table import Route

_REF: Final = "#/components/schemas/{name}"
_ERRORS: Final = {
    "400": "the request is at fault",
    "401": "nobody is signed in",
    "403": "the role does not allow it, or a foreign web page asks",
    "404": "there is nothing of that name or id",
    "413": "the body is over 64 KiB",
    "415": "the body is not declared as JSON",
    "429": "too many failed sign-ins",
    "500": "the configuration or the store is at fault",
    "502": "a provider is at fault",
    "503": "it cannot be done at the moment",
}


def document(routes: tuple[Route, ...]) -> dict[str, Any]:
    """Return the document for a table of routes."""
    types: list[Any] = [ProblemReply]
    for route in routes:
        types += [kind for kind in (route.reply, route.body) if kind is not None]
    shown, components = msgspec.json.schema_components(types, ref_template=_REF)
    schema_of = {_key(kind): schema for kind, schema in zip(types, shown, strict=True)}
    paths: dict[str, dict[str, Any]] = {}
    for route in routes:
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(route, schema_of)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Trimtab admin API",
            "version": __version__,
            "description": "What the console and the command line ask of the control process.",
        },
        "paths": paths,
        "components": {
            "schemas": components,
            "securitySchemes": {
                "token": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "The installation's token, or the one that `POST /api/v1/login` returns.",
                }
            },
        },
        "security": [{"token": []}],
    }


def _key(kind: Any) -> str:  # noqa: ANN401 - a type
    return repr(kind)


def _operation(route: Route, schema_of: dict[str, Any]) -> dict[str, Any]:
    content: dict[str, Any] = {media: {} for media in route.extra}
    if route.reply is not None:
        content = {"application/json": {"schema": schema_of[_key(route.reply)]}}
    problem = {"application/json": {"schema": schema_of[_key(ProblemReply)]}}
    responses: dict[str, Any] = {str(route.status): {"description": route.summary, "content": content}}
    responses |= {status: {"description": text, "content": problem} for status, text in _ERRORS.items()}
    operation: dict[str, Any] = {
        "operationId": f"{route.endpoint.__name__}",
        "summary": route.summary,
        "tags": [route.action.partition(".")[0]],
        "x-trimtab-role": route.role,
        "parameters": [*_path_parameters(route), *_query_parameters(route)],
        "responses": responses,
    }
    if route.body is not None:
        operation["requestBody"] = {
            "required": True,
            "content": {"application/json": {"schema": schema_of[_key(route.body)]}},
        }
    if route.role is None:
        operation["security"] = []
    return operation


def _path_parameters(route: Route) -> list[dict[str, Any]]:
    schema = {"type": "string", "minLength": 1}
    return [{"name": name, "in": "path", "required": True, "schema": schema} for name in route.parameters]


def _query_parameters(route: Route) -> list[dict[str, Any]]:
    if route.query is None:
        return []
    found = []
    for field in msgspec.structs.fields(route.query):
        schema = msgspec.json.schema(field.type)
        if "anyOf" in schema:  # a query string has no null: a field that is not there says so
            (schema,) = (part for part in schema["anyOf"] if part.get("type") != "null")
        about = schema.pop("description", "")
        found.append(
            {"name": field.name, "in": "query", "schema": schema} | ({"description": about} if about else {})
        )
    return found
