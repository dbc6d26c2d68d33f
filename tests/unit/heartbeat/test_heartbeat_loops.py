"""Heartbeat's loops on a clock that the test turns: the schedule, full disks, hanging looks, the hand-over."""

import asyncio
import contextlib

import msgspec
import pytest
import structlog

from agents.contracts.health import HealthBit, unpack
from agents.contracts.ids import Stream
from agents.contracts.messages import Beat, Facts
from agents.core.errors import Retryable
from agents.core.grid import Grid
from agents.core.ports import MachineFacts
from agents.supervise.daemon import Health, Metrics, Pulse
from heartbeat.duty import Mark
from heartbeat.judge import Seen
from heartbeat.loop import Heart, World
from heartbeat.settings import HeartbeatSettings, Mode, Pod
from tests.fakes.clock import VirtualClock
from tests.fakes.outbox import MemoryOutbox

BOOT = "0a1b2c3d-1111"
FACTS = Facts(
    boot_id=BOOT, boot_time=1, hostname="n", hardware="h", serial="s", kernel="k", os="o", versions={}, cpus=1,
    memory_total=100, memory_available=50, load=[0.0, 0.0, 0.0], disks=[], links=[], interval=10.0,
)  # fmt: skip


class Machine:
    def facts(self):
        return MachineFacts(hardware_id="x1", serial="x1", boot_id=BOOT, hostname="n", hardware="h")


class Eyes:
    def __init__(self, clock):
        self.clock, self.takes, self.current = clock, 0.0, FACTS

    async def look(self, timeout):
        await self.clock.sleep(min(self.takes, timeout))
        return Seen(memory_total=100, memory_available=50)

    async def facts(self, timeout):
        return self.current

    def uptime(self):
        return int(self.clock.monotonic())


class Lock:
    def __init__(self):
        self.held, self.free = False, True

    def take(self):
        self.held = self.held or self.free
        return self.held

    def release(self):
        self.held = False


class MarkBox:
    def __init__(self):
        self.mark = None

    def write(self, mark):
        self.mark = mark

    def read(self):
        return self.mark

    def clear(self):
        self.mark = None


class Idle:
    async def run(self, pulse):
        await asyncio.Event().wait()


class Fixture:
    def __init__(self, **settings):
        self.clock = VirtualClock()
        self.eyes, self.lock, self.mark = Eyes(self.clock), Lock(), MarkBox()
        self.outbox = MemoryOutbox(Stream.HEARTBEAT, self.clock)
        self.health, self.metrics, self.stopping = Health(self.clock), Metrics(), asyncio.Event()
        own = HeartbeatSettings(interval_seconds=10.0, **settings)
        self.heart = Heart(
            own,
            Grid(10.0, 3.0),
            World(
                clock=self.clock,
                machine=Machine(),
                eyes=self.eyes,
                lock=self.lock,
                mark=self.mark,
                open_outbox=self.open_outbox,
                sender=lambda post: Idle(),
                reached=lambda: True,
                log=structlog.get_logger(),
                health=self.health,
                metrics=self.metrics,
            ),
        )
        self.opened = self.tasks = 0

    async def open_outbox(self):
        self.opened += 1
        return self.outbox

    def start(self, *names):
        loops = [getattr(self.heart, name) for name in names]
        self.tasks = [asyncio.create_task(loop(Pulse("p", self.clock, self.stopping))) for loop in loops]

    def stored(self, kind):
        return [
            (envelope.t / 1000 - 1_700_000_000 + 1000, msgspec.json.decode(envelope.m, type=Beat | Facts))
            for tag, envelope in self.outbox._messages.values()
            if tag == kind
        ]

    async def stop(self):
        for task in self.tasks or []:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task


@pytest.fixture
async def fixture():
    made = []

    def make(**settings):
        made.append(Fixture(**settings))
        return made[-1]

    with structlog.testing.capture_logs():
        yield make
        for one in made:
            await one.stop()


async def test_beats_fall_on_the_grid_however_long_a_look_takes(fixture):
    f = fixture()
    f.start("duty", "beat")
    await f.clock.advance(25)
    f.eyes.takes = 100.0
    await f.clock.advance(20)
    assert [t for t, _ in f.stored("beat")] == [1003.0, 1013.0, 1023.0, 1033.0, 1043.0]
    assert all(beat.up == int(t) and beat.boot == "0a1b2c3d" for t, beat in f.stored("beat"))
    good, _, _ = unpack(f.stored("beat")[0][1].ok)
    assert good == HealthBit.MEMORY | HealthBit.OUTBOX | HealthBit.UPLINK


