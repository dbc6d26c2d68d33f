"""Whatever stands in a manifest, resolving and checking it ends in items or problems, never in an exception."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vessel import crdschema
from vessel.model import App, AppSpec, Atlas, Commit, Manifest, Ref
from vessel.objects import NewKind, Resolved, defined_kinds, resolve

CRD = ("apiextensions.k8s.io/v1", "CustomResourceDefinition")
KINDS = {key: NewKind(*key, namespaced, {}) for key, namespaced in ((CRD, False), (("v1", "Secret"), True))}
NAMES = {"kind": "A", "plural": "as"}

WORDS = [
    "metadata", "labels", "annotations", "spec", "group", "names", "kind", "versions", "name", "served", "schema",
    "openAPIV3Schema", "scope", "data", "stringData", "properties", "required", "items", "enum", "pattern", "type",
    "minLength", "maxItems", "minimum", "additionalProperties", "default", "a",
]  # fmt: skip
TEXTS = st.sampled_from([*WORDS, "object", "array", "string", "integer", "", "^(a+)+$"])
LEAVES = st.none() | st.booleans() | st.integers(-9, 9) | st.floats(allow_nan=False, allow_infinity=False) | TEXTS
JSON = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=6), max_leaves=30
)
BODIES = st.dictionaries(TEXTS, JSON, max_size=6)
VERSION = st.fixed_dictionaries({}, optional={"name": JSON, "served": JSON, "schema": JSON})
SPEC = st.fixed_dictionaries(
    {}, optional={"group": JSON, "names": JSON, "scope": JSON, "versions": st.lists(VERSION, max_size=3) | JSON}
)


def resolved(api_version: str, kind: str, body: dict[str, Any]) -> Resolved:
    full = {"metadata": {"name": "x"}, **body, "apiVersion": api_version, "kind": kind}
    manifest = Manifest(Ref(api_version, kind, "", "x"), full, "apps/a/x.yaml", 7)
    return resolve(Atlas(Commit("r" * 40), (App(AppSpec(name="a"), (manifest,)),)), lambda v, k: KINDS.get((v, k)))


@pytest.mark.parametrize(
    ("body", "path"),
    [
        ({"spec": None}, "spec"),
        ({"spec": 5}, "spec"),
        ({"spec": {"group": "b", "names": None, "versions": []}}, "spec.names"),
        ({"spec": {"group": "b", "names": NAMES, "versions": 5}}, "spec.versions"),
        ({"spec": {"group": "b", "names": NAMES, "versions": [5]}}, "spec.versions[0]"),
        (
            {"spec": {"group": "b", "names": NAMES, "versions": [{"name": "v1", "schema": ["a"]}]}},
            "spec.versions[0].schema",
        ),
        ({"spec": {"group": ["x"], "names": NAMES, "versions": []}}, "spec.group"),
        ({"spec": {"group": "b", "names": {"kind": []}, "versions": []}}, "spec.names.kind"),
        ({"metadata": {"labels": 5}, "spec": {"group": "b", "names": NAMES, "versions": []}}, "metadata.labels"),
    ],
)
def test_a_malformed_definition_has_its_place(body: dict[str, Any], path: str) -> None:
    found = resolved(*CRD, body)
    assert [(p.path, p.file, p.line) for p in found.problems] == [(path, "apps/a/x.yaml", 7)]
    assert "must be a" in found.problems[0].cause and not found.all


@settings(max_examples=40, deadline=None)
@given(BODIES, SPEC | JSON)
def test_definitions(body: dict[str, Any], spec: Any) -> None:
    found = resolved(*CRD, {**body, "spec": spec})
    assert bool(found.all) != bool(found.problems)
    for kind in defined_kinds({**body, "spec": spec}):
        assert isinstance(crdschema.check({"metadata": {}, "spec": spec}, kind.schema), list)


@settings(max_examples=40, deadline=None)
@given(BODIES, JSON, JSON)
def test_secrets(body: dict[str, Any], texts: Any, data: Any) -> None:
    found = resolved("v1", "Secret", {**body, "stringData": texts, "data": data})
    assert bool(found.all) != bool(found.problems)


@settings(max_examples=40, deadline=None)
@given(BODIES, BODIES)
def test_schemas(body: dict[str, Any], schema: dict[str, Any]) -> None:
    for _, cause in crdschema.check(body, schema):
        assert cause
