"""What of a live object is ours: the projection by FieldsV1, and that only what matters changes its digest."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from vessel.fields import MANAGER, digest, last_other_manager, owned_digest, owned_fields, project

FIELDS: dict[str, Any] = {
    "f:metadata": {"f:labels": {"f:app": {}}},
    "f:spec": {
        "f:replicas": {},
        "f:template": {
            "f:spec": {
                "f:containers": {
                    'k:{"name":"web"}': {
                        ".": {},
                        "f:image": {},
                        "f:name": {},
                        "f:ports": {'k:{"containerPort":80,"protocol":"TCP"}': {".": {}, "f:containerPort": {}}},
                        "f:args": {},
                        "f:resources": {"f:limits": {"f:cpu": {}}},
                    }
                }
            }
        },
        "f:finalizers": {'v:"keep"': {}},
    },
}


def live() -> dict[str, Any]:
    """A Deployment as the server has it."""
    return {
        "metadata": {
            "labels": {"app": "web", "other": "x"},
            "resourceVersion": "5",
            "managedFields": [
                {
                    "manager": MANAGER,
                    "operation": "Apply",
                    "fieldsV1": copy.deepcopy(FIELDS),
                    "time": "2026-01-01T00:00:00Z",
                },
                {"manager": "kubectl-edit", "operation": "Update", "fieldsV1": {}, "time": "2026-01-02T00:00:00Z"},
                {"manager": "kcm", "operation": "Update", "subresource": "status", "time": "2026-01-03T00:00:00Z"},
            ],
        },
        "spec": {
            "replicas": 2,
            "finalizers": ["keep", "others"],
            "template": {
                "spec": {
                    "containers": [
                        {"name": "sidecar", "image": "s"},
                        {
                            "name": "web",
                            "image": "w:1",
                            "args": ["a", "b"],
                            "terminationGracePeriodSeconds": 30,
                            "ports": [{"containerPort": 80, "protocol": "TCP", "hostIP": "x"}],
                            "resources": {"limits": {"cpu": "500m"}},
                        },
                    ]
                }
            },
        },
        "status": {"replicas": 2},
    }


def test_projection() -> None:
    web = {
        "f:image": "w:1",
        "f:name": "web",
        "f:ports": {'k:{"containerPort":80,"protocol":"TCP"}': {"f:containerPort": 80}},
        "f:args": ["a", "b"],
        "f:resources": {"f:limits": {"f:cpu": "500m"}},
    }
    assert project(live(), FIELDS) == {
        "f:metadata": {"f:labels": {"f:app": "web"}},
        "f:spec": {
            "f:replicas": 2,
            "f:finalizers": {'v:"keep"': "keep"},
            "f:template": {"f:spec": {"f:containers": {'k:{"name":"web"}': web}}},
        },
    }


def _set(path: str, value: Any) -> Any:
    def change(obj: dict[str, Any]) -> None:
        where: Any = obj
        *parents, last = path.split("/")
        for part in parents:
            where = where[int(part)] if isinstance(where, list) else where[part]
        where[int(last) if isinstance(where, list) else last] = value

    return change


@pytest.mark.parametrize(
    "change",
    [
        _set("status/replicas", 9),
        _set("metadata/resourceVersion", "6"),
        _set("metadata/labels/other", "y"),
        _set("metadata/labels/new", "y"),
        _set("spec/paused", True),
        _set("spec/template/spec/containers/0/image", "another"),
        _set("spec/template/spec/containers/1/ports/0/hostIP", "z"),
        lambda obj: obj["spec"]["finalizers"].reverse(),
        lambda obj: obj["spec"]["template"]["spec"]["containers"].reverse(),
        lambda obj: obj["metadata"]["managedFields"].pop(),
    ],
)
def test_what_is_not_ours_is_no_drift(change: Any) -> None:
    changed = live()
    change(changed)
    assert owned_digest(changed) == owned_digest(live())


@pytest.mark.parametrize(
    "change",
    [
        _set("spec/replicas", 3),
        _set("metadata/labels/app", "z"),
        _set("spec/template/spec/containers/1/image", "w:2"),
        _set("spec/template/spec/containers/1/args", ["a"]),
        _set("spec/template/spec/containers/1/resources/limits/cpu", "1"),
        _set("spec/template/spec/containers/1/name", "renamed"),
        lambda obj: obj["spec"]["finalizers"].remove("keep"),
        lambda obj: obj["spec"].pop("replicas"),
        lambda obj: obj["spec"]["template"]["spec"]["containers"].pop(1),
        lambda obj: obj["metadata"]["managedFields"][0]["fieldsV1"]["f:spec"].pop("f:replicas"),
        lambda obj: obj["metadata"]["managedFields"].pop(0),
    ],
)
def test_what_is_ours_is_drift(change: Any) -> None:
    changed = live()
    change(changed)
    assert owned_digest(changed) != owned_digest(live())


def test_nothing_ours() -> None:
    assert owned_digest({"metadata": {}}) == ""
    assert owned_digest({}) == ""
    update = {"metadata": {"managedFields": [{"manager": MANAGER, "operation": "Update", "fieldsV1": FIELDS}]}}
    assert owned_fields(update) is None
    status = {"metadata": {"managedFields": [{"manager": MANAGER, "operation": "Apply", "subresource": "status"}]}}
    assert owned_fields(status) is None


def test_last_other_manager() -> None:
    assert last_other_manager(live()) == "kubectl-edit"
    assert last_other_manager({}) == ""


@pytest.mark.parametrize("path", ["i:0", "i:9", "i:x", "k:{}", "v:1", "q:?", "f:x"])
def test_odd_paths_do_not_raise(path: str) -> None:
    for value in ([], [1], {}, {"x": 1}, None, "text", 5):
        project(value, {path: {}})


def test_digest_ignores_the_order_of_keys() -> None:
    assert digest({"a": 1, "b": [1, 2]}) == digest({"b": [1, 2], "a": 1})
    assert digest([1, 2]) != digest([2, 1])
