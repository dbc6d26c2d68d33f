"""An outbox in memory, held to the same contract tests as the one on disk."""

from __future__ import annotations

import asyncio
import secrets

import msgspec

from agents.contracts.codec import encode
from agents.contracts.ids import Stream
from agents.contracts.ingest import Envelope, IngestAnswer, IngestRequest
from agents.contracts.messages import KINDS, Body, kind_of
from agents.core.errors import Rejected
from agents.core.ports import Clock
from agents.io.outbox import policy


class MemoryOutbox:
    """Outbox port without a disk: unbounded, one run."""

    def __init__(self, stream: Stream, clock: Clock) -> None:
        self.stream = stream
        self.run = secrets.token_hex(8)
        self._clock = clock
        self._messages: dict[int, tuple[str, Envelope]] = {}
        self._next = 1
        self._queued = asyncio.Event()
        self.refused: list[tuple[int, str]] = []
        self._dropped: list[policy.Range] = []

    async def put(self, body: Body, *, durable: bool = False) -> int:
        kind = kind_of(body)
        if kind not in KINDS[self.stream]:
            raise Rejected(f"kind {kind!r} does not belong on stream {self.stream.value!r}")
        seq, self._next = self._next, self._next + 1
        self._messages[seq] = (kind, Envelope(seq=seq, t=self._clock.wall_ms(), m=msgspec.Raw(encode(body))))
        self._queued.set()
        return seq

    async def batch(self, max_messages: int, max_bytes: int) -> IngestRequest | None:
        if not self._messages and not self._dropped:
            self._queued.clear()
            return None
        urgent = [(-policy.rank(k), e.seq, e) for k, e in self._messages.values() if policy.rank(k) >= policy.URGENT]
        rest = [(0, -e.seq, e) for k, e in self._messages.values() if policy.rank(k) < policy.URGENT]
        chosen: list[Envelope] = []
        for _, _, envelope in [*sorted(urgent, key=lambda x: x[:2]), *sorted(rest, key=lambda x: x[:2])][:max_messages]:
            max_bytes -= len(envelope.m) + 64
            if chosen and max_bytes < 0:
                break
            chosen.append(envelope)
        chosen.sort(key=lambda envelope: envelope.seq)
        now = self._clock.wall_ms()
        return IngestRequest(stream=self.stream, run=self.run, sent=now, dropped=list(self._dropped), messages=chosen)

    async def settle(self, request: IngestRequest, answer: IngestAnswer) -> int:
        if request.run == self.run:
            ranges = policy.settled(answer.ack, answer.have)
            refused = {one.seq for one in answer.rejected}
            for envelope in request.messages:
                if envelope.seq in refused or policy.covered(envelope.seq, ranges):
                    self._messages.pop(envelope.seq, None)
            self._dropped = [one for one in self._dropped if not policy.covered(one[1], ranges)]
        return len(self._messages)

    async def refuse(self, request: IngestRequest, problem: str) -> None:
        for envelope in request.messages:
            kind, _ = self._messages.pop(envelope.seq)
            self.refused.append((envelope.seq, problem))
            self._dropped.append((envelope.seq, envelope.seq, kind))

    async def wait(self) -> None:
        await self._queued.wait()

    async def pending(self) -> int:
        return len(self._messages)

    async def aclose(self) -> None:
        pass
