"""Heartbeat's loops: duty (unit or pod), beats on the grid, facts on change, and the sender while on duty.

Each loop keeps to its own clock: a hanging disk delays a look, never a beat; a dead line fills the outbox, never
stops a beat.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Protocol

from structlog.typing import FilteringBoundLogger

from agents.contracts.health import HealthBit, pack, unpack
from agents.contracts.messages import Alert, Beat, Body, Facts, Severity, Via
from agents.core.errors import Retryable
from agents.core.grid import Grid
from agents.core.ports import Clock, Machine
from agents.io.lock import Lock
from agents.io.sender import RefusingOutbox
from agents.supervise.daemon import Health, Metrics, Pulse
from heartbeat.duty import Choice, Mark, Step, choose, pod_lives, pod_seen
from heartbeat.judge import Seen, bits, boot_prefix, changes
from heartbeat.post import MarkFile
from heartbeat.settings import HeartbeatSettings, Mode

TURN = 0.5
"""Duty is looked at twice an interval, so that one late turn of the pod does not age its mark."""


class Post(RefusingOutbox, Protocol):
    """An outbox that can be closed."""

    async def aclose(self) -> None:
        """Everything stored stays stored."""


class Sending(Protocol):
    """What empties the outbox."""

    async def run(self, pulse: Pulse) -> None:
        """Until the daemon ends, or cancelled."""


class Eyes(Protocol):
    """What looks at the machine; see probe."""

    async def look(self, timeout: float) -> Seen:
        """For one beat; bounded."""

    async def facts(self, timeout: float) -> Facts | None:
        """All facts; None when the machine does not answer."""

    def uptime(self) -> int:
        """Whole seconds since boot."""


@dataclass(frozen=True)
class World:
    """All that the loops touch. `reached`: whether the last batch reached the cloud (None: none was tried)."""

    clock: Clock
    machine: Machine
    eyes: Eyes
    lock: Lock
    mark: MarkFile
    open_outbox: Callable[[], Awaitable[Post]]
    sender: Callable[[Post], Sending]
    reached: Callable[[], bool | None]
    log: FilteringBoundLogger
    health: Health
    metrics: Metrics


class Heart:
    """The daemon's state: who is on duty, what was sent last."""

    def __init__(self, settings: HeartbeatSettings, grid: Grid, world: World) -> None:
        self._settings = settings
        self._grid = grid
        self._world = world
        self._post: Post | None = None
        self._using = asyncio.Lock()
        self.on_duty = asyncio.Event()
        self.off_duty = asyncio.Event()
        self.off_duty.set()
        self._not_sending = asyncio.Event()
        self._not_sending.set()
        self._said = ""
        self._facts: Facts | None = None
        self._beats = world.metrics.counter("galley_heartbeat_beats_total", "Beats stored in the outbox.")
        self._missed = world.metrics.counter("galley_heartbeat_missed_total", "Points of the grid without a beat.")

    # -- duty ---------------------------------------------------------------------------------------------------

    async def duty(self, pulse: Pulse) -> None:
        """Takes, keeps or yields the post, twice an interval, until the daemon ends."""
        while not pulse.stopping:
            await self.turn()
            await pulse.sleep(self._settings.interval_seconds * TURN)

    async def turn(self) -> None:
        """One look at lock and mark, and what follows from it."""
        own, world = self._settings, self._world
        boot, now = world.machine.facts().boot_id, world.clock.monotonic()
        alive = False
        try:
            if own.mode is Mode.POD:
                world.mark.write(Mark(boot=boot, monotonic=now, interval=own.interval_seconds))
            else:
                alive = pod_lives(world.mark.read(), boot, now, own.interval_seconds)
            choice = choose(own.mode, holding=world.lock.held, pod_alive=alive)
            if choice.step is Step.TAKE:
                choice = await self._take(choice)
            elif choice.step is Step.YIELD:
                await self.leave()
        except OSError as error:
            world.health.set("duty", False, f"state directory: {error.strerror or type(error).__name__}")
            return
        self._say(choice)

    async def _take(self, choice: Choice) -> Choice:
        if not self._world.lock.take():
            return replace(choice, step=Step.WAIT)
        try:
            self._post = await self._world.open_outbox()
        except BaseException as error:
            self._world.lock.release()
            if isinstance(error, Retryable):
                return Choice(Step.WAIT, f"the outbox does not open: {error}")
            raise
        self.off_duty.clear()
        self.on_duty.set()
        return choose(self._settings.mode, holding=True, pod_alive=False)

    async def leave(self) -> None:
        """Closes the outbox and gives the lock back; the other form may go on at once."""
        async with self._using:
            post, self._post = self._post, None
            self.on_duty.clear()
            self.off_duty.set()
            await self._not_sending.wait()
            if post is not None:
                await post.aclose()
            self._world.lock.release()

    async def stop(self) -> None:
        """As leave; a pod that ends in order takes its mark away, so that the unit goes on at once."""
        if self._settings.mode is Mode.POD:
            self._world.mark.clear()
        await self.leave()

    def _say(self, choice: Choice) -> None:
        self._world.health.set("duty", not choice.why.startswith("the outbox does not open"), choice.why)
        seen = pod_seen(self._settings.mode, self._settings.pod, choice.step)
        if seen is not None:
            self._world.health.set("pod", seen, "beats" if seen else "expected, but the unit beats in its place")
        if choice.why != self._said:
            self._said = choice.why
            self._world.log.info("duty", why=choice.why, mode=self._settings.mode.value)

    # -- messages -----------------------------------------------------------------------------------------------

    async def put(self, body: Body, *, durable: bool = False) -> bool:
        """Stores one message while on duty; False when off duty, or when the disk does not take it."""
        async with self._using:
            if self._post is None:
                return False
            try:
                await self._post.put(body, durable=durable)
            except Retryable as error:
                self._world.health.set("outbox", False, str(error))
                self._world.log.warning("not stored", cause=str(error))
                return False
        self._world.health.set("outbox", True, "stores")
        return True

    async def alarm(self, code: str, text: str) -> None:
        """Stores an alert, durably."""
        await self.put(Alert(code=code, severity=Severity.WARNING, text=text), durable=True)

    async def beat(self, pulse: Pulse) -> None:
        """One beat at each point of the grid; the look at the machine begins ahead of it and is bounded."""
        lead = min(self._settings.probe_timeout, self._settings.interval_seconds / 4)
        previous: float | None = None
        while not pulse.stopping:
            point = self._grid.after(self._world.clock.monotonic() + lead / 2)
            if not await self._until(point - lead, pulse):
                return
            if not self.on_duty.is_set():
                previous = None
                await self._until(point, pulse)
                continue
            seen = await self._world.eyes.look(lead)
            await self._until(point, pulse)
            now = self._world.clock.monotonic()
            if await self.put(await self._compose(seen)):
                self._beats.inc()
                if previous is not None:
                    self._missed.inc(self._grid.missed(previous, now))
                previous = now

    async def _until(self, point: float, pulse: Pulse) -> bool:
        await pulse.sleep(max(0.0, point - self._world.clock.monotonic()))
        return not pulse.stopping

    async def _compose(self, seen: Seen) -> Beat:
        world = self._world
        filled = await self._filled()
        found = bits(replace(seen, outbox_filled=filled, uplink=world.reached()))
        ok = pack(found)
        bad = unpack(ok).bad
        text = ", ".join(bit.name.lower().replace("_", " ") for bit in HealthBit if bit in bad and bit.name)
        world.health.set("machine", True, f"bad: {text}" if text else "well")
        return Beat(
            boot=boot_prefix(world.machine.facts().boot_id),
            up=world.eyes.uptime(),
            ok=ok,
            wit=0,  # nothing asks the siblings yet: the witness is not built
            via=Via(self._settings.mode.value),
        )

    async def _filled(self) -> float | None:
        async with self._using:
            return None if self._post is None else await self._post.pending() / self._settings.outbox_rows

    async def facts(self, pulse: Pulse) -> None:
        """Facts at once, on change, and every `facts_seconds`."""
        own, clock = self._settings, self._world.clock
        due = clock.monotonic()
        while not pulse.stopping:
            if not self.on_duty.is_set():
                await pulse.wait(self.on_duty, own.interval_seconds)
                continue
            found = await self._world.eyes.facts(max(own.probe_timeout, 5.0))
            if (
                found is not None
                and (changes(self._facts, found) or clock.monotonic() >= due)
                and await self.put(found)
            ):
                self._facts = found
                due = clock.monotonic() + own.facts_seconds
            await pulse.sleep(min(own.facts_check_seconds, max(0.1, due - clock.monotonic())))

    # -- sending ------------------------------------------------------------------------------------------------

    async def send(self, pulse: Pulse) -> None:
        """Runs a sender on the outbox of the time that this form is on duty."""
        while not pulse.stopping:
            post = self._post
            if post is not None:
                await self._send_until_off_duty(post, pulse)
            else:
                await pulse.wait(self.on_duty, self._settings.interval_seconds)

    async def _send_until_off_duty(self, post: Post, pulse: Pulse) -> None:
        self._not_sending.clear()
        sending = asyncio.create_task(self._world.sender(post).run(pulse), name="sender")
        ended = asyncio.create_task(self.off_duty.wait())
        try:
            await asyncio.wait({sending, ended}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            ended.cancel()
            sending.cancel()
            await asyncio.wait({sending})
            self._not_sending.set()
        if not sending.cancelled():
            sending.result()
