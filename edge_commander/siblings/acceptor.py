"""Takes connections to the siblings' channel one by one: bounded in number and patience. Touches the listening socket.

Nothing of a peer is read before its handshake was good; a full house closes the newcomer, not those inside.
"""

from __future__ import annotations

import asyncio
import socket
from collections import Counter
from collections.abc import Callable, Coroutine
from typing import Any

from structlog.typing import FilteringBoundLogger

from agents.core.errors import GalleyError, Retryable
from agents.core.ports import Clock
from agents.core.settings import Listener
from edge_commander.siblings.connection import Connection
from edge_commander.siblings.tls import SiblingTls

MAX_CONNECTIONS = 64
MAX_PER_ADDRESS = 16
HANDSHAKE_SECONDS = 5.0
LOG_SECONDS = 60.0
"""Refusals are logged at most this often, with their number: a stranger must not fill the journal."""


class Acceptor:
    """One listening socket. `refused` counts peers that did not get through the handshake."""

    def __init__(
        self,
        listener: Listener,
        tls: SiblingTls,
        make: Callable[[], Connection],
        clock: Clock,
        log: FilteringBoundLogger,
    ) -> None:
        self._listener = listener
        self._tls = tls
        self._make = make
        self._clock = clock
        self._log = log
        self._socket: socket.socket | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._by_address: Counter[str] = Counter()
        self._log_after = float("-inf")
        self._crash: BaseException | None = None
        self.refused = 0

    @property
    def port(self) -> int:
        """The port that was taken (the setting's, or any free one for 0 in a test)."""
        return int(self._socket.getsockname()[1]) if self._socket is not None else 0

    def open(self) -> None:
        """Takes the port; raises Retryable when it is taken or may not be used."""
        where = self._listener
        family = socket.AF_INET6 if ":" in where.bind else socket.AF_INET
        sock = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        try:
            sock.setblocking(False)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.bind((where.bind, where.port))
            sock.listen(32)
        except OSError as error:
            sock.close()
            raise Retryable(f"siblings' port {where.bind}:{where.port}: {error.strerror or error}") from None
        self._socket = sock
        self._start(self._accept(sock))

    def check(self) -> None:
        """Raises what nobody expected while a connection was taken or served."""
        if self._crash is not None:
            raise self._crash

    async def aclose(self) -> None:
        """Closes the port and every connection."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    async def _accept(self, listening: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                sock, address = await loop.sock_accept(listening)
            except OSError as error:  # no descriptors left, or the peer was gone again
                self._log.warning("no sibling's connection taken", cause=error.strerror)
                await self._clock.sleep(0.5)
                continue
            host = str(address[0])
            if self._by_address.total() >= MAX_CONNECTIONS or self._by_address[host] >= MAX_PER_ADDRESS:
                sock.close()
                self._refuse(host, "too many connections")
                continue
            self._by_address[host] += 1
            self._start(self._serve(sock, host))

    async def _serve(self, sock: socket.socket, host: str) -> None:
        loop = asyncio.get_running_loop()
        connection = self._make()
        try:
            await loop.connect_accepted_socket(
                lambda: connection,
                sock,
                ssl=await self._tls.server_context(),
                ssl_handshake_timeout=HANDSHAKE_SECONDS,
                ssl_shutdown_timeout=1.0,
            )
            await connection.closed.wait()
        except (OSError, GalleyError) as error:
            self._refuse(host, getattr(error, "verify_message", "") or getattr(error, "reason", "") or str(error))
        finally:
            connection.abort()
            sock.close()
            self._by_address[host] -= 1
            if self._by_address[host] <= 0:
                del self._by_address[host]

    def _refuse(self, host: str, cause: object) -> None:
        self.refused += 1
        now = self._clock.monotonic()
        if now >= self._log_after:
            self._log_after = now + LOG_SECONDS
            self._log.warning("refused at the siblings' port", audit=True, address=host, cause=str(cause)[:300],
                              refused=self.refused)  # fmt: skip

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        task: asyncio.Task[None] = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            self._crash = self._crash or task.exception()
