"""The commander's look at /etc: what it tells, once, and what it does where the root half cannot be asked."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import structlog

from agents.contracts.ids import Stream
from agents.core.errors import Rejected, Retryable
from agents.io.state import StateFile
from edge_commander.overlay.loop import OverlayLoop
from edge_commander.overlay.summary import Summary, Told
from tests.fakes.clock import VirtualClock
from tests.fakes.outbox import MemoryOutbox


class Half:
    """Answers what it is given."""

    def __init__(self) -> None:
        self.value: Any = None

    async def ask(self, operation: str) -> object:
        assert operation == "overlay-diff"
        if isinstance(self.value, Exception):
            raise self.value
        return msgspec.to_builtins(self.value)


class World:
    def __init__(self, folder: Path) -> None:
        self.half = Half()
        self.outbox = MemoryOutbox(Stream.COMMANDER, VirtualClock())
        self.said: list[tuple[bool, str]] = []
        self.file = folder / "overlay.json"
        self.start()

    def start(self) -> None:
        self.loop = OverlayLoop(
            self.half,
            self.outbox,
            StateFile(self.file, Told),
            3600.0,
            log=structlog.get_logger(),
            say=lambda ok, text: self.said.append((ok, text)),
        )

    def sent(self) -> list[str]:
        found = [msgspec.json.decode(envelope.m) for _, envelope in self.outbox._messages.values()]
        return [one.get("code", one["kind"]) for one in found]


DRIFT = Summary(image="nuc 1", drift=1, drift_paths=["passwd"], drift_digest="1")


async def test_drift_is_told_once_also_after_a_restart(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.half.value = DRIFT
    assert await world.loop.turn() == 3600.0
    assert world.sent() == ["etc-drift", "overlay"]
    world.start()
    await world.loop.turn()
    assert world.sent() == ["etc-drift", "overlay"]
    world.half.value = Summary(image="nuc 1")
    await world.loop.turn()
    world.half.value = DRIFT
    await world.loop.turn()
    assert world.sent() == ["etc-drift", "overlay", "overlay", "etc-drift", "overlay"]


async def test_what_could_not_be_remembered_is_told_again(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.half.value = DRIFT
    world.file.mkdir()
    assert await world.loop.turn() == 60.0
    world.file.rmdir()
    await world.loop.turn()
    assert world.sent() == ["etc-drift", "overlay"] * 2
    assert world.said[-1] == (True, "1 path(s) differ")


async def test_a_root_half_that_cannot_be_asked_is_asked_again_soon(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.half.value = Retryable("machine.sock: ConnectionRefusedError")
    assert await world.loop.turn() == 60.0
    world.half.value = Rejected("no such operation")
    assert await world.loop.turn() == 60.0
    assert [ok for ok, _ in world.said] == [True, False]
    world.half.value = {"drift": "many"}
    assert await world.loop.turn() == 3600.0
    assert world.said[-1][0] is False and world.sent() == []


async def test_where_there_is_no_overlay_nothing_is_told(tmp_path: Path) -> None:
    world = World(tmp_path)
    assert await world.loop.turn() == 3600.0
    assert world.sent() == [] and world.said == [(True, "no overlay")]
