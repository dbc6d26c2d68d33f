"""The upload's loop and the verb's handler: paces, backs off, goes on where the endpoint has it, answers once."""

from __future__ import annotations

import asyncio
import hashlib
from pathlib import Path
from typing import Any

import pytest
import structlog

from agents.contracts.command import Command, Verb
from agents.contracts.diagnostics import BundleOpen, BundleState
from agents.core.errors import Rejected, Retryable
from edge_commander.diagnostics.ask import handler
from edge_commander.diagnostics.settings import DiagnosticsSettings
from edge_commander.diagnostics.upload import LARGEST, SMALLEST, UploadParts, Uploads
from edge_commander.verbs import Outcome
from tests.fakes.clock import VirtualClock

ID = "ab" * 16
DATA = bytes(range(256)) * 1024


class Cloud:
    """The endpoint's side; `faults`: raised one after another instead of taking a piece."""

    def __init__(self) -> None:
        self.got = b""
        self.faults: list[Exception] = []
        self.pieces: list[int] = []
        self.opened: list[BundleOpen] = []
        self.wrong = 0

    async def bundle_open(self, token: str, asked: BundleOpen) -> BundleState:
        if self.faults and isinstance(self.faults[0], Rejected):
            raise self.faults.pop(0)
        self.opened.append(asked)
        return self.state()

    async def bundle_piece(self, token: str, bundle: int, offset: int, piece: bytes, sha256: str) -> BundleState:
        self.pieces.append(len(piece))
        if self.faults:
            raise self.faults.pop(0)
        assert hashlib.sha256(piece).hexdigest() == sha256 and offset == len(self.got)
        self.got += piece
        if len(self.got) == self.opened[-1].size and self.wrong:
            self.wrong -= 1
            self.got = b""
        return self.state()

    def state(self) -> BundleState:
        size = self.opened[-1].size
        return BundleState(id=1, size=size, offset=len(self.got), whole=len(self.got) == size)


class Tokens:
    def __init__(self) -> None:
        self.known = asyncio.Event()
        self.known.set()

    async def with_bearer(self, ask: Any) -> Any:
        return await ask("token")


class Pulse:
    """Says that the daemon goes on, and notes what was slept."""

    stopping = False

    def __init__(self) -> None:
        self.slept: list[float] = []

    def expect(self, seconds: float) -> None:
        assert seconds > 0

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)

    async def wait(self, event: asyncio.Event, seconds: float) -> bool:
        self.slept.append(seconds)
        self.stopping = len(self.slept) > 50
        return event.is_set()


def uploads(folder: Path, cloud: Cloud, **more: Any) -> Uploads:
    (folder / "keep").mkdir(exist_ok=True)
    settings = DiagnosticsSettings(folder=str(folder / "keep"), upload_rate=LARGEST, **more)
    return Uploads(
        UploadParts(
            settings=settings, cloud=cloud, tokens=Tokens(), clock=VirtualClock(), state_dir=folder,  # type: ignore[arg-type]
            uniform=lambda low, high: high, log=structlog.get_logger(), say=lambda ok, text: None,
        )
    )  # fmt: skip


def laid(folder: Path, name: str = ID, data: bytes = DATA) -> Path:
    (folder / "keep").mkdir(exist_ok=True)
    file = folder / "keep" / f"{name}.tar.gz"
    file.write_bytes(data)
    return file


async def test_a_bundle_goes_in_pieces_at_its_rate_and_once(tmp_path: Path) -> None:
    cloud, pulse = Cloud(), Pulse()
    file, one = laid(tmp_path), uploads(tmp_path, cloud)
    assert one.waiting() == [file]
    await one.send(file, pulse)  # type: ignore[arg-type]
    assert cloud.got == DATA and cloud.pieces == [LARGEST] * 4
    assert pulse.slept == [1.0] * 3  # a piece a second, and none after the last
    assert one.waiting() == [] and uploads(tmp_path, cloud).waiting() == []  # also after a restart


