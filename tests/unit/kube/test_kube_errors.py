"""An API server's answer becomes Retryable or KubeRejected, and no Secret's content gets into the text."""

from __future__ import annotations

import base64
import json

import pytest

from agents.core.errors import Retryable
from agents.io.kube_errors import Gone, KubeRejected, NotServed, ServerFault, error_of

STATUS = {"kind": "Status", "reason": "Invalid", "message": "it is invalid",
          "details": {"causes": [{"field": "spec.replicas", "message": "must be positive"}]}}  # fmt: skip


@pytest.mark.parametrize(
    ("status", "family"),
    [
        *((status, Retryable) for status in (408, 429, 502, 503, 504)),
        *((status, KubeRejected) for status in (302, 400, 401, 403, 405, 409, 413, 415, 422)),
        (500, ServerFault),
        (410, Gone),
    ],
)
def test_families(status: int, family: type) -> None:
    assert type(error_of(status, {}, json.dumps(STATUS).encode(), path="/api/v1/pods")) is family


def test_an_object_that_is_not_there_and_a_kind_that_is_not_served_are_two_things() -> None:
    status = {"kind": "Status", "reason": "NotFound", "message": 'configmaps "m" not found', "details": {"name": "m"}}
    absent = error_of(404, {}, json.dumps(status).encode(), path="/api/v1/namespaces/n/configmaps/m")
    assert type(absent) is KubeRejected and absent.status == 404
    unserved = error_of(404, {}, b"404 page not found\n", path="/apis/example.com/v1/namespaces/n/things/m")
    assert isinstance(unserved, NotServed) and unserved.status == 404 and "not served" in str(unserved)


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


MARK = "hunter2SuperSecret"


@pytest.mark.parametrize(
    ("part", "message"),
    [
        ({"data": MARK}, ".data: expected map, got &{%s}"),
        ({"stringData": [MARK]}, ".stringData: expected map, got &{[%s]}"),
        ({"data": {"p": {"x": MARK}}}, '.data.p: expected string, got &value.valueUnstructured{Value:{"x":"%s"}}'),
        ({"stringData": {"p": [MARK]}}, "cannot use %s here"),
        ({"stringData": {f"{MARK} =": "x"}}, "data[%s =]: is no key"),
        ({"password": {"deep": [MARK]}}, "odd: %s"),
        ({"stringData": {"p": f'one\n{MARK} "two"'}}, 'got "one\\n%s \\"two\\""'),
        ({"stringData": {"p": f"one\n{MARK}"}}, "line 2: %s"),
        ({"metadata": {"name": "s", "annotations": {f"bad {MARK}": "x"}}}, "annotations: bad %s"),
    ],
)
@pytest.mark.parametrize("status", [422, 500])
def test_no_value_of_a_secret_wherever_it_stands(part: dict[str, object], message: str, status: int) -> None:
    body = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"}, **part}
    head = "failed to create typed patch object (kitchen/s; /v1, Kind=Secret): "
    said = head + (message % MARK)
    cause = {"field": message % MARK, "message": message % MARK}
    answer = {"kind": "Status", "message": said, "details": {"causes": [cause]}}
    error = error_of(status, {}, json.dumps(answer).encode(), path="/api/v1/namespaces/kitchen/secrets/s", body=body)
    assert isinstance(error, KubeRejected)
    assert MARK not in repr(error.problem) + str(error) and "Kind=Secret" in error.problem.message


def test_a_value_that_the_bound_cuts_is_hidden_first() -> None:
    body = {"kind": "Secret", "data": {"p": MARK}}
    for length in range(1470, 1500):
        answer = {"message": "x" * length + MARK, "details": {"causes": [{"message": "y" * (length - 1000) + MARK}]}}
        error = error_of(422, {}, json.dumps(answer).encode(), path="/x", body=body)
        assert isinstance(error, KubeRejected) and "hunt" not in repr(error.problem)
    long = {"message": f"odd: {MARK * 4000}"}
    assert str(error_of(422, {}, json.dumps(long).encode(), path="/x", body=body)) == "(hidden)"
    quoted = {"message": f'Invalid value: "{MARK} and more without an end'}
    assert "more" not in str(error_of(422, {}, json.dumps(quoted).encode(), path="/secrets", body=None))


@pytest.mark.parametrize("answer", [{"details": 5}, {"details": {"causes": 5}}, {"details": {"causes": [5]}}, [5], 5])
def test_an_answer_of_another_shape(answer: object) -> None:
    assert isinstance(error_of(422, {}, json.dumps(answer).encode(), path="/x"), KubeRejected)
