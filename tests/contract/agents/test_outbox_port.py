"""What every outbox must do, in memory or on disk."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from agents.contracts.codec import decode, encode
from agents.contracts.ids import Stream
from agents.contracts.ingest import IngestAnswer, IngestRequest, Rejected
from agents.contracts.messages import Alert, Beat, Severity, State
from agents.core import errors
from agents.io.outbox import SqliteOutbox
from tests.fakes.clock import VirtualClock
from tests.fakes.cloud import FakeCloud
from tests.fakes.outbox import MemoryOutbox


def beat(up: int) -> Beat:
    return Beat(boot="0a0b0c0d", up=up, ok=1)


def alert(text: str) -> Alert:
    return Alert(code="test", severity=Severity.INFO, text=text)


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock()


@pytest.fixture(params=["memory", "sqlite"])
async def outbox(request: pytest.FixtureRequest, tmp_path: Path, clock: VirtualClock) -> AsyncIterator[Any]:
    made: Any
    if request.param == "memory":
        made = MemoryOutbox(Stream.HEARTBEAT, clock)
    else:
        made = await SqliteOutbox.open(tmp_path / "outbox.db", Stream.HEARTBEAT, "boot", clock)
    yield made
    await made.aclose()


def answer(ack: int = 0, have: Any = (), rejected: Any = ()) -> IngestAnswer:
    return IngestAnswer(
        ack=ack, have=list(have), rejected=[Rejected(seq=n, problem="no") for n in rejected], server_time=1
    )


async def test_numbers_rise_from_one_without_gaps(outbox: Any) -> None:
    assert [await outbox.put(beat(n)) for n in range(5)] == [1, 2, 3, 4, 5]
    assert await outbox.pending() == 5


async def test_a_batch_says_when_it_is_sent_by_the_clock_of_its_messages(outbox: Any, clock: VirtualClock) -> None:
    await outbox.put(beat(1))
    await clock.advance(60)
    first = await outbox.batch(10, 10_000)
    assert first.sent - first.messages[0].t == 60_000
    await clock.advance(5)
    assert (await outbox.batch(10, 10_000)).sent - first.sent == 5_000


async def test_an_empty_outbox_has_no_batch_and_wait_ends_when_something_comes(outbox: Any) -> None:
    assert await outbox.batch(10, 10_000) is None
    waiting = asyncio.ensure_future(outbox.wait())
    await asyncio.sleep(0)
    assert not waiting.done()
    await outbox.put(beat(1))
    await asyncio.wait_for(waiting, 5)


async def test_alerts_come_first_then_the_newest_beats(outbox: Any) -> None:
    for n in range(1, 6):
        await outbox.put(beat(n))
    await outbox.put(alert("a"))
    for n in range(7, 10):
        await outbox.put(beat(n))
    request = await outbox.batch(3, 10_000)
    assert [envelope.seq for envelope in request.messages] == [6, 8, 9]


async def test_a_batch_keeps_to_its_bytes_but_holds_at_least_one(outbox: Any) -> None:
    for _ in range(4):
        await outbox.put(alert("x" * 1000))
    assert len((await outbox.batch(10, 2500)).messages) == 2
    assert len((await outbox.batch(10, 10)).messages) == 1


async def test_settled_by_ack_by_have_and_by_rejection(outbox: Any) -> None:
    for n in range(1, 8):
        await outbox.put(beat(n))
    request = await outbox.batch(100, 10_000)
    assert await outbox.settle(request, answer(ack=2, have=[(4, 5)], rejected=[7])) == 2
    left = await outbox.batch(100, 10_000)
    assert [envelope.seq for envelope in left.messages] == [3, 6]


async def test_an_answer_that_claims_more_than_was_sent_deletes_nothing_unsent(outbox: Any) -> None:
    for n in range(1, 7):
        await outbox.put(beat(n))
    request = await outbox.batch(2, 10_000)
    assert await outbox.settle(request, answer(ack=2**52, have=[(1, 2**52)])) == 4


async def test_an_answer_for_another_run_settles_nothing(outbox: Any) -> None:
    await outbox.put(beat(1))
    request = await outbox.batch(2, 10_000)
    other = IngestRequest(stream=request.stream, run="f" * 16, messages=request.messages)
    assert await outbox.settle(other, answer(ack=1)) == 1


async def test_settling_twice_is_as_once(outbox: Any) -> None:
    await outbox.put(beat(1))
    request = await outbox.batch(2, 10_000)
    assert await outbox.settle(request, answer(ack=1)) == 0
    await outbox.put(beat(2))
    assert await outbox.settle(request, answer(ack=1)) == 1


async def test_a_message_that_came_during_the_request_is_sent_next(outbox: Any) -> None:
    await outbox.put(beat(1))
    request = await outbox.batch(10, 10_000)
    assert await outbox.put(beat(2)) == 2
    assert await outbox.settle(request, answer(ack=1)) == 1
    await asyncio.wait_for(outbox.wait(), 5)
    assert [envelope.seq for envelope in (await outbox.batch(10, 10_000)).messages] == [2]


async def test_a_kind_of_another_stream_is_refused(outbox: Any) -> None:
    with pytest.raises(errors.Rejected, match="does not belong"):
        await outbox.put(State(state="ready", reason="", since=1))
    assert await outbox.pending() == 0


async def test_a_message_set_aside_is_declared_and_blocks_nothing(outbox: Any) -> None:
    for n in range(1, 4):
        await outbox.put(beat(n))
    bad = await outbox.batch(1, 10_000)
    assert [envelope.seq for envelope in bad.messages] == [3]
    await outbox.refuse(bad, "cause")
    cloud = FakeCloud()
    while (request := await outbox.batch(100, 10_000)) is not None:
        await outbox.settle(request, await cloud.ingest(request))
    run = cloud.runs[outbox.run]
    assert {1, 2} <= set(run.messages) and 3 not in run.messages
    assert run.dropped == {3: "beat"}


async def test_a_request_reads_back_from_its_json(outbox: Any) -> None:
    await outbox.put(beat(1))
    await outbox.put(alert("<script>'\"\u2028"))
    request = await outbox.batch(10, 10_000)
    read = decode(encode(request), IngestRequest)
    assert [bytes(envelope.m) for envelope in read.messages] == [bytes(envelope.m) for envelope in request.messages]
