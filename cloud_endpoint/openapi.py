"""OpenAPI 3.1 made from the table of routes and the contract types. Pure."""

from __future__ import annotations

import re
from typing import Any

import msgspec

from cloud_endpoint.problem import ProblemBody
from cloud_endpoint.route import Route
from cloud_endpoint.routes import ROUTES

_REF = "#/components/schemas/{name}"
_PARAMETERS = {
    "site": {"type": "string", "description": "site id"},
    "node": {"type": "string", "description": "node id"},
    "id": {"type": "integer"},
    "name": {"type": "string"},
}


def document(version: str) -> dict[str, Any]:
    """The whole description."""
    types = [route.body for route in ROUTES if route.body] + [route.answer for route in ROUTES if route.answer]
    types += [route.query for route in ROUTES if route.query]
    schemas, components = msgspec.json.schema_components([*types, ProblemBody], ref_template=_REF)
    by_type = {_key(type_): schema for type_, schema in zip([*types, ProblemBody], schemas, strict=True)}
    paths: dict[str, Any] = {}
    for route in ROUTES:
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(route, by_type, components)
    return {
        "openapi": "3.1.0",
        "info": {"title": "Galley cloud endpoint", "version": version},
        "paths": paths,
        "components": {
            "schemas": dict(sorted(components.items())),
            "securitySchemes": {
                "token": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"},
                "session": {"type": "apiKey", "in": "cookie", "name": "__Host-galley"},
            },
        },
    }


def render(version: str) -> str:
    """The file `docs/openapi.json`."""
    return msgspec.json.format(msgspec.json.encode(document(version)), indent=1).decode() + "\n"


def _operation(route: Route, by_type: dict[str, Any], components: dict[str, Any]) -> dict[str, Any]:
    operation: dict[str, Any] = {"operationId": route.handler, "summary": route.summary}
    parameters: list[dict[str, Any]] = [
        {"name": name, "in": "path", "required": True, "schema": _PARAMETERS[name]}
        for name in re.findall(r"{(\w+)}", route.path)
    ]
    if route.query:
        schema = components[route.query.__name__]
        parameters += [
            {"name": name, "in": "query", "required": name in schema.get("required", []), "schema": one}
            for name, one in schema["properties"].items()
        ]
    if parameters:
        operation["parameters"] = parameters
    if route.body is not None:
        media = "application/x-www-form-urlencoded" if route.form else "application/json"
        operation["requestBody"] = {"required": True, "content": {media: {"schema": by_type[_key(route.body)]}}}
    success: dict[str, Any] = {"description": "it is so"}
    if route.answer is not None:
        success["content"] = {"application/json": {"schema": by_type[_key(route.answer)]}}
    problem = {"application/problem+json": {"schema": by_type[_key(ProblemBody)]}}
    operation["responses"] = {"2XX": success, "4XX": {"description": "refused; `detail` says why", "content": problem}}
    if route.scopes:
        scopes = sorted(scope.value for scope in route.scopes)
        operation["security"] = [{"token": scopes}] + ([{"session": []}] if route.cookie else [])
        operation["description"] = "Any one scope of: " + ", ".join(scopes)
    else:
        operation["security"] = []
    return operation


def _key(type_: Any) -> str:
    return repr(type_)
