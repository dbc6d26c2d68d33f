"""Snapshots that are taken by themselves: whole or not there, as many as are wanted, and never the disk's last room."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import structlog

from agents.core.errors import Rejected, Retryable
from edge_commander.distribution.kubeadm import snapshots
from edge_commander.distribution.port import SPARE_BYTES, Snapshot, room
from edge_commander.formation.keeping import SnapshotKeeping
from edge_commander.view import SnapshotView
from tests.fakes.clock import VirtualClock

HOUR = 3600.0


def save(folder: Path, name: str, *, revision: int = 1, epoch: int = 1, taken: int = 0) -> Path:
    new = snapshots.begin(folder, name)
    (new / snapshots.DATABASE).write_bytes(name.encode() * 100)
    record = snapshots.Record(
        site="store-1", epoch=epoch, cluster="c", version="1.36.2", nodes=["n1"], taken=taken, revision=revision,
        sha256=snapshots.digest(new / snapshots.DATABASE),
    )  # fmt: skip
    return snapshots.complete(new, record)


def names(found: list[Snapshot]) -> list[str]:
    return [Path(one.path).name for one in found]


def test_the_newest_is_the_one_that_holds_most_and_what_is_not_whole_is_none(tmp_path: Path) -> None:
    save(tmp_path, "auto-3", revision=30, taken=5)
    save(tmp_path, "auto-1", revision=10, taken=2**33)
    save(tmp_path, "by-hand", revision=20)
    save(tmp_path, "next", epoch=2)
    damaged = save(tmp_path, "auto-9", revision=90)
    (damaged / snapshots.DATABASE).write_bytes(b"torn")
    snapshots.begin(tmp_path, "half")
    (tmp_path / "stray").write_text("no folder")
    found = snapshots.whole(tmp_path)
    assert names(found) == ["next", "auto-3", "by-hand", "auto-1"]
    assert (found[1].taken, found[1].bytes, found[1].secrets) == (5, len("auto-3") * 100, None)
    assert snapshots.whole(tmp_path / "not-there") == []


def test_the_oldest_of_those_taken_by_themselves_go_and_no_other(tmp_path: Path) -> None:
    for number in range(5):
        save(tmp_path, f"auto-{number}", revision=number)
    save(tmp_path, "by-hand", revision=0)
    assert snapshots.thin_out(tmp_path, 2) == ["auto-2", "auto-1", "auto-0"]
    assert names(snapshots.whole(tmp_path)) == ["auto-4", "auto-3", "by-hand"]
    assert snapshots.thin_out(tmp_path, 2) == []


def test_a_damaged_one_takes_no_whole_ones_place(tmp_path: Path) -> None:
    for number in range(3):
        save(tmp_path, f"auto-{number}", revision=number)
    (tmp_path / "auto-2" / snapshots.DATABASE).write_bytes(b"torn")
    snapshots.thin_out(tmp_path, 2)
    assert names(snapshots.whole(tmp_path)) == ["auto-1", "auto-0"]


def test_what_a_power_cut_left_half_made_goes_before_the_next(tmp_path: Path) -> None:
    database = tmp_path / "db"
    database.write_bytes(b"x" * 1000)
    folder = tmp_path / "keep"
    snapshots.begin(folder, "auto-1")
    snapshots.make_room(folder, database)
    assert list(folder.iterdir()) == []
    with pytest.raises(Retryable, match="No such file"):
        snapshots.make_room(folder, tmp_path / "gone")


def test_a_disk_without_room_takes_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    database = tmp_path / "db"
    database.write_bytes(b"x" * 1000)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=SPARE_BYTES + 999))
    with pytest.raises(Retryable, match="64 MiB are free, a snapshot needs 64"):
        snapshots.make_room(tmp_path / "keep", database)
    room("keep", 1000, SPARE_BYTES + 1000)


class Disk:
    """A distribution that only takes snapshots."""

    def __init__(self, clock: VirtualClock) -> None:
        self.clock = clock
        self.there: list[Snapshot] = []
        self.problem: Exception | None = None
        self.names: list[str] = []

    async def snapshot(self, name: str) -> str:
        if self.problem is not None:
            raise self.problem
        self.names.append(name)
        path, taken = f"/keep/{name}", self.clock.wall_ms() // 1000
        self.there.insert(0, Snapshot(path, "store-1", 1, taken, len(self.names), 4096))
        return path

    async def snapshots(self) -> list[Snapshot]:
        return list(self.there)


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock()


@pytest.fixture
def disk(clock: VirtualClock) -> Disk:
    return Disk(clock)


def keeping(disk: Disk, member: Callable[[], bool] = lambda: True, seconds: float = 6 * HOUR) -> SnapshotKeeping:
    made: Any = SnapshotKeeping(
        disk,  # type: ignore[arg-type]
        disk.clock, seconds=seconds, member=member, uniform=lambda a, b: b, log=structlog.get_logger(),
    )  # fmt: skip
    return made  # type: ignore[no-any-return]


async def live(one: SnapshotKeeping, clock: VirtualClock, hours: float) -> None:
    end = clock.monotonic() + hours * HOUR
    while clock.monotonic() < end:
        clock.now += await one.turn()


async def test_a_member_takes_one_every_six_hours_also_over_a_start(disk: Disk, clock: VirtualClock) -> None:
    await live(keeping(disk), clock, 13)
    assert len(disk.names) == 3 and all(name.startswith("auto-") for name in disk.names)
    await live(keeping(disk), clock, 4)
    assert len(disk.names) == 3
    await live(keeping(disk), clock, 2)
    assert len(disk.names) == 4


async def test_a_new_member_rests_before_its_first_one(disk: Disk, clock: VirtualClock) -> None:
    joined = clock.monotonic() + HOUR
    one = keeping(disk, lambda: clock.monotonic() >= joined)
    await live(one, clock, 1 + 4 / 60)
    assert disk.names == []
    await live(one, clock, 3 / 60)
    assert len(disk.names) == 1


async def test_who_is_no_member_takes_none_and_zero_is_never(disk: Disk, clock: VirtualClock) -> None:
    await live(keeping(disk, lambda: False), clock, 13)
    await live(keeping(disk, seconds=0.0), clock, 13)
    assert disk.names == []


@pytest.mark.parametrize("problem", [Retryable("keep: 3 MiB are free, a snapshot needs 90"), Rejected("etcd is gone")])
async def test_a_failure_is_shown_with_the_age_of_the_last_and_tried_again(
    disk: Disk, clock: VirtualClock, problem: Exception
) -> None:
    one = keeping(disk)
    assert one.view() is None
    await live(one, clock, 1)
    disk.problem = problem
    await live(one, clock, 8)
    seen = one.view()
    assert seen is not None and seen.problem == str(problem) and 8 * HOUR < seen.age <= 9.1 * HOUR
    assert ("9 h" in seen.line() and str(problem) in seen.line()) or "8 h" in seen.line()
    disk.problem = None
    await live(one, clock, 0.5)
    assert len(disk.names) == 2
    after = one.view()
    assert after is not None and not after.problem and after.age < HOUR


async def test_one_from_the_future_was_taken_by_a_wrong_clock(disk: Disk, clock: VirtualClock) -> None:
    disk.there = [Snapshot("/keep/auto-x", "store-1", 1, 2**33)]
    await live(keeping(disk), clock, 0.1)
    assert len(disk.names) == 1


def test_how_a_snapshot_is_shown() -> None:
    assert SnapshotView(problem="no room").line() == "snapshot none; the last attempt failed: no room"
    shown = SnapshotView(path="/keep/a", age=7260, bytes=12_340_000).line()
    assert shown == "snapshot 2 h 1 min old, 12.3 MB"
