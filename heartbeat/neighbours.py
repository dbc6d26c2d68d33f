"""Whether the programs beside us answer: Commander's and the runtime's sockets, the site's API, kubelet.

Each look is bounded and opens a connection of its own; nothing secret is sent, nothing that is answered is
believed beyond the status, so the API's certificate is not checked here.
"""

from __future__ import annotations

import asyncio
import contextlib

from agents.io.http_library import aiohttp

_ANSWERS = frozenset({200, 401, 403})
"""A server that wants to know who asks is up."""


async def takes_connections(path: str, timeout: float) -> bool:
    """Whether something accepts on the unix socket."""
    try:
        async with asyncio.timeout(timeout):
            _, writer = await asyncio.open_unix_connection(path)
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()
    except (OSError, TimeoutError):
        return False
    return True


async def answers(url: str, timeout: float) -> bool:
    """Whether GET gives 200, or asks for a login."""
    limit = aiohttp.ClientTimeout(total=timeout)
    try:
        async with (
            aiohttp.ClientSession(timeout=limit, connector=aiohttp.TCPConnector(ssl=False)) as session,
            session.get(url, allow_redirects=False) as response,
        ):
            return response.status in _ANSWERS
    except (aiohttp.ClientError, OSError, TimeoutError, ValueError):
        return False
