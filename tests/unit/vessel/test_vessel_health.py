"""Health rules by kind, over objects as API servers give them."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vessel.health import _RULES, State, health

D, P, F = State.DONE, State.PROGRESSING, State.FAILED


def obj(api_version: str, kind: str, spec: Any = None, status: Any = None, generation: int = 2) -> dict[str, Any]:
    return {
        "apiVersion": api_version,
        "kind": kind,
        "metadata": {"generation": generation},
        "spec": spec or {},
        "status": status or {},
    }


def deployment(spec: Any = None, generation: int = 2, **status: Any) -> dict[str, Any]:
    return obj("apps/v1", "Deployment", {"replicas": 3} | (spec or {}), {"observedGeneration": 2} | status, generation)


FULL = {"replicas": 3, "updatedReplicas": 3, "availableReplicas": 3}
DEADLINE = {
    "conditions": [{"type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded", "message": "m"}]
}


@pytest.mark.parametrize(
    ("live", "state"),
    [
        (deployment(**FULL), D),
        (deployment(generation=3, **FULL), P),
        (obj("apps/v1", "Deployment", {"replicas": 0}), P),
        (deployment({"replicas": 0}), D),
        (deployment(**FULL | {"updatedReplicas": 2}), P),
        (deployment(**FULL | {"replicas": 4}), P),
        (deployment(**FULL | {"availableReplicas": 2}), P),
        (deployment(**FULL | {"availableReplicas": 2} | DEADLINE), F),
        (deployment({"paused": True}), D),
        (
            obj(
                "apps/v1",
                "Deployment",
                {},
                {"observedGeneration": 2, "replicas": 1, "updatedReplicas": 1, "availableReplicas": 1},
            ),
            D,
        ),
        (
            obj(
                "apps/v1",
                "StatefulSet",
                {"replicas": 2},
                {"observedGeneration": 2, "readyReplicas": 2, "updateRevision": "b", "currentRevision": "b"},
            ),
            D,
        ),
        (
            obj(
                "apps/v1",
                "StatefulSet",
                {"replicas": 2},
                {
                    "observedGeneration": 2,
                    "readyReplicas": 2,
                    "updatedReplicas": 1,
                    "updateRevision": "b",
                    "currentRevision": "a",
                },
            ),
            P,
        ),
        (obj("apps/v1", "StatefulSet", {"replicas": 2}, {"observedGeneration": 2, "readyReplicas": 1}), P),
        (obj("apps/v1", "StatefulSet", {"replicas": 2}, {}), P),
        (
            obj(
                "apps/v1",
                "StatefulSet",
                {"replicas": 0},
                {"observedGeneration": 2, "updateRevision": "b", "currentRevision": "a"},
            ),
            D,
        ),
        (
            obj(
                "apps/v1",
                "StatefulSet",
                {"replicas": 3, "updateStrategy": {"rollingUpdate": {"partition": 2}}},
                {"observedGeneration": 2, "readyReplicas": 3, "updatedReplicas": 1},
            ),
            D,
        ),
        (
            obj(
                "apps/v1",
                "StatefulSet",
                {"replicas": 3, "updateStrategy": {"rollingUpdate": {"partition": 2}}},
                {"observedGeneration": 2, "readyReplicas": 3, "updatedReplicas": 0},
            ),
            P,
        ),
        (
            obj(
                "apps/v1",
                "StatefulSet",
                {"replicas": 1, "updateStrategy": {"type": "OnDelete"}},
                {"observedGeneration": 2, "readyReplicas": 1, "updateRevision": "b", "currentRevision": "a"},
            ),
            D,
        ),
        (obj("apps/v1", "DaemonSet", {}, {"observedGeneration": 2, "desiredNumberScheduled": 0}), D),
        (
            obj(
                "apps/v1",
                "DaemonSet",
                {},
                {
                    "observedGeneration": 2,
                    "desiredNumberScheduled": 3,
                    "updatedNumberScheduled": 3,
                    "numberAvailable": 3,
                },
            ),
            D,
        ),
        (
            obj(
                "apps/v1",
                "DaemonSet",
                {},
                {
                    "observedGeneration": 2,
                    "desiredNumberScheduled": 3,
                    "updatedNumberScheduled": 2,
                    "numberAvailable": 3,
                },
            ),
            P,
        ),
        (
            obj(
                "apps/v1",
                "DaemonSet",
                {},
                {
                    "observedGeneration": 2,
                    "desiredNumberScheduled": 3,
                    "updatedNumberScheduled": 3,
                    "numberAvailable": 2,
                },
            ),
            P,
        ),
        (obj("apps/v1", "DaemonSet", {}, {}), P),
        (obj("apps/v1", "ReplicaSet", {"replicas": 1}, {"observedGeneration": 2, "availableReplicas": 1}), D),
        (obj("batch/v1", "Job", {}, {}), P),
        (obj("batch/v1", "Job", {}, {"conditions": [{"type": "Complete", "status": "True"}]}), D),
        (
            obj(
                "batch/v1",
                "Job",
                {},
                {"conditions": [{"type": "Failed", "status": "True", "message": "BackoffLimitExceeded"}]},
            ),
            F,
        ),
        (obj("batch/v1", "Job", {"suspend": True}, {}), D),
        (obj("batch/v1", "CronJob", {}, {}), D),
        (obj("apiextensions.k8s.io/v1", "CustomResourceDefinition", {}, {}), P),
        (
            obj(
                "apiextensions.k8s.io/v1",
                "CustomResourceDefinition",
                {},
                {"conditions": [{"type": "Established", "status": "True"}]},
            ),
            D,
        ),
        (
            obj(
                "apiextensions.k8s.io/v1",
                "CustomResourceDefinition",
                {},
                {"conditions": [{"type": "NamesAccepted", "status": "False"}]},
            ),
            F,
        ),
        (obj("v1", "Namespace", {}, {"phase": "Active"}), D),
        (obj("v1", "Namespace", {}, {"phase": "Terminating"}), P),
        (obj("v1", "PersistentVolumeClaim", {}, {"phase": "Pending"}), D),
        (obj("v1", "PersistentVolumeClaim", {}, {"phase": "Lost"}), F),
        (obj("v1", "Pod", {}, {"phase": "Pending"}), P),
        (obj("v1", "Pod", {}, {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}), D),
        (obj("v1", "Pod", {}, {"phase": "Running", "conditions": [{"type": "Ready", "status": "False"}]}), P),
        (obj("v1", "Pod", {}, {"phase": "Succeeded"}), D),
        (obj("v1", "Pod", {}, {"phase": "Failed", "message": "evicted"}), F),
        (obj("v1", "Service", {"type": "LoadBalancer"}, {"loadBalancer": {}}), D),
        (obj("v1", "ConfigMap"), D),
        (obj("apiregistration.k8s.io/v1", "APIService", {}, {}), P),
        (
            obj(
                "apiregistration.k8s.io/v1", "APIService", {}, {"conditions": [{"type": "Available", "status": "True"}]}
            ),
            D,
        ),
        (obj("shop.example/v1", "Order"), D),
        (obj("shop.example/v1", "Order", {}, {"observedGeneration": 1}), P),
        (
            obj(
                "shop.example/v1", "Order", {}, {"conditions": [{"type": "Ready", "status": "False", "message": "no"}]}
            ),
            P,
        ),
        (obj("shop.example/v1", "Order", {}, {"conditions": [{"type": "Ready", "status": "True"}]}), D),
        (obj("shop.example/v1", "Order", {}, {"conditions": [{"type": "Stalled", "status": "True"}]}), F),
        (obj("shop.example/v1", "Order", {}, {"conditions": [{"type": "Reconciling", "status": "True"}]}), P),
        (obj("policy/v1", "PodDisruptionBudget", {}, {"conditions": [{"type": "Ready", "status": "False"}]}), D),
    ],
)
def test_state(live: dict[str, Any], state: State) -> None:
    found = health(live)
    assert found.state is state, found
    assert bool(found.reason) is (state is not D)


def test_what_is_being_deleted_is_not_done() -> None:
    live = obj("v1", "ConfigMap")
    live["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    assert health(live).state is P


@pytest.mark.parametrize("kind", ["Deployment", "StatefulSet", "DaemonSet", "ReplicaSet"])
def test_half_an_object_does_not_raise(kind: str) -> None:
    assert health({"apiVersion": "apps/v1", "kind": kind}).state is P
    assert health({}).state is D


_ANY = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
_WORDS = st.sampled_from(
    [
        "replicas",
        "updatedReplicas",
        "availableReplicas",
        "readyReplicas",
        "observedGeneration",
        "paused",
        "updateStrategy",
        "type",
        "rollingUpdate",
        "partition",
        "conditions",
        "phase",
        "desiredNumberScheduled",
        "numberAvailable",
        "suspend",
        "succeeded",
        "completions",
        "message",
    ]
)
_CONDITIONS = st.lists(
    st.dictionaries(st.sampled_from(["type", "status", "reason", "message"]), _ANY | st.just("Ready")) | _ANY,
    max_size=3,
)
_PART = _ANY | st.dictionaries(_WORDS, _ANY | _CONDITIONS | st.dictionaries(_WORDS, _ANY, max_size=3), max_size=6)


@given(
    kind=st.sampled_from([*_RULES, ("example.com", "Thing")]),
    meta=_ANY | st.fixed_dictionaries({"generation": _ANY}),
    spec=_PART,
    status=_PART,
)
def test_every_shape_has_a_verdict(kind: tuple[str, str], meta: Any, spec: Any, status: Any) -> None:
    version = f"{kind[0]}/v1" if kind[0] else "v1"
    live = {"apiVersion": version, "kind": kind[1], "metadata": meta, "spec": spec, "status": status}
    verdict = health(live)
    assert verdict.state in State
    assert verdict.done or verdict.reason


def test_a_status_that_is_text_is_no_obstacle() -> None:
    assert health({"apiVersion": "example.com/v1", "kind": "Thing", "metadata": {}, "status": "running"}).done
