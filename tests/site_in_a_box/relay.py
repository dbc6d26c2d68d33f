"""Joins two network namespaces by a unix socket, which both can open: what a restaurant's line to the cloud is.

`python -m tests.site_in_a_box.relay LISTEN CONNECT`, each `tcp:ADDRESS:PORT` or `unix:PATH`; until it is ended.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
from pathlib import Path

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


async def opened(place: str) -> Streams:
    kind, _, rest = place.partition(":")
    if kind == "unix":
        return await asyncio.open_unix_connection(rest)
    address, _, port = rest.rpartition(":")
    return await asyncio.open_connection(address, int(port))


async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    with contextlib.suppress(OSError, RuntimeError):
        writer.close()


async def serve(listen: str, connect: str) -> None:
    async def joined(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            there = await opened(connect)
        except OSError:
            writer.close()
            return
        await asyncio.gather(pump(reader, there[1]), pump(there[0], writer))

    kind, _, rest = listen.partition(":")
    if kind == "unix":
        Path(rest).unlink(missing_ok=True)
        server = await asyncio.start_unix_server(joined, rest)
    else:
        address, _, port = rest.rpartition(":")
        server = await asyncio.start_server(joined, address, int(port))
    async with server:
        await server.serve_forever()


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(serve(sys.argv[1], sys.argv[2]))
