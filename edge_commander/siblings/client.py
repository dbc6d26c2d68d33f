"""The siblings' channel as a client: one request to one member, which must prove that it is that member.

The member's node id is the host name of its URL: certificate, connection pool and TLS name go by it, and the
roster's address alone says where to connect. Touches the net.
"""

from __future__ import annotations

import socket
import ssl
from dataclasses import dataclass

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult

from agents.contracts.identity import Member
from agents.core.errors import Rejected, Retryable
from agents.io.http import cause, problem_text, read_limited
from edge_commander.siblings.members import find, place, signing_key
from edge_commander.siblings.tls import TIME_CODES, SiblingTls

PORT = 9411
MAX_ANSWER = 64 * 1024
CONNECTIONS = 16
PER_MEMBER = 2
KEEPALIVE_SECONDS = 20.0
"""Less than the server's, so that a request seldom meets a connection that is being closed."""
_PASSING = frozenset({408, 425, 429})


class _Addresses(AbstractResolver):
    """Node ids to the addresses that the roster names; asks nobody."""

    def __init__(self) -> None:
        self.known: dict[str, str] = {}

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        address = self.known[host]
        kind = socket.AF_INET6 if ":" in address else socket.AF_INET
        flags = socket.AI_NUMERICHOST | socket.AI_NUMERICSERV
        return [ResolveResult(hostname=host, host=address, port=port, family=kind, proto=0, flags=flags)]

    async def close(self) -> None:
        """Nothing is open."""


@dataclass(eq=False)
class _Pool:
    """Connections of one TLS context: none outlives the roster and leaf that it was made by. `users`: calls under
    way; a retired pool is closed with its last."""

    context: ssl.SSLContext
    session: aiohttp.ClientSession
    users: int = 0
    retired: bool = False


class SiblingClient:
    """Calls members of the roster. `aclose` when done. `port`: where a member listens whose address names none."""

    def __init__(self, tls: SiblingTls, port: int = PORT) -> None:
        self._tls = tls
        self._port = port
        self._addresses = _Addresses()
        self._pools: list[_Pool] = []  # the last one is in use

    async def call(self, member: Member, method: str, path: str, body: bytes = b"", timeout: float = 5.0) -> bytes:
        """The body of the member's 2xx answer, at most MAX_ANSWER bytes; all within `timeout` s.

        Raises Retryable: unreachable, not in time, 5xx, a clock that is wrong (ours or theirs). Rejected: 4xx, an
        address that is none, whoever answers is not that member, or it is not in the roster with that key.
        """
        known = find(self._tls.roster(), member.node)
        if known is None or signing_key(known) != signing_key(member):
            raise Rejected(f"{member.node} is not in the roster with that key")
        address, port = place(member, self._port)
        what = f"{member.node}: {method} {path}"
        pool = self._hold(await self._tls.client_context())
        self._addresses.known[member.node] = address
        try:
            async with pool.session.request(
                method,
                f"https://{member.node}:{port}{path}",
                data=body or None,
                server_hostname=member.node,
                allow_redirects=False,
                timeout=aiohttp.ClientTimeout(total=timeout),
            ) as answer:
                content = await read_limited(answer, MAX_ANSWER)
                return _read(what, answer.status, content)
        except aiohttp.ClientConnectorCertificateError as error:
            raise _unproven(member, error.certificate_error) from None
        except aiohttp.ClientConnectorSSLError as error:
            raise _no_tls(member, error.os_error) from None
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            raise Retryable(f"{what}: {cause(error)}") from None
        finally:
            pool.users -= 1
            await self._close_retired()

    async def aclose(self) -> None:
        """Closes the connections."""
        for pool in self._pools:
            pool.retired, pool.users = True, 0
        await self._close_retired()

    def _hold(self, context: ssl.SSLContext) -> _Pool:
        if not self._pools or self._pools[-1].context is not context:
            for old in self._pools:
                old.retired = True
            connector = aiohttp.TCPConnector(
                ssl=context,
                resolver=self._addresses,
                use_dns_cache=False,
                limit=CONNECTIONS,
                limit_per_host=PER_MEMBER,
                keepalive_timeout=KEEPALIVE_SECONDS,
            )
            session = aiohttp.ClientSession(
                connector=connector, cookie_jar=aiohttp.DummyCookieJar(), headers={"User-Agent": "edge-commander"}
            )
            self._pools.append(_Pool(context, session))
        self._pools[-1].users += 1
        return self._pools[-1]

    async def _close_retired(self) -> None:
        while pool := next((one for one in self._pools if one.retired and not one.users), None):
            self._pools.remove(pool)
            await pool.session.close()


class OutOfTime(Retryable):
    """The member's certificate is its own, and not valid at this node's time: one of the two clocks is wrong."""


def _read(what: str, status: int, content: bytes) -> bytes:
    if 200 <= status < 300:
        return content
    detail = problem_text(content)
    text = f"{what}: HTTP {status}" + (f" ({detail})" if detail else "")
    if status >= 500 or status in _PASSING:
        raise Retryable(text)
    raise Rejected(text)


def _unproven(member: Member, error: Exception) -> Retryable | Rejected:
    """A certificate that is out of its time may pass by itself; any other is somebody else's."""
    if isinstance(error, ssl.SSLCertVerificationError):
        text = f"{member.node}: certificate refused: {error.verify_message}"
        return OutOfTime(text) if error.verify_code in TIME_CODES else Rejected(text)
    return Rejected(f"{member.node}: certificate refused")


def _no_tls(member: Member, error: OSError) -> Retryable | Rejected:
    if isinstance(error, ssl.SSLEOFError):
        return Retryable(f"{member.node}: the connection was closed in the handshake")
    return Rejected(f"{member.node}: no sibling's TLS 1.3 there ({getattr(error, 'reason', '') or 'handshake failed'})")
