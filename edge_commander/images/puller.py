"""The root half of pulling ahead: asks this node's containerd what it has, and pulls one image. Runs `ctr` as root.

One pull at a time, at the lowest priority for CPU and disk, through a proxy that holds the bandwidth, and only while
the file system has a margin: kubelet must never collect images or evict pods for what is not needed yet.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import msgspec

from agents.core.errors import Rejected, Retryable
from agents.core.ports import Clock
from agents.io.lock import Lock
from agents.io.scrub import scrub_text
from edge_commander.distribution import children
from edge_commander.images.bucket import TokenBucket
from edge_commander.images.proxy import Throttle
from edge_commander.images.request import upstream_of
from edge_commander.images.runtime import Runtime, fault_of, quoted
from edge_commander.images.settings import PrepullSettings

LIST_SECONDS = 120.0
COLLECT_SECONDS = 60.0
LOOK_SECONDS = 0.5
END_SECONDS = 15.0
QUIET_SECONDS = 5.0
"""Nothing came for so long after a connection ended: what is left of the pull is not coming."""
BURST_SECONDS = 0.25
MAX_SAID = 64 * 1024


class Pulled(msgspec.Struct, frozen=True, kw_only=True):
    """`done`: the image is here whole; else the time of this try was over, and the next goes on. `fetched`: bytes that
    came over the line."""

    done: bool
    fetched: int


class Puller:
    """`free()`: the free share of containerd's file system in percent. `lock`: held during a pull. `environ`: of this
    process, for the node's own proxy. `say`: hears each step."""

    def __init__(
        self,
        runtime: Runtime,
        settings: PrepullSettings,
        clock: Clock,
        *,
        lock: Path,
        environ: Mapping[str, str] | None = None,
        say: Callable[[str], None] = lambda text: None,
        free: Callable[[], float] | None = None,
    ) -> None:
        self._runtime = runtime
        self._settings = settings
        self._clock = clock
        self._lock = Lock(lock)
        self._environ = os.environ if environ is None else environ
        self._say = say
        self._free = free or (lambda: free_percent(runtime.folder))

    async def images(self) -> list[str]:
        """The images that are here, by name. Raises Retryable."""
        status, said, errors = await self._run(self._runtime.names, LIST_SECONDS)
        if status != 0:
            raise Retryable(f"containerd does not say what it has: {quoted(scrub_text(errors))}")
        return said.split()

    async def pull(self, image: str) -> Pulled:
        """One try at one image. Raises Rejected when it cannot be had now (no such image, a secret needed, the disk
        short), Retryable for the line and the registry; what came so far is kept by containerd for the next try."""
        if self._short():
            # What an earlier pull left when the disk was so full that containerd could not even collect.
            await self._collect()
            raise Rejected(self._shortage())
        try:
            self._lock.path.parent.mkdir(parents=True, exist_ok=True)
            if not self._lock.take():
                raise Retryable("another pull is under way")
        except OSError as error:
            raise Retryable(f"{self._lock.path}: cannot be locked: {error.strerror}") from None
        try:
            return await self._pull(image)
        finally:
            self._lock.release()

    async def _pull(self, image: str) -> Pulled:
        if image in await self.images():
            return Pulled(done=True, fetched=0)
        _, usage, _ = await self._run(self._runtime.usage, LIST_SECONDS)
        command = self._runtime.pull(image, local="--local" in usage)
        rate = float(self._settings.bytes_per_second)
        bucket = TokenBucket(rate, rate * BURST_SECONDS, self._clock.monotonic())
        self._say(f"pulls {image}, at most {self._settings.bytes_per_second} bytes/s")
        async with Throttle(bucket, self._clock, upstream_of(self._environ)) as proxy:
            with tempfile.TemporaryFile() as output:
                process = await _start(command, {"HTTPS_PROXY": proxy.url, "HTTP_PROXY": proxy.url}, output.fileno())
                try:
                    over = await self._watch(process, proxy)
                    if over == "disk":
                        await proxy.cut()  # so that it ends by itself, and gives its lease on what it has back
                        with contextlib.suppress(TimeoutError):
                            await asyncio.wait_for(process.wait(), END_SECONDS)
                finally:
                    await children.ended(process)
                output.seek(max(0, output.seek(0, os.SEEK_END) - MAX_SAID))
                said = output.read().decode(errors="replace")
            fetched = proxy.fetched
        if over == "disk" or (process.returncode != 0 and not over and self._short()):
            await self._collect(image)
            raise Rejected(self._shortage())
        if over == "line":
            raise Retryable(f"the line was cut after {fetched} bytes")
        if over:
            return Pulled(done=False, fetched=fetched)
        if process.returncode == 0:
            self._say(f"pulled {image}: {fetched} bytes")
            return Pulled(done=True, fetched=fetched)
        fault = fault_of(said)
        if fault.litter:
            await self._collect(image)
        text = f"{fault.value} ({quoted(scrub_text(said))})"
        raise Rejected(text) if fault.final else Retryable(text)

    async def _watch(self, process: asyncio.subprocess.Process, proxy: Throttle) -> str:
        """Until it ends (empty), the disk gets short (`disk`), the line was cut (`line`), its time is over (`time`)."""
        deadline = self._clock.monotonic() + self._settings.pull_seconds
        waiting = asyncio.ensure_future(process.wait())
        try:
            while True:
                await asyncio.wait({waiting}, timeout=LOOK_SECONDS)
                if waiting.done():
                    return ""
                if self._short():
                    return "disk"
                now = self._clock.monotonic()
                if proxy.lost_at is not None and now - max(proxy.lost_at, proxy.last_at) >= QUIET_SECONDS:
                    return "line"
                if now >= deadline:
                    return "time"
        finally:
            waiting.cancel()

    def _short(self) -> bool:
        return self._free() < self._settings.free_percent

    def _shortage(self) -> str:
        return f"the disk is short: images are pulled ahead while {self._settings.free_percent:g} % of it are free"

    async def _collect(self, image: str = "") -> None:
        """Leaves nothing of a pull: neither what came, nor an image whose layers could not be unpacked any more."""
        for command in (*([self._runtime.forget(image)] if image else []), *self._runtime.collect):
            status, _, errors = await self._run(command, COLLECT_SECONDS)
            if "not found" in errors:
                continue
            if status != 0 and "already exists" not in errors:
                self._say(f"what is left of the pull is collected later: {quoted(scrub_text(errors))}")

    async def _run(self, command: Sequence[str], seconds: float) -> tuple[int, str, str]:
        with tempfile.TemporaryFile() as errors:
            process = await _start(command, {}, errors.fileno(), asyncio.subprocess.PIPE)
            try:
                out, _ = await asyncio.wait_for(process.communicate(), seconds)
            except TimeoutError:
                raise Retryable(f"{command[0]} took longer than {seconds:g} s") from None
            finally:
                await children.ended(process)
            errors.seek(0)
            return process.returncode or 0, out.decode(errors="replace"), errors.read(MAX_SAID).decode(errors="replace")


def free_percent(folder: str) -> float:
    """The free share of a file system for those who are not root. Raises Retryable."""
    try:
        found = os.statvfs(folder)
    except OSError as error:
        raise Retryable(f"{folder}: {error.strerror}") from None
    return 100.0 * found.f_bavail / max(1, found.f_blocks)


async def _start(
    command: Sequence[str], more: Mapping[str, str], errors: int, out: int = asyncio.subprocess.DEVNULL
) -> asyncio.subprocess.Process:
    try:
        return await children.start(command, stdout=out, stderr=errors, more=more)
    except OSError as error:
        raise Retryable(f"{command[0]}: cannot be started: {error.strerror}") from None
