"""The Leases of reboots and of leaving in a real API server, by the commander's own user with its own rights alone."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from typing import Any

import pytest

from agents.contracts.command import Command, Verb
from agents.io.kube import Kube
from agents.io.kube_errors import KubeRejected
from edge_commander.acts.cluster import ActsCluster
from edge_commander.acts.reboot import Means, Reboots
from edge_commander.acts.rejoin import MARK
from edge_commander.acts.store import ActFile
from edge_commander.distribution.choice import connect as connect_observer
from edge_commander.distribution.existing import ExistingCluster
from edge_commander.distribution.settle import APPLY, USER, rights
from edge_commander.rolling.cluster import RollingCluster
from edge_commander.rolling.gate import Gate
from tests.site_in_a_box.kube_fixtures import NODES
from tests.site_in_a_box.kube_site import KubeSite

ROSTER = (*NODES, "kitchen-9")
"""The last of them is no Node now."""
LEASES = "/apis/coordination.k8s.io/v1/namespaces/kube-system/leases"


class Clock:
    """The machine's time, put forward by hand: Leases are written by the machine's."""

    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        return self.now

    def wall_ms(self) -> int:
        return time.time_ns() // 10**6 + int(self.now * 1000)

    async def sleep(self, seconds: float) -> None:
        raise AssertionError("nothing waits here")


@pytest.fixture
async def kube(kube_site: KubeSite) -> AsyncIterator[Any]:
    """The commander's own user, with the rights that a member gives it."""
    admin = await Kube.connect(kubeconfig=kube_site.kubeconfig, user_agent="galley-test")
    for path, body in rights():
        params = {"fieldManager": "galley-edge-commander", "force": "true"}
        await admin.request("PATCH", path, params=params, body=body, content_type=APPLY)
    yield admin.acting_as(USER)
    for name in ("galley-reboot", "galley-wipe"):
        try:
            await admin.request("DELETE", f"{LEASES}/{name}")
        except KubeRejected as error:
            assert error.status == 404
    await admin.aclose()


def told(number: int) -> Command:
    return Command(
        id=f"{number:032x}", verb=Verb.REBOOT, site="store-1", node="n-abcdefghij234567", sequence=number,
        challenge="c", issued=1, expires=2,
    )  # fmt: skip


def cluster(kube: Any, kube_site: KubeSite, clock: Clock) -> ActsCluster:
    async def connect() -> Any:
        return kube

    return ActsCluster(ExistingCluster(kube_site.kubeconfig, connect_observer), connect, clock.wall_ms, lambda: ROSTER)


async def test_one_reboot_an_hour_in_a_site_whichever_node_is_told(
    kube: Any, kube_site: KubeSite, tmp_path: Any
) -> None:
    clock, boots = Clock(), dict[str, str]()

    def node(name: str) -> Reboots:
        async def machine() -> None:
            boots[name] = f"{boots[name]}+"

        boots[name] = "boot"
        (tmp_path / name).mkdir()
        return Reboots(
            Means(
                store=ActFile(tmp_path / name), me=lambda: name, cluster=cluster(kube, kube_site, clock),
                boot=lambda: boots[name], machine=machine, now_ms=clock.wall_ms, clock=clock,
            )
        )  # fmt: skip

    first, second = (node(name) for name in NODES[:2])
    assert await first.execute(told(1)) is None
    done = await first.execute(told(1))
    assert done is not None and done.result == "done"
    refused = await second.execute(told(2))
    assert refused is not None and refused.result == "refused" and refused.detail.startswith(f"{NODES[0]} was rebooted")
    clock.now += 3600.0
    assert await second.execute(told(3)) is None and boots[NODES[1]] == "boot+"


async def test_of_two_that_read_the_same_one_writes(kube: Any, kube_site: KubeSite) -> None:
    clock = Clock()
    one, other = cluster(kube, kube_site, clock), cluster(kube, kube_site, clock)
    assert (await one.last_reboot()).at == (await other.last_reboot()).at == 0
    assert await one.reboots(NODES[0], "a" * 32, "boot-1")
    assert not await other.reboots(NODES[1], "b" * 32, "boot-2")
    found = await other.last_reboot()
    assert (found.node, found.command, found.boot) == (NODES[0], "a" * 32, "boot-1")
    assert 0 <= clock.wall_ms() - found.at < 600_000


async def test_one_node_at_a_time_leaves_and_the_turn_is_its_commands(kube: Any, kube_site: KubeSite) -> None:
    clock = Clock()
    one, other = cluster(kube, kube_site, clock), cluster(kube, kube_site, clock)
    assert await one.take_leave(NODES[0], "a" * 32) and await one.take_leave(NODES[0], "a" * 32)
    assert not await other.take_leave(NODES[1], "b" * 32)
    assert (await other.see(NODES[1])).busy == f"{NODES[0]} is being wiped, or joins anew"
    assert (await one.see(NODES[0])).busy == ""
    await other.give_leave_back(NODES[0], "b" * 32)
    assert not await other.take_leave(NODES[1], "b" * 32), "another command's turn is not ended"
    clock.now += 365 * 86400.0
    assert (await other.see(NODES[1])).busy, "no clock ends it"
    assert not await other.take_leave(NODES[1], "b" * 32)
    clock.now -= 365 * 86400.0
    await one.give_leave_back(NODES[0], "a" * 32)
    assert await other.take_leave(NODES[1], "b" * 32)
    await other.give_leave_back(NODES[1], "b" * 32)


async def test_a_node_that_left_keeps_its_turn_and_a_retired_one_does_not(kube: Any, kube_site: KubeSite) -> None:
    clock = Clock()
    other = cluster(kube, kube_site, clock)
    for holder, kept in (("kitchen-9", True), ("retired-1", False)):
        one = cluster(kube, kube_site, clock)
        assert await one.take_leave(holder, "a" * 32)
        assert bool((await other.see(NODES[1])).busy) is kept, holder
        assert await other.take_leave(NODES[1], "b" * 32) is not kept, holder
        await one.give_leave_back(holder, "a" * 32)
        await other.give_leave_back(NODES[1], "b" * 32)


async def test_the_cordon_of_a_command_is_another_than_an_upgrades(kube: Any, kube_site: KubeSite) -> None:
    async def connect() -> Any:
        return kube

    ours, upgrades = Gate(connect, MARK), RollingCluster(connect)
    await ours.cordon(NODES[0], 1)
    assert (await ours.node(NODES[0])).marked and not (await upgrades.node(NODES[0])).marked
    await upgrades.uncordon(NODES[0])
    assert (await ours.node(NODES[0])).cordoned, "an upgrade leaves it alone"
    await ours.uncordon(NODES[0])
    assert not (await ours.node(NODES[0])).cordoned


async def test_the_user_may_write_no_other_lease(kube: Any) -> None:
    with pytest.raises(KubeRejected) as refused:
        await kube.request("GET", f"{LEASES}/somebody-elses")
    assert refused.value.status == 403
