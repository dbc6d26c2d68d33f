"""The loop that empties an outbox: cuts, refusals, backoff; in virtual time, against a cloud in memory."""

from __future__ import annotations

import asyncio
import itertools
import random
from typing import Any

import pytest
import structlog

from agents.contracts.ids import Stream
from agents.contracts.ingest import IngestAnswer, IngestRequest
from agents.contracts.messages import Alert, Beat, Severity
from agents.core.errors import BatchRefused, Rejected, Retryable
from agents.io.sender import LogOnlySender, Sender
from agents.supervise.pulse import Pulse
from tests.fakes.clock import VirtualClock
from tests.fakes.cloud import FakeCloud
from tests.fakes.outbox import MemoryOutbox


class Bench:
    """A sender between a memory outbox and a fake cloud."""

    def __init__(self, **options: Any) -> None:
        self.clock = VirtualClock()
        self.stopping = asyncio.Event()
        self.outbox = MemoryOutbox(Stream.HEARTBEAT, self.clock)
        self.cloud = FakeCloud()
        self.said: list[tuple[bool, str]] = []
        self.answers: list[IngestAnswer] = []
        self.pulse = Pulse("sender", self.clock, self.stopping)
        self.sender = Sender(
            self.outbox, self.cloud, log=structlog.get_logger(), say=lambda ok, text: self.said.append((ok, text)),
            answered=self.answers.append, **{"uniform": lambda a, b: b, **options},
        )  # fmt: skip
        self.task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Bench:
        self.task = asyncio.create_task(self.sender.run(self.pulse))
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self.task is not None
        self.stopping.set()
        await self.clock.settle()
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)

    async def beats(self, count: int) -> None:
        for n in range(count):
            await self.outbox.put(Beat(boot="00000000", up=n, ok=1))

    @property
    def run(self) -> Any:
        return self.cloud.runs[self.outbox.run]


async def test_everything_is_sent_and_then_it_waits_for_more() -> None:
    async with Bench(max_messages=3) as bench:
        await bench.beats(10)
        await bench.clock.advance(1)
        assert set(bench.run.messages) == set(range(1, 11)) and await bench.outbox.pending() == 0
        assert bench.said[-1] == (True, "all sent") and len(bench.answers) == 4
        sent = len(bench.cloud.requests)
        await bench.clock.advance(600)
        assert len(bench.cloud.requests) == sent, "an idle sender asks nothing of the cloud"
        assert bench.pulse.overdue() < 0, "and is alive"
        await bench.beats(1)
        await bench.clock.advance(0)
        assert len(bench.run.messages) == 11


async def test_a_cut_backs_off_and_loses_nothing_when_the_line_returns() -> None:
    async with Bench() as bench:
        down = [True]

        def cut(_: IngestRequest) -> None:
            if down[0]:
                raise Retryable("cannot be reached")

        bench.cloud.before = cut
        await bench.beats(5)
        await bench.clock.advance(600)
        waits = [seconds for seconds in bench.clock.slept if seconds not in (15.0, 20.0)]
        assert waits[:6] == [0.5, 1, 2, 2, 2.75, 4.125] and max(waits) == 60
        assert bench.said[-1] == (False, "cannot be reached")
        await bench.beats(5)
        down[0] = False
        await bench.clock.advance(60)
        assert set(bench.run.messages) == set(range(1, 11)) and bench.said[-1][0]


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("seconds", [0.3, 1.0, 3.0, 12.0, 40.0, 100.0, 1000.0])
async def test_a_cut_is_mended_soon_after_its_end(seconds: float, seed: int) -> None:
    async with Bench(uniform=random.Random(seed).uniform) as bench:
        end = bench.clock.now + seconds
        tries: list[float] = []

        def cut(_: IngestRequest) -> None:
            tries.append(bench.clock.now)
            if bench.clock.now < end:
                raise Retryable("cannot be reached")

        bench.cloud.before = cut
        await bench.beats(600)
        await bench.clock.advance(seconds + 61)
        late = tries[-1] - end
        assert len(bench.run.messages) == 600, "all of the outbox at once, when the line is back"
        assert late <= min(60.0, max(2.0, seconds / 2)), late
        assert len(tries) < 25 + seconds / 25, "and no storm of tries before"


async def test_an_answer_lost_on_its_way_is_met_by_sending_again() -> None:
    async with Bench() as bench:
        lost = [3]

        def lose(_: IngestRequest) -> None:
            if lost[0]:
                lost[0] -= 1
                raise Retryable("connection reset")

        bench.cloud.after = lose
        await bench.beats(4)
        await bench.clock.advance(30)
        assert set(bench.run.messages) == {1, 2, 3, 4} and bench.cloud.duplicates == 12


