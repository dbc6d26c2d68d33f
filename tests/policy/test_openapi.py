"""`docs/openapi.json` is what the code says now, and is a sound OpenAPI 3.1 document."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

from cloud_endpoint import openapi
from cloud_endpoint.routes import ROUTES

FILE = Path(__file__).parents[2] / "docs" / "openapi.json"


def test_the_file_is_current() -> None:
    expected = openapi.render(version("galley"))
    assert FILE.read_text() == expected, "write it anew: galley-endpoint openapi > docs/openapi.json"


def test_every_route_is_in_it_with_its_scopes() -> None:
    document = json.loads(FILE.read_text())
    assert document["openapi"] == "3.1.0"
    operations = {
        (method.upper(), path): operation
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    }
    assert set(operations) == {(route.method, route.path) for route in ROUTES}
    for route in ROUTES:
        operation = operations[route.method, route.path]
        scopes = [entry["token"] for entry in operation["security"] if "token" in entry]
        assert scopes == ([sorted(route.scopes)] if route.scopes else [])
        named = {one["name"] for one in operation.get("parameters", []) if one["in"] == "path"}
        assert named == set(re.findall(r"{(\w+)}", route.path))
    assert len({operation["operationId"] for operation in operations.values()}) == len(operations)


def test_every_reference_leads_somewhere() -> None:
    document = json.loads(FILE.read_text())
    schemas = document["components"]["schemas"]
    found = list(references(document))
    assert found
    for reference in found:
        assert reference.removeprefix("#/components/schemas/") in schemas, reference


def references(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for key, one in value.items():
            if key == "$ref":
                yield one
            else:
                yield from references(one)
    elif isinstance(value, list):
        for one in value:
            yield from references(one)
