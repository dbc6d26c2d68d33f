"""A file system is as full as df says: what is kept for root counts neither as used nor as free."""

from __future__ import annotations

import os
import subprocess

import pytest

from heartbeat import host


def statvfs(*, blocks: int, free: int, available: int) -> os.statvfs_result:
    return os.statvfs_result((4096, 4096, blocks, free, available, 100, 50, 50, 0, 255))


@pytest.mark.parametrize(
    ("blocks", "free", "available", "full"),
    [
        (1000, 500, 500, 0.5),
        (1000, 310, 260, 690 / 950),  # ext4 keeps 5 % for root
        (1000, 50, 0, 1.0),  # only root can still write
        (1000, 0, 0, 1.0),
    ],
)
def test_what_only_root_may_fill_is_not_used(
    monkeypatch: pytest.MonkeyPatch, blocks: int, free: int, available: int, full: float
) -> None:
    monkeypatch.setattr(os, "statvfs", lambda path: statvfs(blocks=blocks, free=free, available=available))
    disk = host.disk("/var")
    assert disk.free == available * 4096
    assert 1 - disk.free / disk.total == pytest.approx(full)


def test_df_says_the_same() -> None:
    said = subprocess.run(["df", "--output=pcent", "/"], capture_output=True, text=True, check=True).stdout
    disk = host.disk("/")
    assert abs(100 * (1 - disk.free / disk.total) - int(said.split()[1].rstrip("%"))) <= 1.5


def test_what_has_no_blocks_has_no_total(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "statvfs", lambda path: statvfs(blocks=0, free=0, available=0))
    assert (host.disk("/proc").total, host.disk("/proc").free) == (0, 0)
