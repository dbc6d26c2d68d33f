# ruff: noqa: E501 - tables read best as they are
"""Objects, app.yaml and duplicates: each cause with its place."""

from __future__ import annotations

import pytest

from agents.contracts.messages import Problem
from vessel.model import App, AppSpec, Manifest, Ref, describe
from vessel.reading.apps import app_spec, check_app_name
from vessel.reading.documents import read_documents
from vessel.reading.duplicates import duplicates
from vessel.reading.objects import manifests_of


def read(text: str) -> tuple[list[Manifest], list[str]]:
    problems: list[Problem] = []
    manifests = manifests_of(read_documents(text.encode()), "f.yaml", problems.append)
    return manifests, [describe(problem) for problem in problems]


OBJECT = "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: a\n"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("- a\n", "f.yaml:1: must be an object, is a list"),
        ("a\n", "f.yaml:1: must be an object, is a text"),
        ("kind: A\nmetadata: {name: a}\n", "f.yaml:1: A a: apiVersion: is required"),
        ("apiVersion: v1\nmetadata: {name: a}\n", "f.yaml:1: a: kind: is required"),
        ("apiVersion: 1\nkind: A\nmetadata: {name: a}\n", "f.yaml:1: A a: apiVersion: must be a text, is a number: put it in quotes"),
        ("apiVersion: a/b/c\nkind: A\nmetadata: {name: a}\n", "f.yaml:1: A a: apiVersion: is not a version such as v1 or apps/v1"),
        ("apiVersion: v1\nkind: on\nmetadata: {name: a}\n", "f.yaml:2: a: kind: must be a text, is a boolean: put it in quotes"),
        ("apiVersion: v1\nkind: A\n", "f.yaml:1: A: metadata: is required"),
        ("apiVersion: v1\nkind: A\nmetadata: []\n", "f.yaml:3: A: metadata: must be a mapping, is a list"),
        ("apiVersion: v1\nkind: A\nmetadata: {}\n", "f.yaml:3: A: metadata.name: is required"),
        ("apiVersion: v1\nkind: A\nmetadata:\n  name: 5\n", "f.yaml:4: A: metadata.name: must be a text, is a number: put it in quotes"),
        ("apiVersion: v1\nkind: A\nmetadata:\n  name: ../x\n", "f.yaml:4: A ../x: metadata.name: is not a name"),
        (OBJECT.replace("name: a", "generateName: a-"), "f.yaml:4: ConfigMap: metadata.generateName: is refused: an object of the Atlas "
         "needs a fixed name, or each pass would create another"),
        (OBJECT + "  namespace: A_b\n", "f.yaml:5: ConfigMap a: metadata.namespace: is not a namespace's name"),
        (OBJECT + "  uid: x\n", "f.yaml:5: ConfigMap a: metadata.uid: is set by the API server alone: remove it"),
        (OBJECT + "  managedFields: []\n", "f.yaml:5: ConfigMap a: metadata.managedFields: is set by the API server alone: remove it"),
        (OBJECT + "  labels:\n    a: b\n    c: on\n", "f.yaml:7: ConfigMap a: metadata.labels.c: must be a text, is a boolean: put it in quotes"),
        (OBJECT + "  annotations: x\n", "f.yaml:5: ConfigMap a: metadata.annotations: must be a mapping, is a text"),
        ("apiVersion: v1\nkind: List\nitems:\n- kind: A\n  metadata:\n    name: b\n- 5\n", "f.yaml:4: A b: apiVersion: is required"),
    ],
)  # fmt: skip
def test_problems(text: str, problem: str) -> None:
    _, problems = read(text)
    assert problem in problems


def test_what_is_taken_off() -> None:
    [manifest], problems = read(OBJECT + "  creationTimestamp: null\nstatus: {x: 1}\ndata: {a: b}\n")
    assert problems == []
    assert manifest.body == {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}, "data": {"a": "b"}}
    assert (manifest.ref, manifest.file, manifest.line) == (Ref("v1", "ConfigMap", "", "a"), "f.yaml", 1)


def test_lists_are_taken_apart() -> None:
    manifests, problems = read(
        "apiVersion: v1\nkind: List\nitems:\n- apiVersion: v1\n  kind: ConfigMapList\n  items:\n  - metadata: {name: a}\n"
        "- apiVersion: v1\n  kind: Secret\n  metadata: {name: b, namespace: shop}\n"
    )
    assert problems == []
    assert [(str(m.ref), m.line) for m in manifests] == [("ConfigMap a", 7), ("Secret shop/b", 8)]
    text = (
        "apiVersion: v1\nkind: List\nitems: " + '[{"apiVersion": "v1", "kind": "List", "items": ' * 7 + "[]" + "}]" * 7
    )
    assert "lists within lists" in read(text)[1][0]


