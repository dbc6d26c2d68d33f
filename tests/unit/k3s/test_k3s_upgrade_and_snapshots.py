"""Upgrades of one node, snapshots that are whole, and what is needed to restore one."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest

from agents.core.errors import Rejected, Retryable
from edge_commander.distribution.k3s import snapshots
from edge_commander.distribution.k3s.facts import Facts, Marker, Role
from edge_commander.distribution.k3s.steps import AwaitReady, CopyFile, Run
from edge_commander.distribution.k3s.versions import Versions, plan_upgrade, said
from tests.fakes.k3s_kit import SETTINGS, TOKEN, plan, secrets
from tests.fakes.k3s_world import World, whole_snapshot

MEMBER = Facts(Marker(site="store-01234", node="nuc-1", epoch=1, role=Role.MEMBER, begun=1), etcd=True, active=True)
OLD, NEW = "v1.33.1+k3s1", "v1.34.0+k3s1"
BEFORE = "/keep/k3s/etcd/before-nuc-1-1000"
RESTART = Run("systemctl", ("restart", "--no-block", "k3s.service"), 120.0)


def test_the_program_is_put_in_its_place_and_the_node_awaited() -> None:
    facts = replace(MEMBER, images={"/var/lib/galley-k3s/v1.34.0+k3s1/images.tar.zst": False})
    steps = plan_upgrade(facts, Versions(OLD, NEW, OLD), NEW, SETTINGS)
    assert steps == [
        CopyFile(
            "/var/lib/galley-k3s/v1.34.0+k3s1/images.tar.zst", "/var/lib/rancher/k3s/agent/images/images.tar.zst", 0o644
        ),
        CopyFile("/var/lib/galley-k3s/v1.34.0+k3s1/k3s", "/usr/local/bin/k3s", 0o755),
        RESTART,
        AwaitReady("nuc-1", 300.0, NEW),
    ]


def test_what_is_left_after_a_crash_and_nothing_where_it_runs_already() -> None:
    ready = AwaitReady("nuc-1", 300.0, NEW)
    assert plan_upgrade(MEMBER, Versions(NEW, "", OLD), NEW, SETTINGS) == [RESTART, ready]
    assert plan_upgrade(MEMBER, Versions(NEW, "", NEW), NEW, SETTINGS) == [ready]
    stopped = replace(MEMBER, active=False)
    assert plan_upgrade(stopped, Versions(NEW, "", NEW), NEW, SETTINGS) == [RESTART, ready]


@pytest.mark.parametrize(
    ("installed", "staged", "version", "why"),
    [
        ("v1.33.1+k3s1", "v1.35.0+k3s1", "v1.35.0+k3s1", "a minor release would be skipped"),
        ("v1.33.1+k3s1", "v2.0.0+k3s1", "v2.0.0+k3s1", "a minor release would be skipped"),
        ("v1.33.1+k3s1", "v1.33.0+k3s1", "v1.33.0+k3s1", "does not go back"),
        ("v1.33.1+k3s2", "v1.33.1+k3s1", "v1.33.1+k3s1", "does not go back"),
        ("v1.33.1+k3s1", "", "v1.33.2+k3s1", r"v1\.33\.2\+k3s1/k3s: k3s v1\.33\.2\+k3s1 is not there"),
        ("v1.33.1+k3s1", "v1.33.3+k3s1", "v1.33.2+k3s1", r"is of version v1\.33\.3"),
        ("v1.33.1+k3s1", "", "v1.33.2", "is no version of k3s"),
        ("v1.33.1+k3s1", "", "../../etc", "is no version of k3s"),
    ],
)
def test_what_is_refused(installed: str, staged: str, version: str, why: str) -> None:
    with pytest.raises(Rejected, match=why):
        plan_upgrade(MEMBER, Versions(installed, staged, installed), version, SETTINGS)


def test_what_the_program_says_of_itself() -> None:
    assert said("k3s version v1.33.1+k3s1 (0123abcd)\ngo version go1.24.2\n") == "v1.33.1+k3s1"
    assert said("k3s version dev\n") == "" and said("") == ""


async def test_one_that_does_not_come_back_stops_there(world: World) -> None:
    await world.k3s().init(plan())
    staged = (world.root / "bin/k3s").read_text().replace("cat $R/version", "echo 'k3s version v1.34.0+k3s1 (x)'")
    world.program("var/lib/galley-k3s/v1.34.0+k3s1/k3s", staged)
    with pytest.raises(Retryable, match=r"gave up .* Node nuc-1 is Ready in v1\.34\.0\+k3s1: it is not yet"):
        await world.k3s().upgrade(NEW)
    assert (world.root / "bin/k3s").read_text() == staged and (world.root / "bin/k3s").stat().st_mode & 0o777 == 0o755
    world.running = NEW
    await world.k3s().upgrade(NEW)


async def test_a_snapshot_has_its_secrets_beside_it_and_not_among_the_snapshots(world: World) -> None:
    await world.k3s().init(plan())
    path = await world.k3s().snapshot("before")
    assert path == BEFORE and world.place(path).read_bytes() == whole_snapshot()
    beside = world.place("/keep/k3s/secrets/before-nuc-1-1000.json")
    assert beside.stat().st_mode & 0o777 == 0o600 and beside.parent.stat().st_mode & 0o777 == 0o700
    assert json.loads(beside.read_text())["secrets"]["token"] == TOKEN
    assert [file.name for file in world.place("/keep/k3s/etcd").iterdir()] == ["before-nuc-1-1000"]
    assert world.k3s().secrets_of(path) == secrets()
    calls = len(world.calls)
    assert await world.k3s().snapshot("before") == path  # asked again it takes no second one
    assert len(world.calls) == calls


async def test_a_broken_off_snapshot_is_not_taken_for_one(world: World) -> None:
    await world.k3s().init(plan())
    good = whole_snapshot()
    world.place("/keep/k3s/etcd").mkdir(parents=True, exist_ok=True)
    world.place(BEFORE).write_bytes(good[:-64])
    (world.root / "clock").write_text("1001")
    assert await world.k3s().snapshot("before") == "/keep/k3s/etcd/before-nuc-1-1001"
    (world.root / "snapshot").write_bytes(good[:-1])
    with pytest.raises(Retryable, match="k3s saved no complete snapshot called after"):
        await world.k3s().snapshot("after")
    assert not list(world.place("/keep/k3s/secrets").glob("after*"))


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "no complete snapshot"),
        (b"s" * 4096, "no complete snapshot"),
        (b"s" * 32, "no complete snapshot"),
        (whole_snapshot()[:-1] + b"x", "damaged: its checksum differs"),
        (b"x" + whole_snapshot()[1:], "damaged: its checksum differs"),
    ],
)
def test_a_damaged_file_is_told(content: bytes, why: str, tmp_path: Path) -> None:
    (tmp_path / "s").write_bytes(content)
    with pytest.raises(Rejected, match=why):
        snapshots.whole(tmp_path / "s")


@pytest.mark.parametrize("name", ["", "../x", "a/b", "-x", "A", "x" * 64])
async def test_a_name_that_is_none(name: str, world: World) -> None:
    with pytest.raises(Rejected, match=r"^name: must be"):
        await world.k3s().snapshot(name)


async def restored_from(world: World) -> None:
    await world.k3s().init(plan())
    await world.k3s().snapshot("before")
    await world.k3s().reset()


async def test_restored_on_a_node_that_was_reset(world: World) -> None:
    await restored_from(world)
    await world.k3s().restore(BEFORE, replace(plan(epoch=2), secrets=None))
    assert world.events == ["new-cluster", f"restored {BEFORE}"] and world.active
    assert world.config()["server"] == "https://192.0.2.1:6443"
    assert "galley-token" in world.config()["token-file"]
    await world.k3s().restore(BEFORE, plan(epoch=2))
    assert len(world.events) == 2


async def test_secrets_of_another_cluster_are_refused_and_not_shown(world: World) -> None:
    await restored_from(world)
    other = replace(plan(epoch=2), secrets=secrets(2, token="ab" * 32))
    with pytest.raises(Rejected, match=f"{BEFORE}: its cluster has other secrets than the plan: galley-token$"):
        await world.k3s().restore(BEFORE, other)
    with pytest.raises(Rejected, match="is of store-01234, not of store-00002"):
        await world.k3s().restore(BEFORE, replace(plan(epoch=2), site="store-00002"))
    assert world.events == ["new-cluster"]


async def test_a_snapshot_without_its_secrets_or_exchanged_is_refused_before_anything_is_touched(world: World) -> None:
    await restored_from(world)
    calls = len(world.calls)
    world.place(BEFORE).write_bytes(whole_snapshot(b"t"))
    with pytest.raises(Rejected, match="is not the snapshot that its secrets were kept with"):
        await world.k3s().restore(BEFORE, plan(epoch=2))
    world.place("/keep/k3s/secrets/before-nuc-1-1000.json").write_text("{}")
    with pytest.raises(Rejected, match="is not what was written beside the snapshot"):
        await world.k3s().restore(BEFORE, plan(epoch=2))
    world.place("/keep/k3s/secrets/before-nuc-1-1000.json").unlink()
    with pytest.raises(Rejected, match="is missing: without the secrets of its cluster a snapshot cannot be restored"):
        await world.k3s().restore(BEFORE, replace(plan(epoch=2), secrets=None))
    assert len(world.calls) == calls


async def test_a_snapshot_that_k3s_took_by_itself_is_restored_with_the_plans_secrets(world: World) -> None:
    await restored_from(world)
    world.place("/keep/k3s/secrets/before-nuc-1-1000.json").unlink()
    world.place(BEFORE).write_bytes(whole_snapshot()[:-1])
    with pytest.raises(Rejected, match="is no complete snapshot"):
        await world.k3s().restore(BEFORE, plan(epoch=2))
    world.place(BEFORE).write_bytes(whole_snapshot())
    await world.k3s().restore(BEFORE, plan(epoch=2))
    assert world.events == ["new-cluster", f"restored {BEFORE}"]


async def test_a_node_whose_k3s_is_stopped_is_upgraded_and_a_sick_one_is_not(world: World) -> None:
    await world.k3s().init(plan())
    world.answers = False
    with pytest.raises(Retryable, match="API server: refused"):
        await world.k3s().upgrade(OLD)
    world.answers = True
    (world.root / "active").unlink()
    await world.k3s().upgrade(OLD)
    assert world.active


def test_the_companion_is_read_strictly() -> None:
    good = msgspec.json.encode(snapshots.Companion(sha256="0" * 64, secrets=secrets()))
    assert "Companion(" in repr(msgspec.json.decode(good, type=snapshots.Companion))
    assert TOKEN not in repr(msgspec.json.decode(good, type=snapshots.Companion))
