"""A forward proxy for one child: holds a pull to a bandwidth, and counts it. Listens on 127.0.0.1 for that long.

`ctr` knows no limit of its own. It takes HTTPS_PROXY and HTTP_PROXY, whose user name and password are random here, so
that nobody else on the machine can use it. Both forms of RFC 9110: CONNECT, and absolute addresses for plain HTTP.
Registries on loopback are not asked through a proxy by Go's programs: those alone are not held to the bandwidth.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hmac
import secrets
import socket
from types import TracebackType
from typing import Self

from agents.core.ports import Clock
from edge_commander.images.bucket import TokenBucket
from edge_commander.images.request import BadRequest, Head, Upstream, read_head

HEAD_BYTES = 32 * 1024
HEAD_SECONDS = 10.0
DIAL_SECONDS = 20.0
RECEIVE_BUFFER = 128 * 1024
"""Of the line's sockets: what the kernel takes in advance is not held to the bandwidth."""
USER = "galley"
HELD_BYTES = 256 * 1024
"""What a tunnel must have carried for its end to be taken for that of the line."""


class Throttle:
    """`upstream`: the node's own proxy, where it has one. `fetched`: bytes that came from the line so far. `last_at`:
    when the last came, monotonic s; `lost_at`: when a tunnel that had carried much ended on the far side, which is held
    open to the child.

    A child that sees its connection end gives its lease on what came back, and containerd may collect that before the
    next try. So it does not see it: who started it kills it, and the lease stays for a day (containerd's own rule).
    """

    def __init__(self, bucket: TokenBucket, clock: Clock, upstream: Upstream | None = None) -> None:
        self._bucket = bucket
        self._clock = clock
        self._upstream = upstream
        self._password = secrets.token_urlsafe(24)
        self._expected = "Basic " + base64.b64encode(f"{USER}:{self._password}".encode()).decode()
        self._server: asyncio.Server | None = None
        self._busy: set[asyncio.Task[None]] = set()
        self.fetched = 0
        self.refused = 0
        self.lost_at: float | None = None
        self.last_at = clock.monotonic()

    @property
    def url(self) -> str:
        """For the child's environment alone: never a log or an argument."""
        assert self._server is not None
        return f"http://{USER}:{self._password}@127.0.0.1:{self.port}"

    @property
    def port(self) -> int:
        """Where it listens."""
        assert self._server is not None
        return int(self._server.sockets[0].getsockname()[1])

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0, limit=HEAD_BYTES)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.cut()

    async def cut(self) -> None:
        """Ends every connection and takes no more: the child then ends by itself, and in order."""
        if self._server is not None:
            self._server.close()
        for task in list(self._busy):
            task.cancel()
        await asyncio.gather(*self._busy, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._busy.add(task)
        try:
            await self._serve(reader, writer)
        except (OSError, EOFError, TimeoutError, asyncio.CancelledError):
            pass  # the child sees its connection end, which is all there is to say
        finally:
            self._busy.discard(task)
            await _closed(writer)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(HEAD_SECONDS):
                head = read_head(await reader.readuntil(b"\r\n\r\n"))
        except (BadRequest, asyncio.LimitOverrunError):
            return await self._refuse(writer, "400 Bad Request")
        if not hmac.compare_digest(head.authorization.encode(), self._expected.encode()):
            return await self._refuse(writer, "407 Proxy Authentication Required")
        try:
            far_reader, far_writer = await self._dial(head)
        except (OSError, EOFError, TimeoutError, asyncio.LimitOverrunError, BadRequest):
            return await self._refuse(writer, "502 Bad Gateway")
        try:
            if head.tunnel:
                writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
            await self._both_ways(reader, writer, far_reader, far_writer, hold=head.tunnel)
        finally:
            await _closed(far_writer)

    async def _refuse(self, writer: asyncio.StreamWriter, status: str) -> None:
        self.refused += 1
        writer.write(f"HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".encode())
        await writer.drain()

    async def _dial(self, head: Head) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """A connection to where the request goes, on which its answer can be read: through the node's own proxy where
        it has one that is meant for this host."""
        upstream = self._upstream
        through = upstream if upstream is not None and upstream.serves(head.host, head.port) else None
        host, port = (through.host, through.port) if through is not None else (head.host, head.port)
        async with asyncio.timeout(DIAL_SECONDS):
            reader, writer = await asyncio.open_connection(host, port, limit=HEAD_BYTES)
            try:
                if (plug := writer.get_extra_info("socket")) is not None:
                    plug.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER)
                if not head.tunnel:
                    writer.write(head.forwarded(through))
                elif through is not None:
                    writer.write(through.connect(head))
                    status = (await reader.readuntil(b"\r\n\r\n")).split(b" ", 2)
                    if len(status) < 2 or status[1][:3] != b"200":
                        raise BadRequest
            except BaseException:
                await _closed(writer)
                raise
        return reader, writer

    async def _both_ways(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        far_reader: asyncio.StreamReader,
        far_writer: asyncio.StreamWriter,
        *,
        hold: bool,
    ) -> None:
        up = asyncio.create_task(_copy(reader, far_writer))
        down = asyncio.create_task(self._held(far_reader, writer))
        try:
            await asyncio.wait({up, down}, return_when=asyncio.FIRST_COMPLETED)
            if hold and down.done() and not up.done() and down.result() >= HELD_BYTES:
                self.lost_at = self._clock.monotonic()
                await asyncio.wait({up})  # until the child has something to say, which then goes nowhere, or closes
        finally:
            up.cancel()
            down.cancel()
            await asyncio.gather(up, down, return_exceptions=True)

    async def _held(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> int:
        """From the line to the child: nothing more is read until the bandwidth allows it, which TCP tells the far
        side. Bytes that came until the far side's end."""
        came = 0
        while data := await _read(reader, self._bucket.piece):
            came += len(data)
            self.fetched += len(data)
            self.last_at = self._clock.monotonic()
            writer.write(data)
            await writer.drain()
            if (pause := self._bucket.take(len(data), self._clock.monotonic())) > 0:
                await self._clock.sleep(pause)
        return came


async def _read(reader: asyncio.StreamReader, count: int) -> bytes:
    """As it says; a connection that broke has ended."""
    try:
        return await reader.read(count)
    except OSError:
        return b""


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()


async def _closed(writer: asyncio.StreamWriter) -> None:
    writer.close()
    with contextlib.suppress(OSError, TimeoutError):
        await asyncio.wait_for(writer.wait_closed(), 1.0)
