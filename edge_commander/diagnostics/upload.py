"""Sends bundles that lie on `keep` to the endpoint, piece by piece, at a bounded rate. Reads them, asks the net.

Level-triggered: a bundle of a command that is not noted as settled is sent. The endpoint says how far it came, so a
restart of either side goes on where the other has it. Beats have a process and a connection of their own, and the
rate leaves them the line.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
from structlog.typing import FilteringBoundLogger

from agents.contracts.diagnostics import BundleOpen
from agents.core.backoff import Backoff
from agents.core.errors import Rejected, Retryable
from agents.core.ports import Clock
from agents.io.state import StateFile
from agents.supervise.daemon import Pulse
from edge_commander.cloud import Cloud
from edge_commander.diagnostics.settings import DiagnosticsSettings
from edge_commander.tokens import Tokens

STATE = "diagnostics.json"
ASKED_FOR = re.compile(r"([0-9a-f]{32})\.tar\.gz")
LARGEST, SMALLEST = 64 * 1024, 8 * 1024
"""Bytes of a piece; halved while the line cannot carry one in time."""
REMEMBERED = 200
TRIES = 3
"""So often a bundle is sent whole whose digest the endpoint finds wrong."""


class Settled(msgspec.Struct, frozen=True, kw_only=True):
    """The durable record: bundles that need not be sent again, the newest last. Lost with `var`: then the endpoint
    says that it has them."""

    names: list[str] = []


@dataclass(frozen=True)
class UploadParts:
    """`say(ok, text)` tells health."""

    settings: DiagnosticsSettings
    cloud: Cloud
    tokens: Tokens
    clock: Clock
    state_dir: Path
    uniform: Callable[[float, float], float]
    log: FilteringBoundLogger
    say: Callable[[bool, str], None]


@dataclass
class Uploads:
    """One loop; `made` says that there is a new bundle."""

    parts: UploadParts
    wake: asyncio.Event = field(default_factory=asyncio.Event)
    _piece: int = LARGEST
    _backoff: Backoff = field(default_factory=lambda: Backoff(base=5.0, cap=600.0))
    _file: StateFile[Settled] = field(init=False)
    _settled: Settled = field(init=False)

    def __post_init__(self) -> None:
        """Raises Retryable when the disk does not answer."""
        self._file = StateFile(self.parts.state_dir / STATE, Settled)
        self._settled = self._file.load() or Settled()

    def made(self) -> None:
        """There is a new bundle."""
        self.wake.set()

    async def run(self, pulse: Pulse) -> None:
        """Until the daemon stops."""
        while not pulse.stopping and not self.parts.tokens.known.is_set():
            await pulse.wait(self.parts.tokens.known, 30.0)
        while not pulse.stopping:
            pulse.expect(120.0)
            self.wake.clear()
            delay = self.parts.settings.upload_seconds
            try:
                waiting = await asyncio.to_thread(self.waiting)
                if waiting:
                    await self.send(waiting[0], pulse)
                    self._backoff = self._backoff.succeeded()
                    delay = delay if waiting[1:] == [] else 0.1
                self.parts.say(True, f"{len(waiting)} bundles to send" if waiting else "nothing to send")
            except Retryable as error:
                self._backoff = self._backoff.failed()
                delay = self._backoff.delay(self.parts.uniform, error.retry_after)
                self.parts.say(True, f"a bundle waits: {error}")  # a line that is down is the uplink's word
            await pulse.wait(self.wake, delay)

    def waiting(self) -> list[Path]:
        """Bundles that were asked for and are not settled, the oldest first. Blocking. Raises Retryable."""
        folder = Path(self.parts.settings.folder)
        found: list[tuple[float, Path]] = []
        try:
            for file in folder.iterdir() if folder.is_dir() else ():
                if ASKED_FOR.fullmatch(file.name) and file.name not in self._settled.names and not file.is_symlink():
                    found.append((file.stat().st_mtime, file))
        except OSError as error:
            raise Retryable(f"{folder}: cannot be read: {error.strerror}") from None
        return [file for _, file in sorted(found)]

    async def send(self, file: Path, pulse: Pulse) -> None:
        """One bundle, from where the endpoint has it to its end. Raises Retryable."""
        parts = self.parts
        try:
            descriptor = os.open(file, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except FileNotFoundError:
            return  # its time on `keep` was over
        except OSError as error:
            raise Retryable(f"{file}: cannot be read: {error.strerror}") from None
        try:
            size, sha256 = await asyncio.to_thread(_measured, descriptor)
            asked = BundleOpen(command_id=file.name[:32], size=size, sha256=sha256)
            state = await parts.tokens.with_bearer(lambda token: parts.cloud.bundle_open(token, asked))
            starts = 0
            while not state.whole and not pulse.stopping:
                starts += state.offset == 0
                if starts > TRIES:
                    raise Rejected("the endpoint finds its digest wrong each time")
                pulse.expect(600.0)  # several addresses, each with its own time
                piece = await asyncio.to_thread(os.pread, descriptor, self._piece, state.offset)
                began = parts.clock.monotonic()
                number, offset, digest = state.id, state.offset, hashlib.sha256(piece).hexdigest()
                try:
                    state = await parts.tokens.with_bearer(
                        lambda token, number=number, offset=offset, piece=piece, digest=digest: (  # type: ignore[misc]
                            parts.cloud.bundle_piece(token, number, offset, piece, digest)
                        )
                    )
                except Retryable:
                    self._piece = max(SMALLEST, self._piece // 2)
                    raise
                self._piece = min(LARGEST, self._piece * 2)
                if not state.whole:
                    spent = parts.clock.monotonic() - began
                    await pulse.sleep(max(0.0, len(piece) / parts.settings.upload_rate - spent))
            if state.whole:
                self._settle(file.name)
                parts.log.info("diagnostics bundle sent", audit=True, name=file.name, bytes=size)
        except Rejected as error:  # unknown there, or too large: sending it again would change nothing
            self._settle(file.name)
            parts.log.warning("diagnostics bundle refused", audit=True, name=file.name, cause=str(error))
        finally:
            os.close(descriptor)

    def _settle(self, name: str) -> None:
        settled = Settled(names=[*self._settled.names, name][-REMEMBERED:])
        self._file.save(settled)
        self._settled = settled


def _measured(descriptor: int) -> tuple[int, str]:
    digest, size = hashlib.sha256(), 0
    while piece := os.pread(descriptor, 256 * 1024, size):
        digest.update(piece)
        size += len(piece)
    return size, digest.hexdigest()
