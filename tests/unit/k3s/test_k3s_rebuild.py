"""k3s of an older epoch stops and stays down; its snapshots bring their secrets into the next one."""

from __future__ import annotations

import shutil
from dataclasses import replace
from types import SimpleNamespace

import msgspec
import pytest

from agents.core.errors import Retryable
from edge_commander.distribution.k3s import snapshots
from edge_commander.distribution.k3s.plan import JOIN_LEASE
from tests.fakes.k3s_kit import plan
from tests.fakes.k3s_world import World


async def test_it_stops_stays_down_over_a_boot_and_keeps_its_data(world: World) -> None:
    await world.k3s().init(plan())
    before = sorted(one.name for one in world.root.rglob("*") if one.is_file() and one.name != "calls")
    await world.k3s().stop()
    assert not world.active and not (world.root / "enabled").exists()
    assert world.calls[-2:] == ["systemctl disable k3s.service", "systemctl stop k3s.service"]
    told = len(world.told)
    await world.k3s().stop()
    assert len(world.told) == told, "it is down"
    after = sorted(one.name for one in world.root.rglob("*") if one.is_file() and one.name != "calls")
    assert set(before) - set(after) <= {"active", "enabled"}


async def test_a_node_without_a_cluster_has_nothing_to_stop(world: World) -> None:
    await world.k3s().stop()
    assert world.calls == [] and world.told == []


async def test_stopped_then_reset_it_is_restored_in_the_next_epoch_with_the_secrets_of_the_snapshot(
    world: World,
) -> None:
    await world.k3s().init(plan())
    await world.k3s().snapshot("auto-1")
    await world.k3s().stop()
    await world.k3s().reset()
    (found,) = await world.k3s().snapshots()
    assert (found.site, found.epoch, found.taken) == ("store-01234", 1, 1000) and found.secrets is not None
    assert found.bytes > 0
    secrets = msgspec.structs.replace(found.secrets, epoch=2)
    await world.k3s().restore(found.path, replace(plan(epoch=2), secrets=secrets))
    assert f"restored {found.path}" in world.events and JOIN_LEASE in world.deleted


async def test_the_oldest_that_were_taken_by_themselves_go_with_their_secrets(world: World) -> None:
    await world.k3s().init(plan())
    await world.k3s().snapshot("by-hand")
    for number in range(world.settings.snapshot_keep + 2):
        await world.k3s().snapshot(f"auto-{number}")
    found = await world.k3s().snapshots()
    names = [one.path.rpartition("/")[2].rpartition("-nuc-1-")[0] for one in found]
    assert names == [*(f"auto-{number}" for number in range(6, 1, -1)), "by-hand"]
    kept = {one.name for one in world.place("/keep/k3s/secrets").iterdir()}
    assert kept == {f"{one.path.rpartition('/')[2]}.json" for one in found}


async def test_without_room_k3s_is_not_asked_for_one(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    await world.k3s().init(plan())
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=1))
    with pytest.raises(Retryable, match="/keep/k3s: 0 MiB are free"):
        await world.k3s().snapshot("auto-1")
    assert not [one for one in world.calls if "etcd-snapshot" in one]
    assert snapshots.listed(world.k3s()._host, world.settings) == []