async def test_after_a_suspend_there_is_one_beat_and_the_missed_are_counted(fixture):
    f = fixture()
    f.start("duty", "beat")
    await f.clock.advance(15)
    f.clock.now += 600  # nothing ran meanwhile
    await f.clock.advance(0)
    await f.clock.advance(9)
    assert [t for t, _ in f.stored("beat")][:2] == [1003.0, 1013.0]
    assert len(f.stored("beat")) in (3, 4)
    assert "galley_heartbeat_missed_total 5" in f.metrics.render()


async def test_a_full_disk_stops_no_loop(fixture):
    f = fixture()
    put = f.outbox.put

    async def full(body, *, durable=False):
        raise Retryable("no space left on device")

    f.start("duty", "beat")
    await f.clock.advance(5)
    f.outbox.put = full
    await f.clock.advance(20)
    assert f.health.components["outbox"].ok is False
    f.outbox.put = put
    await f.clock.advance(10)
    assert [t for t, _ in f.stored("beat")] == [1003.0, 1033.0]
    assert f.health.components["outbox"].ok is True


async def test_facts_go_at_once_on_change_and_every_quarter_of_an_hour(fixture):
    f = fixture()
    f.start("duty", "facts")
    await f.clock.advance(300)
    f.eyes.current = msgspec.structs.replace(FACTS, memory_available=45)  # noise
    await f.clock.advance(100)
    f.eyes.current = msgspec.structs.replace(FACTS, kernel="k2")
    await f.clock.advance(1000)
    assert [t for t, _ in f.stored("facts")] == [1000.0, 1420.0, 2320.0]


async def test_the_unit_yields_while_the_pod_s_mark_is_young(fixture):
    f = fixture()
    f.start("duty", "beat", "send")
    await f.clock.advance(15)
    assert f.lock.held and len(f.stored("beat")) == 2
    f.mark.mark = Mark(boot=BOOT, monotonic=f.clock.monotonic(), interval=10.0)
    await f.clock.advance(10)
    assert not f.lock.held and len(f.stored("beat")) == 2
    assert f.health.components["duty"].text == "the pod beats; the unit stands by"
    await f.clock.advance(20)  # the mark grows old
    assert f.lock.held and f.opened == 2
    assert len(f.stored("beat")) > 2


@pytest.mark.parametrize("pod", [Pod.EXPECTED, Pod.NONE])
async def test_an_expected_pod_that_does_not_beat_is_seen_in_the_unit_s_health(fixture, pod):
    one = fixture(pod=pod)
    one.start("duty")
    await one.clock.advance(10)
    expected = None if pod is Pod.NONE else False
    component = one.health.components.get("pod")
    assert (component and component.ok) == expected
    one.mark.mark = Mark(boot=BOOT, monotonic=one.clock.monotonic(), interval=10.0)
    await one.clock.advance(6)
    component = one.health.components.get("pod")
    assert (component and component.ok) == (None if pod is Pod.NONE else True)


async def test_the_pod_waits_for_the_lock_and_marks_itself_meanwhile(fixture):
    f = fixture(mode=Mode.POD)
    f.lock.free = False
    f.start("duty", "beat")
    await f.clock.advance(20)
    assert f.mark.mark.monotonic == 1020.0 and f.stored("beat") == [] and f.opened == 0
    f.lock.free = True
    await f.clock.advance(15)
    assert f.stored("beat") and f.stored("beat")[0][1].via == "pod"
    await f.heart.stop()
    assert f.mark.mark is None and not f.lock.held


async def test_an_outbox_that_does_not_open_is_tried_again(fixture):
    f = fixture()
    failures = [Retryable("no space"), Retryable("no space")]
    real = f.open_outbox

    async def failing():
        if failures:
            raise failures.pop()
        return await real()

    object.__setattr__(f.heart._world, "open_outbox", failing)
    await f.heart.turn()
    assert not f.lock.held and f.health.components["duty"].ok is False
    await f.heart.turn()
    await f.heart.turn()
    assert f.lock.held and f.health.components["duty"].ok is True
