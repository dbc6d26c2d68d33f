"""Counting API calls from audit events, as kube-apiserver writes them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.site_in_a_box.kube_audit import CallKind, calls_in, count, read_calls


def event(audit_id: str, **fields: Any) -> bytes:
    base = {
        "auditID": audit_id,
        "stage": "ResponseComplete",
        "verb": "patch",
        "requestURI": "/apis/apps/v1/namespaces/kitchen/deployments/pos?fieldManager=vessel",
        "user": {"username": "vessel"},
        "objectRef": {"resource": "deployments", "apiGroup": "apps", "namespace": "kitchen", "name": "pos"},
        "responseStatus": {"code": 200},
    }
    return json.dumps(base | fields).encode() + b"\n"


def test_a_watch_with_two_events_is_one_call() -> None:
    events = [
        event("1", verb="watch", stage="ResponseStarted"),
        event("2"),
        event("1", verb="watch", stage="ResponseComplete"),
    ]
    counts = count(calls_in(events))
    assert counts == {
        CallKind("vessel", "watch", "deployments.apps"): 1,
        CallKind("vessel", "patch", "deployments.apps"): 1,
    }


def test_resources_are_named_with_group_and_subresource_and_paths_without_a_resource() -> None:
    events = [
        event("1", objectRef={"resource": "pods", "subresource": "status"}),
        event("2", objectRef=None, requestURI="/apis?timeout=32s", verb="get"),
        event("3", objectRef={"resource": "deployments", "apiGroup": "apps", "subresource": "scale"}),
    ]
    assert [call.resource for call in calls_in(events)] == ["pods/status", "/apis", "deployments.apps/scale"]


def test_dry_runs_are_told_apart_by_the_query_alone() -> None:
    path = "/api/v1/namespaces/kitchen/configmaps/dryRun=All"
    calls = list(calls_in([event("1", requestURI=f"{path}?dryRun=All&force=true"), event("2", requestURI=path)]))
    assert [call.dry_run for call in calls] == [True, False]


def test_reading_starts_at_the_mark_and_leaves_out_a_line_being_written(tmp_path: Path) -> None:
    log = tmp_path / "audit.log"
    assert list(read_calls(log)) == []
    log.write_bytes(event("1"))
    mark = log.stat().st_size
    log.write_bytes(event("1") + event("2") + event("3")[:40])
    assert len(list(read_calls(log))) == 2
    assert len(list(read_calls(log, since=mark))) == 1
