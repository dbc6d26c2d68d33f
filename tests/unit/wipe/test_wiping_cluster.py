"""What a wipe asks of the cluster: its Lease, who else is busy, the cordon with a mark of its own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from agents.core.errors import Retryable
from agents.core.ports import ApiProblem, Object
from agents.io.kube_errors import KubeRejected
from edge_commander.distribution.port import ClusterMember
from edge_commander.distribution.settle import rights
from edge_commander.formation.lease import JoinLease
from edge_commander.wiping.cluster import COMMAND, MARK, WipeCluster

LEASES = "/apis/coordination.k8s.io/v1/namespaces/kube-system/leases"
NAMES = READY = ("nuc-1", "nuc-2", "nuc-3")


class Kube:
    """Answers by method and path; a number is an error. `sent`: what was asked, with its body."""

    def __init__(self, answers: Mapping[str, Any]) -> None:
        self.answers, self.sent = dict(answers), list[tuple[str, Any]]()

    async def request(self, method: str, path: str, *, body: Any = None, **_: Any) -> Object:
        self.sent.append((f"{method} {path}", body))
        found = self.answers.get(f"{method} {path}", 404 if method == "GET" else {})
        if isinstance(found, int):
            raise KubeRejected(ApiProblem(status=found, reason="NotFound", message="no"))
        return dict(found)


def made(answers: Mapping[str, Any]) -> tuple[WipeCluster, Kube]:
    kube = Kube(answers)

    async def connect() -> Any:
        return kube

    return WipeCluster(connect), kube


def held(by: str) -> Object:
    return {"metadata": {"resourceVersion": "7"}, "spec": {"holderIdentity": by, "leaseTransitions": 3}}


async def test_the_lease_is_taken_against_what_was_read_and_given_back_by_its_holder_alone() -> None:
    cluster, kube = made({})
    assert await cluster.holder() == ""
    assert await cluster.take("nuc-1", "a" * 32)
    method, body = kube.sent[-1]
    assert (method, body["spec"]["holderIdentity"]) == (f"POST {LEASES}", "nuc-1")
    assert body["metadata"]["annotations"] == {COMMAND: "a" * 32}
    path = f"{LEASES}/galley-wipe"
    cluster, kube = made({f"GET {path}": held("nuc-2"), f"PUT {path}": 409})
    assert await cluster.holder() == "nuc-2"
    assert not await cluster.take("nuc-1", "a" * 32)  # another was faster
    assert await cluster.give_back("nuc-1") and kube.sent[-1][0].startswith("GET")  # it is not ours
    cluster, kube = made({f"GET {path}": held("nuc-1")})
    assert await cluster.give_back("nuc-1")
    method, body = kube.sent[-1]
    assert method == f"PUT {path}" and "holderIdentity" not in body["spec"]
    assert body["metadata"]["resourceVersion"] == "7"


@pytest.mark.parametrize(
    ("lease", "by", "ready", "word"),
    [
        ("galley-join", "nuc-2", ("nuc-1",), "nuc-2 is joining"),
        ("galley-join", "nuc-2", READY, ""),  # it has joined
        ("galley-join", "nuc-1", ("nuc-2",), ""),  # that was this node's own
        ("galley-join", "nuc-gone", READY, ""),
        ("galley-upgrade", "nuc-2", READY, "nuc-2 is upgraded"),
        ("galley-upgrade", "nuc-1", READY, "this node is upgraded just now"),
        ("galley-upgrade", "nuc-2", ("nuc-1",), "nuc-2 is upgraded"),  # it is down meanwhile
        ("galley-upgrade", "nuc-gone", READY, ""),
        ("galley-rotation", "nuc-3", READY, "nuc-3 renews its certificates just now"),
        ("galley-rotation", "nuc-3", ("nuc-1",), ""),  # it is down, which is another matter
    ],
)
async def test_who_joins_is_upgraded_or_renews_is_waited_for(
    lease: str, by: str, ready: tuple[str, ...], word: str
) -> None:
    cluster, _ = made({f"GET {LEASES}/{lease}": held(by)})
    members = [ClusterMember(name, name in ready, True) for name in NAMES]
    assert await cluster.busy("nuc-1", members, NAMES) == word


async def test_a_cordon_of_ours_is_not_an_upgrades_and_a_persons_stays() -> None:
    node = "/api/v1/nodes/nuc-1"
    cluster, kube = made({f"GET {node}": {"metadata": {"resourceVersion": "5"}, "spec": {}}})
    await cluster.cordon("nuc-1", "a" * 32)
    body = kube.sent[-1][1]
    assert body["metadata"]["annotations"] == {MARK: "a" * 32} and body["spec"] == {"unschedulable": True}
    for marks in ({}, {"galley/cordoned-for": "3"}):
        found = {"metadata": {"resourceVersion": "5", "annotations": marks}, "spec": {"unschedulable": True}}
        cluster, kube = made({f"GET {node}": found})
        await cluster.uncordon("nuc-1")
        assert [sent for sent, _ in kube.sent] == [f"GET {node}"]
    cluster, _ = made({f"GET {node}": {"metadata": {}, "spec": {}}, f"PATCH {node}": 409})
    with pytest.raises(Retryable):
        await cluster.cordon("nuc-1", "a" * 32)


async def test_the_commander_may_use_the_lease_and_siblings_read_it() -> None:
    roles = [body for _, body in rights() if body["kind"] == "Role"]
    assert any("galley-wipe" in rule.get("resourceNames", ()) for role in roles for rule in role["rules"])
    for found, holder in ((held("nuc-2"), "nuc-2"), (404, ""), (403, "")):  # 403: rights of an older version
        kube = Kube({f"GET {LEASES}/galley-wipe": found})

        async def connect(kube: Kube = kube) -> Any:
            return kube

        assert await JoinLease(connect).wiping() == holder
