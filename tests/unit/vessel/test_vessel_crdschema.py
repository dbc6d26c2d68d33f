"""The first check of objects whose kind is new in the commit."""

from __future__ import annotations

import time
from typing import Any

import pytest

from vessel.crdschema import check

SCHEMA: dict[str, Any] = {
    "type": "object",
    "required": ["spec"],
    "properties": {
        "spec": {
            "type": "object",
            "required": ["size"],
            "properties": {
                "size": {"type": "integer", "minimum": 1, "maximum": 9},
                "name": {"type": "string", "pattern": "^[a-z]+$", "maxLength": 5},
                "kind": {"type": "string", "enum": ["a", "b"]},
                "port": {"x-kubernetes-int-or-string": True},
                "tags": {"type": "array", "maxItems": 2, "items": {"type": "string"}},
                "labels": {"type": "object", "additionalProperties": {"type": "string"}},
                "free": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
                "ratio": {"type": "number"},
                "on": {"type": "boolean"},
            },
        },
    },
}


@pytest.mark.parametrize(
    ("spec", "path"),
    [
        ({"size": 1}, None),
        ({"size": 1.0}, None),
        ({}, "spec.size"),
        ({"size": 0}, "spec.size"),
        ({"size": 10}, "spec.size"),
        ({"size": "1"}, "spec.size"),
        ({"size": True}, "spec.size"),
        ({"size": 1, "name": "UP"}, None),  # patterns are the server's
        ({"size": 1, "name": "toolong"}, "spec.name"),
        ({"size": 1, "kind": "c"}, "spec.kind"),
        ({"size": 1, "port": 80}, None),
        ({"size": 1, "port": "http"}, None),
        ({"size": 1, "port": []}, "spec.port"),
        ({"size": 1, "tags": ["a", 2]}, "spec.tags[1]"),
        ({"size": 1, "tags": ["a", "b", "c"]}, "spec.tags"),
        ({"size": 1, "labels": {"a": 1}}, "spec.labels.a"),
        ({"size": 1, "free": {"anything": [1]}}, None),
        ({"size": 1, "ratio": 1}, None),
        ({"size": 1, "on": "yes"}, "spec.on"),
        ({"size": 1, "more": 1}, "spec.more"),
        ({"size": 1, "name": None}, None),
        (5, "spec"),
    ],
)
def test_check(spec: Any, path: str | None) -> None:
    found = check({"apiVersion": "x/v1", "kind": "K", "metadata": {"name": "n"}, "spec": spec}, SCHEMA)
    assert [p for p, _ in found] == ([] if path is None else [path])


def test_missing_top_level_and_no_schema() -> None:
    assert check({"metadata": {}}, SCHEMA) == [("spec", "is required")]
    assert check({"spec": {"whatever": 1}}, {}) == []


def test_bounded() -> None:
    many = {"spec": {"size": 1, **{f"x{n}": n for n in range(100)}}}
    assert len(check(many, SCHEMA)) == 20


def test_a_pattern_that_backtracks_is_never_run() -> None:
    slow = {"type": "object", "properties": {"a": {"type": "string", "pattern": "^(a+)+$"}}}
    started = time.process_time()
    assert check({"a": "a" * 40 + "!"}, slow) == []
    assert time.process_time() - started < 1
