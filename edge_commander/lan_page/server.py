"""Takes connections of strangers, each for seconds, few at a time, and answers one request on each. Touches sockets.

What it holds is bounded whatever comes: connections in all and from one address, bytes of a request, time to send one
and to take its answer. When all places are taken, the oldest that has not asked yet goes, else the oldest that has its
answer: whoever only holds on loses.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from http import HTTPStatus

from edge_commander.lan_page.request import MAX_HEAD, answer, end_of, judge

MOST = 32
MOST_EACH = 8
"""From one address."""
ASK_SECONDS = 5.0
"""To send a request's head."""
ANSWER_SECONDS = 10.0
"""To get the document and to take it."""
MOST_LEFT = 65536
"""Bytes that are read and dropped after the answer: closing with unread ones would take the answer from the client."""
BACKLOG = 32

Document = Callable[[], Awaitable[bytes | None]]
"""The page as it is now; None where there is none yet."""


class Places:
    """Who is connected."""

    def __init__(self, most: int = MOST, each: int = MOST_EACH) -> None:
        self._most, self._each = most, each
        self._open: dict[Visit, None] = {}
        self._count: Counter[str] = Counter()

    def admit(self, visit: Visit) -> bool:
        """Whether it may stay; another may have to go for it."""
        if self._count[visit.peer] >= self._each:
            return False
        if len(self._open) >= self._most:
            waiting = [one for one in self._open if not one.asked] or [one for one in self._open if one.answered]
            if not waiting:
                return False
            waiting[0].drop()
        self._open[visit] = None
        self._count[visit.peer] += 1
        return True

    def leave(self, visit: Visit) -> None:
        """It is gone."""
        if visit in self._open:
            del self._open[visit]
            self._count -= Counter([visit.peer])

    @property
    def taken(self) -> int:
        """How many are connected."""
        return len(self._open)


class Visit(asyncio.Protocol):
    """One connection."""

    def __init__(self, places: Places, document: Document) -> None:
        self._places, self._document = places, document
        self._transport: asyncio.Transport | None = None
        self._data = b""
        self._timer: asyncio.TimerHandle | None = None
        self._task: asyncio.Task[None] | None = None
        self._left = MOST_LEFT
        self._ended = False
        self.peer = ""
        self.asked = self.answered = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Takes a place, or is sent away without a word."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self.peer = str((transport.get_extra_info("peername") or ("",))[0])
        if not self._places.admit(self):
            transport.abort()
            return
        self._within(ASK_SECONDS)

    def data_received(self, data: bytes) -> None:
        """Gathers one head; whatever follows it is dropped."""
        if self.asked:
            self._left -= len(data)
            if self._left < 0:
                self.drop()
            return
        self._data += data
        end = end_of(self._data)
        if end < 0 and len(self._data) <= MAX_HEAD:
            return
        self.asked = True
        self._within(ANSWER_SECONDS)
        head, self._data = self._data[: max(end, 0)], b""
        if 0 <= end <= MAX_HEAD:
            self._task = asyncio.get_running_loop().create_task(self._answer(head))
        else:
            self._send(answer(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE))

    async def _answer(self, head: bytes) -> None:
        wanted = judge(head)
        if wanted.status is not HTTPStatus.OK:
            self._send(answer(wanted.status, head=wanted.head))
            return
        body = await self._document()
        status = HTTPStatus.OK if body is not None else HTTPStatus.SERVICE_UNAVAILABLE
        self._send(answer(status, body or b"", head=wanted.head))

    def _send(self, data: bytes) -> None:
        transport = self._transport
        if transport is None or transport.is_closing():
            return
        self.answered = True
        transport.write(data)
        if self._ended:
            transport.close()
        else:
            transport.write_eof()

    def eof_received(self) -> bool:
        """The client will say no more: the answer still goes out."""
        self._ended = True
        if not self.asked:
            self.drop()
        return self.asked and not self.answered

    def connection_lost(self, exc: Exception | None) -> None:
        """Gives up its place."""
        self._places.leave(self)
        if self._timer is not None:
            self._timer.cancel()
        if self._task is not None:
            self._task.cancel()

    def drop(self) -> None:
        """At once, without flushing anything."""
        self._places.leave(self)
        if self._transport is not None:
            self._transport.abort()

    def _within(self, seconds: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = asyncio.get_running_loop().call_later(seconds, self.drop)


async def listen(bind: str, port: int, places: Places, document: Document) -> asyncio.Server:
    """Raises OSError where that address cannot be had."""
    loop = asyncio.get_running_loop()
    return await loop.create_server(lambda: Visit(places, document), bind, port, backlog=BACKLOG, reuse_address=True)
