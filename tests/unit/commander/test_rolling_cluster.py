"""What an upgrade asks of the cluster: its Lease, our own cordon, evictions; and how former and usher heed it."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import pytest

from agents.contracts.orders import OrderKind, SiteOrder
from agents.contracts.siblings import SlotRequest
from agents.core.errors import Retryable
from agents.core.ports import ApiProblem, Object
from agents.io.kube_errors import KubeRejected
from edge_commander.formation.lease import JoinLease
from edge_commander.reasons import NOTHING, Reason, Why
from edge_commander.rolling.cluster import MARK, RollingCluster, notes_of
from edge_commander.rolling.gate import OwnNode
from edge_commander.rolling.plan import Turn, unfit
from edge_commander.rolling.pods import evictable
from edge_commander.rolling.roller import Work
from tests.fakes.formation_world import World

LEASES = "/apis/coordination.k8s.io/v1/namespaces/kube-system/leases"
NODE = "/api/v1/nodes/nuc-1"


class Kube:
    """Answers by method and path; an error is raised. `sent`: what was asked, with its body."""

    def __init__(self, answers: Mapping[str, Any]) -> None:
        self.answers, self.sent = dict(answers), list[tuple[str, Any]]()

    async def request(self, method: str, path: str, *, body: Any = None, **_: Any) -> Object:
        self.sent.append((f"{method} {path}", body))
        found = self.answers.get(f"{method} {path}", {})
        if isinstance(found, int):
            raise KubeRejected(ApiProblem(status=found, reason="NotFound", message="no"))
        if isinstance(found, Exception):
            raise found
        answer: Object = found
        return answer


def cluster(answers: Mapping[str, Any]) -> tuple[RollingCluster, Kube]:
    kube = Kube(answers)

    async def connect() -> Any:
        return kube

    return RollingCluster(connect), kube


def lease(turn: Turn) -> Object:
    return {"metadata": {"annotations": notes_of(turn)}, "spec": {"holderIdentity": turn.holder, "leaseTransitions": 1}}


async def read_turn(found: Object) -> Turn:
    rolling, _ = cluster({f"GET {LEASES}/galley-upgrade": found})
    return await rolling.turn()


async def test_a_turn_is_read_as_it_was_written() -> None:
    for turn in (Turn("nuc-1", 10, 2), Turn(order=10, stopped="nuc-1", why="x" * 900), Turn()):
        read = await read_turn(lease(turn))
        assert read == dataclasses.replace(turn, why=turn.why[:300])
    odd: Object = {"metadata": {"annotations": {"galley/order": "-1", "galley/tries": "9" * 40}}, "spec": {}}
    assert await read_turn(odd) == await read_turn({}) == Turn()


async def test_the_lease_is_made_once_and_replaced_against_what_was_read() -> None:
    rolling, kube = cluster({f"GET {LEASES}/galley-upgrade": 404})
    assert await rolling.turn() == Turn()
    assert await rolling.put(Turn("nuc-1", 10))
    assert kube.sent[-1][0] == f"POST {LEASES}" and "resourceVersion" not in kube.sent[-1][1]["metadata"]
    held = lease(Turn("nuc-2", 9, 1))
    held["metadata"]["resourceVersion"] = "77"
    rolling, kube = cluster({f"GET {LEASES}/galley-upgrade": held})
    assert (await rolling.turn()).holder == "nuc-2"
    assert await rolling.put(Turn("nuc-1", 10))
    assert kube.sent[-1][1]["metadata"]["resourceVersion"] == "77" and kube.sent[-1][1]["spec"]["leaseTransitions"] == 2


@pytest.mark.parametrize("status", [409, 404])
async def test_another_was_faster(status: int) -> None:
    rolling, _ = cluster({f"GET {LEASES}/galley-upgrade": 404, f"POST {LEASES}": status})
    await rolling.turn()
    assert not await rolling.put(Turn("nuc-1", 10))


def node(*, cordoned: bool = False, mark: str | None = None) -> Object:
    notes = {} if mark is None else {MARK: mark}
    return {"metadata": {"resourceVersion": "5", "annotations": notes}, "spec": {"unschedulable": cordoned}}


async def test_cordon_and_mark_are_one_write_and_a_persons_cordon_is_left() -> None:
    rolling, kube = cluster({f"GET {NODE}": node()})
    await rolling.cordon("nuc-1", 10)
    assert kube.sent[-1] == (
        f"PATCH {NODE}",
        {"metadata": {"resourceVersion": "5", "annotations": {MARK: "10"}}, "spec": {"unschedulable": True}},
    )
    rolling, kube = cluster({f"GET {NODE}": node(cordoned=True)})
    assert await rolling.node("nuc-1") == OwnNode(cordoned=True, marked=False, version="5")
    await rolling.cordon("nuc-1", 10)
    await rolling.uncordon("nuc-1")
    assert not [one for one, _ in kube.sent if one.startswith("PATCH")]


async def test_uncordon_takes_both_back_and_a_change_meanwhile_is_looked_at_again() -> None:
    rolling, kube = cluster({f"GET {NODE}": node(cordoned=True, mark="10")})
    await rolling.uncordon("nuc-1")
    assert kube.sent[-1][1]["metadata"]["annotations"] == {MARK: None}
    assert kube.sent[-1][1]["spec"] == {"unschedulable": None}
    rolling, kube = cluster({f"GET {NODE}": node(), f"PATCH {NODE}": 409})
    with pytest.raises(Retryable):
        await rolling.cordon("nuc-1", 10)


def pod(name: str, **more: Any) -> Object:
    meta = {"namespace": "shop", "name": name, "uid": f"u-{name}", **more.pop("meta", {})}
    return {"metadata": meta, "status": {"phase": "Running"}, **more}


PODS = [
    pod("till"),
    pod("etcd", meta={"annotations": {"kubernetes.io/config.mirror": "x"}}),
    pod("agent", meta={"ownerReferences": [{"kind": "DaemonSet", "controller": True}]}),
    pod("job", status={"phase": "Succeeded"}),
    pod("ends", meta={"deletionTimestamp": "2026-01-01T00:00:00Z"}),
    pod("card"),
]


def test_static_pods_daemon_sets_and_ended_ones_are_left_alone() -> None:
    assert [(one.name, one.going) for one in evictable(PODS)] == [("card", False), ("ends", True), ("till", False)]


async def test_what_a_budget_keeps_is_asked_again_and_the_next_is_asked_all_the_same() -> None:
    base = "POST /api/v1/namespaces/shop/pods"
    answers = {"GET /api/v1/pods": {"items": PODS}, f"{base}/card/eviction": Retryable("429: a budget")}
    rolling, kube = cluster(answers)
    assert [one.text for one in await rolling.evict("nuc-1")] == ["shop/card", "shop/ends", "shop/till"]
    asked = [one for one, _ in kube.sent[1:]]
    assert asked == [f"{base}/card/eviction", f"{base}/till/eviction"], "one that goes already is not asked"
    assert kube.sent[-1][1]["deleteOptions"] == {"preconditions": {"uid": "u-till"}}
    rolling, kube = cluster({"GET /api/v1/pods": {"items": PODS}, f"{base}/card/eviction": 404})
    assert len(await rolling.evict("nuc-1")) == 3
    rolling, kube = cluster({"GET /api/v1/pods": {"items": PODS}, f"{base}/card/eviction": 403})
    with pytest.raises(KubeRejected):
        await rolling.evict("nuc-1")


def test_which_version_may_follow_which() -> None:
    for now, wanted in (("v1.36.2", "1.36.3"), ("v1.36.2", "v1.37.0"), ("v1.33.1+k3s1", "v1.33.1+k3s2")):
        assert unfit(now, wanted) == ""
    for now, wanted, text in (
        ("v1.36.2", "1.36.1", "back"), ("v1.36.2", "1.38.0", "skipped"), ("v1.36.2", "2.0.0", "skipped"),
        ("v1.33.1+k3s2", "v1.33.1+k3s1", "back"), ("", "1.36.3", "compared"),
    ):  # fmt: skip
        assert text in unfit(now, wanted)


class FakeRoller:
    def __init__(self) -> None:
        self.aside, self.done = Reason(Why.TURN), 0

    async def turn(self, site: Any) -> Reason | Work:
        if self.done:
            return NOTHING
        return Work("upgrade to 1.36.3", self._run())

    async def _run(self) -> None:
        self.done += 1


async def test_the_former_pays_for_an_upgrade_only_where_one_is_ordered_and_runs_it_beside_its_turns() -> None:
    world = World(1)
    await world.round(15)
    former, roller = world.nodes["n0"].former, FakeRoller()
    made = []
    object.__setattr__(former._p, "roller", lambda: made.append(1) or roller)
    site = world.site("n0")
    assert await former.turn(site, NOTHING) == NOTHING and not made and former.aside == NOTHING
    order = SiteOrder(site="store-1", epoch=1, kind=OrderKind.UPGRADE, number=1, version="1.36.3", issued_at=0)
    site = dataclasses.replace(site, orders=(order,))
    assert await former.turn(site, NOTHING) == Reason(Why.STARTING, "upgrade to 1.36.3")
    while former.busy:
        assert former._task is not None
        await former._task
    assert await former.turn(site, NOTHING) == NOTHING
    assert (roller.done, made, former.aside) == (1, [1], Reason(Why.TURN))


async def test_nobody_joins_while_another_is_upgraded() -> None:
    world = World(3)
    world.off = {"n2"}
    await world.round(30)
    usher, busy = world.nodes["n0"].usher, "nuc-n1"

    async def upgrading() -> str:
        return busy

    usher._upgrading = upgrading
    refused = await usher.ask("n2", SlotRequest(epoch=1, fresh=True))
    assert not refused.granted and "nuc-n1 is upgraded" in refused.reason
    world.disks["n1"].began = None
    world.now += 899
    assert "is upgraded" in (await usher.ask("n2", SlotRequest(epoch=1, fresh=True))).reason
    world.now += 2
    assert (await usher.ask("n2", SlotRequest(epoch=1, fresh=True))).granted, "a dead one keeps nobody out for ever"
    world.disks["n1"].began = ("join", 1)
    assert not (await usher.ask("n2", SlotRequest(epoch=1, fresh=True))).granted
    busy = "nuc-gone"
    assert (await usher.ask("n2", SlotRequest(epoch=1, fresh=True))).granted, "it is no member"
    busy = "nuc-n2"  # it was swapped in the middle of its own: it comes back by a join
    assert (await usher.ask("n2", SlotRequest(epoch=1, fresh=True))).granted


async def test_nobody_joins_while_a_ready_member_is_about_to_be_wiped() -> None:
    world = World(3)
    world.off = {"n2"}
    await world.round(30)
    usher, wiped = world.nodes["n0"].usher, "nuc-n1"

    async def wiping() -> str:
        return wiped

    usher._wiping = wiping
    refused = await usher.ask("n2", SlotRequest(epoch=1, fresh=True))
    assert not refused.granted and "nuc-n1 is being wiped" in refused.reason
    world.disks["n1"].began = None  # it is being erased: others may join meanwhile
    assert (await usher.ask("n2", SlotRequest(epoch=1, fresh=True))).granted
    wiped = "nuc-n2"  # it comes back by a join
    assert (await usher.ask("n2", SlotRequest(epoch=1, fresh=True))).granted


async def test_who_is_upgraded_is_read_of_the_lease() -> None:
    for found, name in ((404, ""), (lease(Turn("nuc-2", 3)), "nuc-2"), (lease(Turn(order=3)), "")):
        kube = Kube({f"GET {LEASES}/galley-upgrade": found})

        async def connect(kube: Kube = kube) -> Any:
            return kube

        assert await JoinLease(connect).upgrading() == name
