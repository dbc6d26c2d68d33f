"""Brings the view of the fleet up to date as the store changes, and hands the changes to all open event streams.

What a commit touched is gathered and read in slices, at most once a frame; a stream that falls further behind than
the frames kept here is told so, and ends.
"""

from __future__ import annotations

import asyncio
import secrets
from collections import deque
from contextlib import suppress

from structlog.typing import FilteringBoundLogger

from agents.core.ports import Clock
from agents.supervise.pulse import Pulse
from cloud_endpoint.page.fleet_view import Extras, FleetView, Frame
from cloud_endpoint.store import overview
from cloud_endpoint.store.port import Store, StoreFault, Tx

FRAMES = 64
"""Kept for streams that are behind: 16 s of a busy fleet."""
LOOK_SECONDS = 5.0
"""The longest without looking whether time alone changed something."""
RETRY_SECONDS = 1.0


class Behind(Exception):
    """The stream's next frame is no longer kept."""


class Hub:
    """Run it as a loop. `epoch` tells one process's versions from another's."""

    def __init__(
        self, store: Store, clock: Clock, log: FilteringBoundLogger, *, interval: float, frame_seconds: float
    ) -> None:
        self._store = store
        self._clock = clock
        self._log = log
        self._frame_seconds = frame_seconds
        self.view = FleetView(interval=interval, started_ms=clock.wall_ms())
        self.epoch = secrets.token_hex(4)
        self.ready = asyncio.Event()
        self._sites: set[str] = set()
        self._nodes: set[str] = set()
        self._beats: set[str] = set()
        self._extras = True
        self._wake = asyncio.Event()
        self._frames: deque[Frame] = deque(maxlen=FRAMES)
        self._published = asyncio.Event()

    async def run(self, pulse: Pulse) -> None:
        """Loads the fleet, then follows it until the daemon ends."""
        stop = self._store.listen(self._heard)
        try:
            await self._load(pulse)
            while not pulse.stopping:
                await pulse.wait(self._wake, self._pause())
                self._wake.clear()
                await self._round(pulse)
                await pulse.sleep(self._frame_seconds)
        finally:
            stop()

    async def after(self, version: int, seconds: float) -> Frame | None:
        """The next frame after that version, waiting so long at most; None when there was none. Raises Behind."""
        if version >= self.view.version:
            published = self._published
            with suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await published.wait()
        if version >= self.view.version:
            return None
        first = self._frames[0].version if self._frames else self.view.version + 1
        if version + 1 < first:
            raise Behind
        return self._frames[version + 1 - first]

    def _heard(self, topics: frozenset[str]) -> None:
        for topic in topics:
            kind, _, subject = topic.partition(":")
            if kind == "beat":
                self._beats.add(subject)
            elif kind == "site":
                self._sites.add(subject)
            elif kind == "node":
                self._nodes.add(subject)
            elif kind in ("enrolments", "alerts"):
                self._extras = True
            else:
                continue
            self._wake.set()

    def _pause(self) -> float:
        due = self.view.due_ms()
        left = LOOK_SECONDS if due is None else (due - self._clock.wall_ms()) / 1000
        return max(0.05, min(LOOK_SECONDS, left))

    async def _load(self, pulse: Pulse) -> None:
        while not pulse.stopping:
            pulse.expect(120)
            try:
                self._sites.update(await self._store.read(overview.site_ids))
                await self._round(pulse)
            except StoreFault as error:
                self._log.warning("cannot read the fleet", cause=str(error))
                await pulse.sleep(RETRY_SECONDS)
            else:
                self.ready.set()
                return

    async def _round(self, pulse: Pulse) -> None:
        """Reads what changed, and publishes it."""
        try:
            await self._read_extras()
            await self._read_beats()
            await self._read_sites(pulse)
        except StoreFault as error:
            self._log.warning("cannot read what changed", cause=str(error))
            await pulse.sleep(RETRY_SECONDS)
            self._wake.set()
            return
        now_ms = self._clock.wall_ms()
        self.view.tick(now_ms)
        frame = self.view.take(now_ms)
        if frame is not None:
            self._frames.append(frame)
            published, self._published = self._published, asyncio.Event()
            published.set()

    async def _read_extras(self) -> None:
        if not self._extras:
            return
        self._extras = False
        try:
            self.view.extras(await self._store.read(_extras))
        except StoreFault:
            self._extras = True
            raise

    async def _read_beats(self) -> None:
        nodes, self._beats = self._beats, set()
        if not nodes:
            return
        try:
            beats = await self._store.read(lambda tx: overview.read_beats(tx, nodes))
        except StoreFault:
            self._beats |= nodes
            raise
        self._nodes |= self.view.beats(beats, self._clock.wall_ms())

    async def _read_sites(self, pulse: Pulse) -> None:
        nodes, self._nodes = self._nodes, set()
        strangers = set()
        for node in nodes:
            site = self.view.site_of(node)
            if site is None:
                strangers.add(node)
            else:
                self._sites.add(site)
        if strangers:
            try:
                self._sites |= await self._store.read(lambda tx: overview.sites_of(tx, strangers))
            except StoreFault:
                self._nodes |= strangers
                raise
        while self._sites and not pulse.stopping:
            pulse.expect(60)
            part = [self._sites.pop() for _ in range(min(overview.SLICE, len(self._sites)))]
            try:
                found = await self._store.read(lambda tx, part=part: overview.read_sites(tx, part))  # type: ignore[misc]
            except StoreFault:
                self._sites.update(part)
                raise
            now_ms = self._clock.wall_ms()
            for rows in found:
                self.view.put(rows, now_ms)
            for site in set(part) - {rows.site for rows in found}:
                self.view.remove(site)


def _extras(tx: Tx) -> Extras:
    return Extras(waiting=overview.waiting_count(tx), alerts=overview.fleet_alert_count(tx))