async def test_a_bad_line_makes_pieces_smaller_and_it_goes_on_where_it_was(tmp_path: Path) -> None:
    cloud, pulse = Cloud(), Pulse()
    file, one = laid(tmp_path), uploads(tmp_path, cloud)
    for _ in range(5):
        cloud.faults = [Retryable("cut")]
        with pytest.raises(Retryable):
            await one.send(file, pulse)  # type: ignore[arg-type]
    assert cloud.pieces == [LARGEST, LARGEST // 2, LARGEST // 4, SMALLEST, SMALLEST]
    await one.send(file, pulse)  # type: ignore[arg-type]
    assert cloud.got == DATA and cloud.pieces[5:9] == [SMALLEST, 2 * SMALLEST, 4 * SMALLEST, LARGEST]


async def test_what_the_endpoint_refuses_is_not_sent_again(tmp_path: Path) -> None:
    cloud, pulse = Cloud(), Pulse()
    file, one = laid(tmp_path), uploads(tmp_path, cloud)
    cloud.faults = [Rejected("no bundle was asked")]
    await one.send(file, pulse)  # type: ignore[arg-type]
    assert one.waiting() == [] and cloud.pieces == []


async def test_a_digest_that_is_always_wrong_ends(tmp_path: Path) -> None:
    cloud, pulse = Cloud(), Pulse()
    file, one = laid(tmp_path), uploads(tmp_path, cloud)
    cloud.wrong = 99
    await one.send(file, pulse)  # type: ignore[arg-type]
    assert len(cloud.pieces) == 3 * 4 and one.waiting() == []


async def test_only_bundles_that_were_asked_for_and_no_links(tmp_path: Path) -> None:
    one = uploads(tmp_path, Cloud())
    laid(tmp_path, "by-hand-20261126-050000")
    laid(tmp_path, f".{ID}")
    target = laid(tmp_path, "ef" * 16)
    (tmp_path / "keep" / f"{'cd' * 16}.tar.gz").symlink_to(target)
    assert one.waiting() == [target]
    await one.send(tmp_path / "keep" / f"{ID}.tar.gz", Pulse())  # type: ignore[arg-type] # gone meanwhile


async def test_the_loop_backs_off_and_sends_all(tmp_path: Path) -> None:
    cloud, pulse = Cloud(), Pulse()
    laid(tmp_path)
    one = uploads(tmp_path, cloud)
    cloud.faults = [Retryable("cut") for _ in range(6)]
    await one.run(pulse)  # type: ignore[arg-type]
    assert cloud.got == DATA and one.waiting() == []
    waits = [wait for wait in pulse.slept if wait != 1.0]
    assert waits[:6] == sorted(waits[:6]) and waits[5] > 60 and waits[-1] == 30.0


COMMAND = Command(
    id=ID, verb=Verb.COLLECT_DIAGNOSTICS, site="store-1", node="n-" + "a" * 16, sequence=1, challenge="c", issued=1,
    expires=2,
)  # fmt: skip


async def test_the_command_stays_in_hand_while_root_collects(monkeypatch: pytest.MonkeyPatch) -> None:
    from edge_commander.diagnostics import ask as module

    monkeypatch.setattr(module, "PATIENCE", 0.0)
    gate: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
    asked, told = [], []

    async def ask(operation: str, argument: str) -> Any:
        asked.append((operation, argument))
        return await gate

    one = handler(ask, made=lambda: told.append(1))
    assert one.repeatable
    assert await one.execute(COMMAND) is None
    assert await one.execute(COMMAND) is None
    assert asked == [("diagnostics", ID)] and not told
    gate.set_result({"name": f"{ID}.tar.gz", "bytes": 7, "sha256": "ab" * 32})
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    said = await one.execute(COMMAND)
    assert said == Outcome("done", f"{ID}.tar.gz, 7 bytes, SHA-256 {'ab' * 32}") and told == [1]


async def test_a_root_half_that_fails_is_an_outcome_and_is_asked_anew_next_time() -> None:
    answers: list[Any] = [Rejected("80 MiB are free, a bundle needs 99"), "nonsense"]

    async def ask(operation: str, argument: str) -> Any:
        said = answers.pop(0)
        if isinstance(said, Exception):
            raise said
        return said

    one = handler(ask, made=lambda: None)
    with pytest.raises(Rejected, match="80 MiB"):
        await one.execute(COMMAND)
    with pytest.raises(Retryable, match="malformed"):
        await one.execute(COMMAND)
