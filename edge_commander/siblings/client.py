"""The siblings' channel as a client: one request to one member, which must prove that it is that member.

The member's node id is the host name of its URL: certificate, connection pool and TLS name go by it. Where to connect
say the roster's address and, where nobody answers there as that member, hints of the LAN (places.py). Touches the net.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Callable, Sequence
from contextvars import ContextVar
from dataclasses import dataclass

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult

from agents.contracts.identity import Member
from agents.contracts.ids import NodeId
from agents.core.errors import Rejected, Retryable
from agents.io.http import cause, problem_text, read_limited
from edge_commander.siblings.members import find, place, signing_key
from edge_commander.siblings.places import Past, Place, learnt, to_try
from edge_commander.siblings.tls import TIME_CODES, SiblingTls

PORT = 9411
MAX_ANSWER = 64 * 1024
CONNECTIONS = 16
PER_MEMBER = 2
KEEPALIVE_SECONDS = 20.0
"""Less than the server's, so that a request seldom meets a connection that is being closed."""
_PASSING = frozenset({408, 425, 429})


_AT: ContextVar[str] = ContextVar("address of the call under way")


class _Addresses(AbstractResolver):
    """Node ids to the address that the call under way goes to; asks nobody."""

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        address = _AT.get()
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


class _Unreached(Exception):
    """No connection to that member came about, so nothing was sent: it may be tried elsewhere."""

    def __init__(self, error: Retryable | Rejected) -> None:
        super().__init__(str(error))
        self.error = error


class SiblingClient:
    """Calls members of the roster. `aclose` when done. `port`: where a member listens whose address names none.
    `hints`: addresses at which a node may be, by word of anybody."""

    def __init__(
        self, tls: SiblingTls, port: int = PORT, hints: Callable[[NodeId], Sequence[str]] = lambda node: ()
    ) -> None:
        self._tls = tls
        self._port = port
        self._hints = hints
        self._addresses = _Addresses()
        self._past: dict[NodeId, Past] = {}
        self._pools: list[_Pool] = []  # the last one is in use
        self.reached: dict[NodeId, str] = {}
        """The address at which each member was last, by its own proof."""

    async def call(self, member: Member, method: str, path: str, body: bytes = b"", timeout: float = 5.0) -> bytes:
        """The body of the member's 2xx answer, at most MAX_ANSWER bytes; all within `timeout` s.

        Raises Retryable: unreachable, not in time, 5xx, a clock that is wrong (ours or theirs). Rejected: 4xx, an
        address that is none, whoever answers is not that member, or it is not in the roster with that key.
        """
        known = find(self._tls.roster(), member.node)
        if known is None or signing_key(known) != signing_key(member):
            raise Rejected(f"{member.node} is not in the roster with that key")
        clock = asyncio.get_running_loop()
        ends = clock.time() + timeout
        roster, hints = self._known(member)
        places = to_try(roster, hints, self._past.get(member.node, Past()), clock.time())
        if not places:
            raise _nowhere(member)
        failed: list[Place] = []
        refused: Retryable | Rejected | None = None
        worked = None
        context = await self._tls.client_context()
        try:
            for number, at in enumerate(places, 1):
                left = max(ends - clock.time(), 0.05)
                limits = aiohttp.ClientTimeout(total=left, sock_connect=left / 2 if number < len(places) else None)
                try:
                    status, content = await self._at(context, member, at, f"{method} {path}", body=body, limits=limits)
                except _Unreached as error:
                    failed.append(at)
                    refused = error.error if refused is None or at == roster else refused
                    continue
                worked = at
                return _read(f"{member.node}: {method} {path}", status, content)
        finally:
            self._learn(member.node, roster, hints, failed=failed, worked=worked)
        assert refused is not None
        raise refused

    async def _at(
        self,
        context: ssl.SSLContext,
        member: Member,
        at: Place,
        what: str,
        *,
        body: bytes,
        limits: aiohttp.ClientTimeout,
    ) -> tuple[int, bytes]:
        """Status and body of the answer at one place. Raises _Unreached where the call was not even begun."""
        method, _, path = what.partition(" ")
        what = f"{member.node}: {what}"
        pool = self._hold(context)
        _AT.set(at.address)
        try:
            async with pool.session.request(
                method,
                f"https://{member.node}:{at.port}{path}",
                data=body or None,
                server_hostname=member.node,
                allow_redirects=False,
                timeout=limits,
            ) as answer:
                return answer.status, await read_limited(answer, MAX_ANSWER)
        except aiohttp.ClientConnectorCertificateError as error:
            raise _Unreached(_unproven(member, error.certificate_error)) from None
        except aiohttp.ClientConnectorSSLError as error:
            raise _Unreached(_no_tls(member, error.os_error)) from None
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as error:
            raise _Unreached(Retryable(f"{what}: {cause(error)}")) from None
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            raise Retryable(f"{what}: {cause(error)}") from None
        finally:
            pool.users -= 1
            await self._close_retired()

    def _known(self, member: Member) -> tuple[Place | None, list[Place]]:
        """The roster's place, where it names one, and the hinted ones. Raises Rejected where it names what is none
        and there is no hint."""
        hinted = self._hints(member.node)
        try:
            roster = Place(*place(member, self._port)) if member.address else None
        except Rejected:
            if not hinted and self._past.get(member.node, Past()).proven is None:
                raise
            roster = None
        port = roster.port if roster is not None else self._port
        return roster, [Place(address, port) for address in hinted]

    def _learn(
        self,
        node: NodeId,
        roster: Place | None,
        hints: Sequence[Place],
        *,
        failed: Sequence[Place],
        worked: Place | None,
    ) -> None:
        now = asyncio.get_running_loop().time()
        if worked is not None:
            self.reached[node] = worked.address
        past = learnt(self._past.get(node, Past()), roster, hints, failed=failed, worked=worked, now=now)
        if past == Past():
            self._past.pop(node, None)
        else:
            self._past[node] = past
        for gone in {*self._past, *self.reached} - {one.node for one in self._tls.roster()}:
            self._past.pop(gone, None)
            self.reached.pop(gone, None)

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


def _nowhere(member: Member) -> Retryable:
    return Retryable(f"{member.node}: the roster names no address, and nobody on the LAN announces it")


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
