"""Processes are ended by name: those that end when asked, those that do not, and no other's."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from edge_commander.distribution.kubeadm.machine import Machine

LONG = "galley-stand-in-for-a-controller"
Start = Callable[[str, bool], subprocess.Popen[bytes]]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    begun: list[subprocess.Popen[bytes]] = []

    def one(name: str, deaf: bool) -> subprocess.Popen[bytes]:
        program = shutil.copy("/usr/bin/sleep", tmp_path / name)
        deaf_to = 'trap "" TERM; ' if deaf else ""
        begun.append(subprocess.Popen(["/bin/sh", "-c", f"{deaf_to}exec {program} 300"]))
        return begun[-1]

    yield one
    for process in begun:
        process.kill()
        process.wait()


async def until(found: Callable[[], object]) -> None:
    import asyncio

    async with asyncio.timeout(30):
        while not found():  # noqa: ASYNC110 - the kernel tells nobody
            await asyncio.sleep(0.02)


async def test_what_ends_when_asked_and_what_must_be_killed_are_gone_and_no_other_is(start: Start) -> None:
    machine = Machine()
    meek, deaf, other = start(LONG, False), start("galley-deaf", True), start("galley-other", False)
    names = (LONG, "galley-deaf")
    await until(lambda: len(machine.processes(names)) == 2)
    await machine.end(names, 0.5)
    assert machine.processes(names) == []  # zombies are none
    assert (meek.wait(), deaf.wait(), other.poll()) == (-15, -9, None)


async def test_where_none_runs_nothing_is_waited_for() -> None:
    await Machine().end(("galley-not-there",), 0.0)
