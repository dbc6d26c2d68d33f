"""One sibling's connection as aiohttp serves it: who it is, limits on lines, headers and silence. Touches it alone."""

from __future__ import annotations

import asyncio
import ssl
from typing import Any

from aiohttp.web_protocol import RequestHandler

from edge_commander.siblings.tls import CheckedObject
from edge_commander.siblings.verify import Peer

MAX_LINE = 2048
FIRST_REQUEST_SECONDS = 10.0
KEEPALIVE_SECONDS = 75.0


class Connection(RequestHandler):
    """aiohttp's handler with the peer that the handshake proved. `closed` is set when it is gone."""

    __slots__ = ("_patience", "closed", "peer", "served")

    def __init__(self, manager: Any, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(
            manager,
            loop=loop,
            keepalive_timeout=KEEPALIVE_SECONDS,
            access_log=None,  # type: ignore[arg-type]
            max_line_size=MAX_LINE,
            max_field_size=MAX_LINE,
            max_headers=32,
            lingering_time=1.0,
        )
        self._patience: asyncio.TimerHandle | None = None
        self.closed = asyncio.Event()
        self.peer: Peer | None = None
        self.served = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """asyncio's: the handshake is over."""
        super().connection_made(transport)
        tls: ssl.SSLObject | None = transport.get_extra_info("ssl_object")
        self.peer = tls.peer if isinstance(tls, CheckedObject) else None
        if self.peer is None:
            self.abort()
            return
        self._patience = self._loop.call_later(FIRST_REQUEST_SECONDS, self._impatient)

    def connection_lost(self, exc: BaseException | None) -> None:
        """asyncio's: the end, whoever made it."""
        if self._patience is not None:
            self._patience.cancel()
        self.closed.set()
        super().connection_lost(exc)

    def abort(self) -> None:
        """Ends the connection at once, where it still is."""
        if isinstance(self.transport, asyncio.Transport):
            self.transport.abort()

    def _impatient(self) -> None:
        if not self.served:
            self.abort()
