"""The siblings' channel as a server: routes by method and path, for members of the roster alone.

Who asks is known by the certificate, and looked up in the roster again at each request: a revocation ends open
connections too.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping

from aiohttp import web
from structlog.typing import FilteringBoundLogger

from agents.contracts.codec import encode
from agents.contracts.ids import NodeId
from agents.core.errors import GalleyError, Retryable
from agents.core.ports import Clock
from agents.core.settings import Listener
from agents.supervise.pulse import Pulse
from edge_commander.siblings.acceptor import Acceptor
from edge_commander.siblings.connection import Connection
from edge_commander.siblings.tls import SiblingTls
from edge_commander.siblings.verify import NotValidNow, PeerRefused

MAX_BODY = 64 * 1024
BODY_SECONDS = 5.0
ANSWER_SECONDS = 8.0
LOOK_SECONDS = 10.0
"""Between tries to take the port, and looks whether the leaf is due."""

Handler = Callable[[NodeId, bytes], Awaitable[tuple[int, bytes]]]
"""Answers one route: the peer's node id and the body (at most MAX_BODY bytes) become a status and a body.

Retryable it raises becomes 503, Rejected 409, both with their text."""
Say = Callable[[bool, str], None]


class SiblingServer:
    """Serves `routes` (keys: method, path without a query) on the listener."""

    def __init__(
        self,
        listener: Listener,
        tls: SiblingTls,
        routes: Mapping[tuple[str, str], Handler],
        clock: Clock,
        log: FilteringBoundLogger,
    ) -> None:
        self._listener = listener
        self._tls = tls
        self._routes = dict(routes)
        self._clock = clock
        self._log = log
        self._runner: web.AppRunner | None = None
        self.acceptor: Acceptor | None = None

    @property
    def port(self) -> int:
        """The port it listens on; 0 while it does not."""
        return self.acceptor.port if self.acceptor is not None else 0

    async def open(self) -> None:
        """Takes the port; raises Retryable when it is taken, ClockNotTrusted while no certificate can be made."""
        await self._tls.ready()
        if self._runner is None:
            app = web.Application(client_max_size=MAX_BODY)
            app.router.add_route("*", "/{rest:.*}", self._serve)
            runner = web.AppRunner(app, handle_signals=False, access_log=None, shutdown_timeout=1.0)
            await runner.setup()
            self._runner = runner
        acceptor = Acceptor(self._listener, self._tls, self._connection, self._clock, self._log)
        acceptor.open()
        self.acceptor = acceptor

    async def aclose(self) -> None:
        """Closes port and connections."""
        if self.acceptor is not None:
            await self.acceptor.aclose()
            self.acceptor = None
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    async def run(self, pulse: Pulse, say: Say = lambda ok, text: None) -> None:
        """The loop: takes the port or says why not and tries again, renews the leaf; closes all when it ends.

        With port 0 there is nothing to do. A bug in taking connections is raised here: it ends the daemon.
        """
        if self._listener.port == 0:
            return
        try:
            while not pulse.stopping:
                if self.acceptor is not None:
                    self.acceptor.check()
                try:
                    if self.acceptor is None:
                        await self.open()
                    else:
                        await self._tls.ready()
                    say(True, f"listens on {self._listener.bind}:{self.port}")
                except GalleyError as error:
                    say(False, str(error))
                await pulse.sleep(LOOK_SECONDS)
        finally:
            await self.aclose()

    def _connection(self) -> Connection:
        assert self._runner is not None and self._runner.server is not None
        return Connection(self._runner.server, asyncio.get_running_loop())

    async def _serve(self, request: web.Request) -> web.Response:
        connection = request.protocol
        assert isinstance(connection, Connection) and connection.peer is not None
        connection.served = True
        try:
            self._tls.still(connection.peer)
        except PeerRefused as error:
            self._log.warning("a sibling is refused", audit=True, cause=error.cause)
            return _last(_problem(503 if isinstance(error, NotValidNow) else 403, "refused", error.cause))
        handler = self._routes.get((request.method, request.path))
        if handler is None:
            return _problem(404, "not found", "there is no such route")
        try:
            async with asyncio.timeout(BODY_SECONDS):
                body = await request.read()
            async with asyncio.timeout(ANSWER_SECONDS):
                status, answer = await handler(connection.peer.node, body)
        except TimeoutError:
            return _last(_problem(503, "not in time", "the request was not answered in time"))
        except Retryable as error:
            return _problem(503, "not available yet", str(error))
        except GalleyError as error:
            return _problem(409, "refused", str(error))
        return web.Response(status=status, body=answer, headers={"Cache-Control": "no-store"})


def _problem(status: int, title: str, detail: str) -> web.Response:
    body = encode({"type": "about:blank", "title": title, "status": status, "detail": detail})
    return web.Response(status=status, body=body, content_type="application/problem+json")


def _last(answer: web.Response) -> web.Response:
    """The answer after which the connection ends."""
    answer.force_close()
    return answer
