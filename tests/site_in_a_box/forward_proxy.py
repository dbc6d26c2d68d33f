"""The site's HTTP proxy: tunnels by CONNECT to the few places that it knows, and notes each that was asked for.

`places`: what is asked for (`host:port`) to a port of this host's loopback. Anything else is refused.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping

from tests.site_in_a_box.relay import pump


class ForwardProxy:
    """`asked`: places in the order of their tunnels; `status`: what a tunnel is answered instead of being made."""

    def __init__(self, places: Mapping[str, int]) -> None:
        self.places = dict(places)
        self.asked: list[str] = []
        self.status = ""
        self.url = ""

    @contextlib.asynccontextmanager
    async def serving(self) -> AsyncIterator[ForwardProxy]:
        """Until the block ends."""
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        async with server:
            yield self

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            method, place, _ = (await reader.readuntil(b"\r\n\r\n")).decode().split(" ", 2)
            self.asked.append(place)
            if method != "CONNECT" or place not in self.places or self.status:
                writer.write(f"HTTP/1.1 {self.status or '403 Forbidden'}\r\nContent-Length: 0\r\n\r\n".encode())
                return
            there = await asyncio.open_connection("127.0.0.1", self.places[place])
            writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
            await asyncio.gather(pump(reader, there[1]), pump(there[0], writer))
        except (asyncio.IncompleteReadError, OSError):
            return
        finally:
            writer.close()