def test_a_secret_is_in_no_text() -> None:
    [manifest], _ = read(OBJECT.replace("ConfigMap", "Secret") + "stringData: {password: hunter2}\n")
    assert "hunter2" not in repr(manifest)
    _, problems = read(
        OBJECT.replace("ConfigMap", "Secret").replace("name: a", "name: 5") + "stringData: {password: hunter2}\n"
    )
    assert problems and "hunter2" not in problems[0]


def spec(text: str) -> tuple[AppSpec | None, list[str]]:
    problems: list[Problem] = []
    found = app_spec("web", "apps/web/app.yaml", read_documents(text.encode()), problems.append)
    return found, [describe(problem) for problem in problems]


def test_app_yaml() -> None:
    commit = "a" * 40
    text = (
        "v: 1\nowner: web team\nnamespace: shop\nserviceAccount: deployer\nstage: -2\ntimeout_seconds: 30\n"
        f"path: ../../bases/web\napprove: {{prune: {commit}}}\n"
    )
    assert spec(text) == (
        AppSpec("web", "web team", "shop", "shop/deployer", -2, 30.0, "bases/web", commit, "apps/web/app.yaml"), []
    )  # fmt: skip
    found, _ = spec("v: 1\n")
    assert found == AppSpec("web", path="apps/web", file="apps/web/app.yaml")
    assert spec("v: 1\nserviceAccount: a/b\n")[0] == AppSpec(
        "web", service_account="a/b", path="apps/web", file="apps/web/app.yaml"
    )


def test_app_yaml_tells_all_errors_at_once() -> None:
    found, problems = spec(
        "v: 2\nowner: 5\nnamespace: A\nserviceAccount: a/b/c\nstage: on\ntimeout_seconds: 0\npath: ../../..\n"
        "colour: red\napprove: {prune: abc, all: true}\n"
    )
    assert found is None
    assert problems == [
        "apps/web/app.yaml:1: v: must be 1",
        "apps/web/app.yaml:2: owner: must be a text, is a number",
        "apps/web/app.yaml:3: namespace: is not a namespace's name",
        "apps/web/app.yaml:4: serviceAccount: must be name or namespace/name",
        "apps/web/app.yaml:5: stage: must be an integer, is a boolean",
        "apps/web/app.yaml:6: timeout_seconds: must be more than 0 and at most 86400",
        "apps/web/app.yaml:8: colour: unknown key (known: v, owner, namespace, serviceAccount, stage, timeout_seconds, path, approve)",
        "apps/web/app.yaml:9: approve.prune: must be a whole commit id in lower-case hex, in quotes",
        "apps/web/app.yaml:9: approve.all: unknown key (known: prune)",
        "apps/web/app.yaml:7: path: leads out of the repository",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "problem"),
    [("", "must hold one mapping"), ("[]", "must hold one mapping"), ("owner: a", "v: is required")],
)
def test_app_yaml_that_is_none(text: str, problem: str) -> None:
    found, problems = spec(text)
    assert found is None and problem in problems[0]


@pytest.mark.parametrize("name", ["A", "a_b", "-a", "a" * 64, "a.b"])
def test_app_names(name: str) -> None:
    assert check_app_name(name)


def app(name: str, namespace: str, *refs: Ref) -> App:
    manifests = tuple(Manifest(ref, {}, f"{name}.yaml", line) for line, ref in enumerate(refs, 1))
    return App(AppSpec(name, namespace=namespace), manifests)


def test_duplicates_name_both_places() -> None:
    first = app(
        "a", "x", Ref("apps/v1", "Deployment", "", "d"), Ref("v1", "Service", "y", "s"), Ref("v1", "Namespace", "", "n")
    )
    second = app("b", "y", Ref("apps/v1beta1", "Deployment", "x", "d"), Ref("v1", "Service", "", "s"), Ref("v1", "Namespace", "", "n"),
                 Ref("apps/v1", "Deployment", "", "d"))  # fmt: skip
    assert [describe(problem) for problem in duplicates([first, second])] == [
        "b.yaml:1: Deployment x/d: stands twice in the Atlas: first in a.yaml:1, in app a",
        "b.yaml:2: Service s: stands twice in the Atlas: first in a.yaml:2, in app a",
        "b.yaml:3: Namespace n: stands twice in the Atlas: first in a.yaml:3, in app a",
    ]