async def test_retry_after_is_respected() -> None:
    async with Bench() as bench:
        asked: list[float] = []

        def busy(_: IngestRequest) -> None:
            asked.append(bench.clock.now)
            raise Retryable("busy", retry_after=100)

        bench.cloud.before = busy
        await bench.beats(1)
        await bench.clock.advance(250)
        assert [round(b - a) for a, b in itertools.pairwise(asked)] == [100, 100]


@pytest.mark.parametrize("bad", [1, 4, 10])
async def test_a_bad_message_is_found_by_halving_set_aside_and_blocks_nothing(bad: int) -> None:
    async with Bench() as bench:

        def refuse(request: IngestRequest) -> None:
            if any(envelope.seq == bad for envelope in request.messages):
                raise BatchRefused("HTTP 400")

        bench.cloud.before = refuse
        await bench.beats(10)
        await bench.clock.advance(5)
        assert [seq for seq, _ in bench.outbox.refused] == [bad]
        assert set(bench.run.messages) == set(range(1, 11)) - {bad} and bench.run.dropped == {bad: "beat"}
        assert len(bench.cloud.requests) < 12


async def test_a_cloud_that_refuses_everything_does_not_empty_the_outbox() -> None:
    async with Bench() as bench:

        def refuse(_: IngestRequest) -> None:
            raise BatchRefused("HTTP 400")

        bench.cloud.before = refuse
        await bench.beats(100)
        await bench.clock.advance(600)
        assert len(bench.outbox.refused) <= 3 + 600 // 60 and await bench.outbox.pending() >= 85
        assert "every message is refused" in bench.said[-1][1]


async def test_a_refusal_of_the_node_keeps_every_message() -> None:
    async with Bench() as bench:

        def revoked(_: IngestRequest) -> None:
            raise Rejected("HTTP 403")

        bench.cloud.before = revoked
        await bench.beats(5)
        await bench.clock.advance(3600)
        assert await bench.outbox.pending() == 5 and not bench.outbox.refused
        assert bench.said[-1] == (False, "refused: HTTP 403")


async def test_a_message_rejected_by_itself_is_settled() -> None:
    async with Bench() as bench:
        bench.cloud.reject = lambda body: "too odd" if b'"up":2' in body else ""
        await bench.beats(5)
        await bench.clock.advance(1)
        assert await bench.outbox.pending() == 0 and bench.run.rejected == {3: "too odd"}


async def test_an_answer_that_settles_nothing_does_not_make_it_spin() -> None:
    class Deaf:
        asked = 0

        async def ingest(self, request: IngestRequest) -> IngestAnswer:
            self.asked += 1
            return IngestAnswer(ack=0, have=[], rejected=[], server_time=1)

    bench, deaf = Bench(), Deaf()
    bench.sender._uplink = deaf
    async with bench:
        await bench.beats(2)
        await bench.clock.advance(120)
        assert 3 < deaf.asked < 15 and "settled nothing" in bench.said[-1][1]
        assert await bench.outbox.pending() == 2


async def test_an_alert_overtakes_a_backlog() -> None:
    async with Bench(max_messages=2) as bench:
        await bench.beats(50)
        await bench.outbox.put(Alert(code="fire", severity=Severity.CRITICAL, text=""))
        await bench.clock.advance(5)
        assert any(envelope.seq == 51 for envelope in bench.cloud.requests[0].messages)


@pytest.mark.parametrize("seed", range(30))
async def test_through_random_faults_every_message_arrives_once(seed: int) -> None:
    chance = random.Random(seed)

    def fault(_: IngestRequest) -> None:
        if (roll := chance.random()) < 0.3:
            raise Retryable("cut", retry_after=chance.choice([None, 3.0]))
        if roll < 0.35:
            raise Rejected("HTTP 403")

    async with Bench(max_messages=chance.randint(1, 20)) as bench:
        bench.cloud.before = bench.cloud.after = fault
        for _ in range(20):
            await bench.beats(chance.randint(0, 10))
            await bench.clock.advance(chance.uniform(0, 20))
        bench.cloud.before = bench.cloud.after = lambda request: None
        await bench.clock.advance(200)
        assert await bench.outbox.pending() == 0
        assert not bench.cloud.runs or set(bench.run.messages) == set(range(1, len(bench.run.messages) + 1))


async def test_without_an_endpoint_reports_stay_and_the_loop_lives() -> None:
    bench = Bench()
    sender = LogOnlySender(bench.outbox, log=structlog.get_logger(), say=lambda ok, text: bench.said.append((ok, text)))
    await bench.beats(3)
    task = asyncio.create_task(sender.run(bench.pulse))
    await bench.clock.advance(300)
    assert bench.said[-1] == (True, "no endpoint configured; 3 reports kept") and bench.pulse.overdue() < 0
    bench.stopping.set()
    await bench.clock.settle()
    assert task.done()
