"""An API server's answer becomes Retryable or KubeRejected, and no Secret's content gets into the text."""

from __future__ import annotations

import base64
import json

import pytest

from agents.core.errors import Retryable
from agents.io.kube_errors import Gone, KubeRejected, ServerFault, error_of

STATUS = {"kind": "Status", "reason": "Invalid", "message": "it is invalid",
          "details": {"causes": [{"field": "spec.replicas", "message": "must be positive"}]}}  # fmt: skip


@pytest.mark.parametrize(
    ("status", "family"),
    [
        *((status, Retryable) for status in (408, 429, 502, 503, 504)),
        *((status, KubeRejected) for status in (302, 400, 401, 403, 404, 405, 409, 413, 415, 422)),
        (500, ServerFault),
        (410, Gone),
    ],
)
def test_families(status: int, family: type) -> None:
    assert type(error_of(status, {}, json.dumps(STATUS).encode(), path="/api/v1/pods")) is family


def test_problem_is_read() -> None:
    error = error_of(422, {}, json.dumps(STATUS).encode(), path="/apis/apps/v1/deployments")
    assert isinstance(error, KubeRejected)
    assert (error.problem.reason, error.problem.message) == ("Invalid", "it is invalid")
    assert list(error.problem.causes) == ["spec.replicas: must be positive"]


def test_an_objects_own_fault_that_comes_as_500() -> None:
    head = "failed to create typed patch object (restaurant/menu; apps/v1, Kind=Deployment): "
    for message, causes in (
        (".spec.replicas: expected numeric, got string", ["spec.replicas: expected numeric, got string"]),
        ("errors:\n  .spec.a: field not declared in schema\n  .spec.b: bad", ["spec.a: field not declared in schema",
         "spec.b: bad"]),
    ):  # fmt: skip
        status = {"kind": "Status", "reason": "InternalError", "message": head + message}
        error = error_of(500, {}, json.dumps(status).encode(), path="/apis/apps/v1/deployments")
        assert isinstance(error, KubeRejected)
        assert list(error.problem.causes) == causes


@pytest.mark.parametrize(("header", "seconds"), [("3", 3.0), ("", None), ("soon", None), ("-1", 0.0)])
def test_retry_after(header: str, seconds: float | None) -> None:
    error = error_of(429, {"Retry-After": header}, b"", path="/x")
    assert isinstance(error, Retryable) and error.retry_after == seconds


def test_not_json() -> None:
    assert "bad gateway" in str(error_of(502, {}, b"<html>bad gateway", path="/x"))


SECRET = {
    "kind": "Secret",
    "data": {"a": base64.b64encode(b"hunter2").decode(), "n": 12345},
    "stringData": {"b": "s3cr3t"},
}


@pytest.mark.parametrize("message", [
    'Secret "x" is invalid: data[a]: Invalid value: "hunter2": not good',
    "failed to create typed patch object: .data.n: expected string, got &value.valueUnstructured{Value:12345}",
    "something about s3cr3t here", f"something about {base64.b64encode(b'hunter2').decode()}", "hunter2",
])  # fmt: skip
def test_secrets_are_hidden(message: str) -> None:
    answer = {"message": message, "details": {"causes": [{"field": "data", "message": message}]}}
    error = error_of(422, {}, json.dumps(answer).encode(), path="/api/v1/namespaces/x/secrets/y", body=SECRET)
    assert isinstance(error, KubeRejected)
    for text in (str(error), repr(error), str(error.problem)):
        for value in ("hunter2", "12345", "s3cr3t", base64.b64encode(b"hunter2").decode()):
            assert value not in text
