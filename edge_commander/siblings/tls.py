"""TLS contexts of the siblings' channel: version 1.3, certificates on both sides, trust by the roster. Touches ssl.

OpenSSL knows each member's signing key as an anchor for that member's name alone; then, still inside the
handshake, `judge` looks at the leaf once more by the roster and the time that the node believes. Whoever fails
either never becomes a connection.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable, Sequence
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import ec

from agents.contracts.identity import Member
from agents.contracts.ids import NodeId
from agents.core.errors import Retryable
from agents.core.jose import Signer
from edge_commander.siblings.certificate import Leaf, LeafKeeper
from edge_commander.siblings.issuing import anchor
from edge_commander.siblings.members import Keys, trusted_keys
from edge_commander.siblings.verify import NotValidNow, Peer, PeerRefused, judge, still
from edge_commander.trusted_time import Time

TIME_CODES = frozenset({9, 10})
"""OpenSSL's X509_V_ERR_CERT_NOT_YET_VALID and X509_V_ERR_CERT_HAS_EXPIRED."""


class CheckedObject(ssl.SSLObject):
    """One side of one connection. `peer`: who is at the other end, once the handshake is done."""

    peer: Peer | None = None

    def do_handshake(self) -> None:
        """Raises ssl.SSLCertVerificationError where the peer is not the member that it must be."""
        super().do_handshake()
        context = self.context
        assert isinstance(context, SiblingContext)
        try:
            peer = context.judge(self.getpeercert(binary_form=True))
            if not self.server_side and peer.node != self.server_hostname:
                raise PeerRefused(f"{peer.node} answers where {self.server_hostname} was asked")
        except PeerRefused as error:
            problem = ssl.SSLCertVerificationError(1, error.cause)
            problem.verify_message = error.cause
            problem.verify_code = 10 if isinstance(error, NotValidNow) else 1
            raise problem from None
        self.peer = peer


class SiblingContext(ssl.SSLContext):
    """Makes CheckedObjects; `judge` is asked in each handshake."""

    sslobject_class = CheckedObject
    judge: Callable[[bytes | None], Peer]


class SiblingTls:
    """What server and client of one node share: its leaf, the roster, the time, and contexts made of them.

    `roster` is asked at each handshake and request; contexts are made anew when its keys or the leaf changed.
    """

    def __init__(
        self, node: NodeId, signer: Signer, roster: Callable[[], Sequence[Member]], time: Time, run_dir: Path
    ) -> None:
        self.node = node
        self.roster = roster
        self._time = time
        self._keeper = LeafKeeper(node, signer, run_dir, time)
        self._contexts: dict[bool, SiblingContext] = {}  # True: as a server
        self._made_for: tuple[int, Keys] | None = None

    async def server_context(self) -> SiblingContext:
        """For a connection that comes in. Raises Retryable where there is no leaf (the clock)."""
        return await self._context(server=True)

    async def client_context(self) -> SiblingContext:
        """For a connection that goes out, with the member's node id as the server's name. Raises Retryable."""
        return await self._context(server=False)

    def renew(self) -> None:
        """Talks with a new leaf from the next connection on."""
        self._keeper.renew()

    async def ready(self) -> None:
        """Returns where there is a leaf to talk with; raises Retryable (ClockNotTrusted) where not."""
        await self._keeper.leaf()

    def judge(self, der: bytes | None) -> Peer:
        """See verify.judge: by the roster and the time of now."""
        return judge(der, self.roster(), self._time.now_ms())

    def still(self, peer: Peer) -> None:
        """See verify.still."""
        still(peer, self.roster(), self._time.now_ms())

    async def _context(self, *, server: bool) -> SiblingContext:
        leaf = await self._keeper.leaf()
        keys = trusted_keys(self.roster())
        if (leaf.number, keys) != self._made_for:
            self._contexts = {side: _new(side, leaf, keys, self.judge) for side in (True, False)}
            self._made_for = (leaf.number, keys)
        return self._contexts[server]


def _new(server: bool, leaf: Leaf, keys: Keys, judge: Callable[[bytes | None], Peer]) -> SiblingContext:
    context = SiblingContext(ssl.PROTOCOL_TLS_SERVER if server else ssl.PROTOCOL_TLS_CLIENT)
    context.judge = judge
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.verify_mode = ssl.CERT_REQUIRED
    context.verify_flags |= ssl.VERIFY_X509_STRICT | ssl.VERIFY_X509_PARTIAL_CHAIN
    context.options |= ssl.OP_NO_TICKET
    if server:
        context.num_tickets = 0  # no session outlives a revocation
    try:
        context.load_cert_chain(leaf.path)
    except (OSError, ssl.SSLError) as error:
        raise Retryable(f"{leaf.path}: cannot be used: {error.strerror or 'not what was written'}") from None
    if keys:
        stand_in = ec.generate_private_key(ec.SECP256R1())
        anchors = [anchor(n, {"kty": "EC", "crv": "P-256", "x": x, "y": y}, stand_in) for n, (x, y) in keys]
        context.load_verify_locations(cadata=b"".join(anchors).decode())
    return context
