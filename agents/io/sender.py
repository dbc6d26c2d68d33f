"""The loop that empties an outbox through an uplink, and the one that stands in where there is no endpoint.

Works through any cut: a batch whose answer was lost is sent again, and the cloud dedupes on the full key.
"""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Protocol

from structlog.typing import FilteringBoundLogger

from agents.contracts.ingest import MAX_MESSAGES, IngestAnswer, IngestRequest
from agents.core.backoff import Backoff
from agents.core.errors import BatchRefused, Rejected, Retryable
from agents.core.ports import Outbox, Uplink

MAX_BYTES = 1024 * 1024
"""Bytes of messages in one batch, before compression."""
TURN = 150.0
"""Seconds that one turn may take: several addresses, each with its own timeout."""
IDLE = 15.0
"""Seconds between signs of life while nothing is queued."""
SHORT_CUT = 2.0
"""Seconds within which a cut is noticed to have ended, however short it was."""
SUSPECT = 3
"""Messages set aside in a row, with none accepted between, after which each further one waits for a backoff."""


class Pulse(Protocol):
    """What the loop needs of its supervisor's pulse."""

    @property
    def stopping(self) -> bool:
        """True once the daemon is to end."""

    def expect(self, seconds: float) -> None:
        """Sets the loop's next deadline."""

    async def sleep(self, seconds: float) -> None:
        """Sleeps; ends early at the daemon's end."""

    async def until(self, awaitable: Awaitable[object], seconds: float) -> None:
        """Waits for something, at most so long; ends early at the daemon's end."""


class RefusingOutbox(Outbox, Protocol):
    """An outbox that can set messages aside."""

    async def refuse(self, request: IngestRequest, problem: str) -> None:
        """Sets the request's messages aside, with an alert for each."""


def _ignore(*_: object) -> None:
    """Where nobody wants to know."""


@dataclass(frozen=True)
class Turn:
    """What one turn came to. `wait`: s until the next, None: until something is queued."""

    wait: float | None
    left: int = 0


class Sender:
    """`run` is a Loop's `run`. `say(ok, text)` tells of the line's health; `answered` sees every answer."""

    def __init__(
        self,
        outbox: RefusingOutbox,
        uplink: Uplink,
        *,
        log: FilteringBoundLogger,
        say: Callable[[bool, str], None] = _ignore,
        answered: Callable[[IngestAnswer], None] = _ignore,
        uniform: Callable[[float, float], float] = random.uniform,
        backoff: Backoff | None = None,
        max_messages: int = MAX_MESSAGES,
        max_bytes: int = MAX_BYTES,
    ) -> None:
        self._outbox = outbox
        self._uplink = uplink
        self._log = log
        self._say = say
        self._answered = answered
        self._uniform = uniform
        self._backoff = backoff or Backoff()
        self._most = self._limit = max_messages
        self._max_bytes = max_bytes
        self._set_aside = 0
        self._waited = 0.0
        self._well: bool | None = None

    async def run(self, pulse: Pulse) -> None:
        """Sends until the daemon ends. Expected errors become health and backoff; nothing escapes but bugs."""
        while not pulse.stopping:
            pulse.expect(TURN)
            turn = await self.turn()
            if turn.wait is None:
                await pulse.until(self._outbox.wait(), IDLE)
            elif turn.wait > 0:
                await pulse.sleep(turn.wait)

    async def turn(self) -> Turn:
        """One batch, and what to do next."""
        try:
            request = await self._outbox.batch(self._limit, self._max_bytes)
            if request is None:
                return Turn(wait=None)
            answer = await self._uplink.ingest(request)
        except BatchRefused as error:
            assert request is not None
            return await self._refused(request, error)
        except Retryable as error:
            return self._failed(str(error), error.retry_after)
        except Rejected as error:
            return self._failed(f"refused: {error}", self._backoff.cap)
        return await self._accepted(request, answer)

    async def _accepted(self, request: IngestRequest, answer: IngestAnswer) -> Turn:
        self._answered(answer)
        for one in answer.rejected:
            self._log.warning("the cloud rejected a message", run=request.run, seq=one.seq, problem=one.problem)
        try:
            left = await self._outbox.settle(request, answer)
        except Retryable as error:
            return self._failed(str(error), None)
        if not _settles_some(request, answer):
            return self._failed("the cloud endpoint answered, but settled nothing of the batch", None)
        self._backoff = self._backoff.succeeded()
        self._limit = min(self._most, self._limit * 2)
        self._set_aside, self._waited = 0, 0.0
        self._tell(True, f"{left} queued" if left else "all sent")
        return Turn(wait=0.0, left=left)

    async def _refused(self, request: IngestRequest, error: BatchRefused) -> Turn:
        """Halves the batch until the bad message stands alone; that one is set aside, and reported."""
        if len(request.messages) > 1:
            self._limit = max(1, len(request.messages) // 2)
            self._log.warning("the cloud refused a batch: halving it", cause=str(error), messages=len(request.messages))
            return Turn(wait=0.0)
        if not request.messages:
            return self._failed(f"refused: {error}", self._backoff.cap)
        try:
            await self._outbox.refuse(request, str(error))
        except Retryable as full:
            return self._failed(str(full), None)
        self._log.error("a message was refused and set aside", seq=request.messages[0].seq, cause=str(error))
        self._set_aside += 1
        if self._set_aside >= SUSPECT:
            return self._failed(f"every message is refused: {error}", self._backoff.cap)
        return Turn(wait=0.0)

    def _failed(self, cause: str, retry_after: float | None) -> Turn:
        """Without a word from the other side, the end of a cut of T s is noticed within max(2 s, T/2), 60 s at most:
        doubled waits alone would make 12 s of silence into 28."""
        self._backoff = self._backoff.failed()
        self._tell(False, cause)
        wait = self._backoff.delay(self._uniform, retry_after)
        if retry_after is None:
            bound = max(SHORT_CUT, self._waited / 2)
            wait = min(wait, self._uniform(bound / 2, bound))
        self._waited += wait
        return Turn(wait=wait)

    def _tell(self, ok: bool, text: str) -> None:
        self._say(ok, text)
        if ok != self._well:
            (self._log.info if ok else self._log.warning)("uplink works" if ok else "uplink fails", cause=text)
        self._well = ok


def _settles_some(request: IngestRequest, answer: IngestAnswer) -> bool:
    """True when the answer settles at least one number of the request; else sending again at once would spin."""
    refused = {one.seq for one in answer.rejected}
    ranges = [(1, answer.ack), *answer.have]
    seqs = [envelope.seq for envelope in request.messages] + [b for _, b, _ in request.dropped]
    return any(seq in refused or any(a <= seq <= b for a, b in ranges) for seq in seqs)


class LogOnlySender:
    """Where no endpoint is configured: reports stay in the outbox, which its bounds keep small."""

    def __init__(
        self, outbox: Outbox, *, log: FilteringBoundLogger, say: Callable[[bool, str], None] = _ignore
    ) -> None:
        self._outbox = outbox
        self._log = log
        self._say = say

    async def run(self, pulse: Pulse) -> None:
        """Says so, and how many are kept, until the daemon ends."""
        self._log.info("no endpoint is configured: reports stay in the outbox")
        while not pulse.stopping:
            self._say(True, f"no endpoint configured; {await self._outbox.pending()} reports kept")
            await pulse.sleep(60.0)
