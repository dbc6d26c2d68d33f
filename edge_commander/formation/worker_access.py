"""What a worker is given by a member over the siblings' channel, and nothing else. Touches that channel.

The worker makes a key and sends its public half; the member signs two certificates for it. No secret travels, so
nothing is sealed, and no authority's key ever leaves a server. The kubelet's certificate is of the very name that the
roster gives the asker: Kubernetes' node authorizer lets it touch its own Node and pods alone (kubernetes.io: Node
authorization), which is less than a bootstrap token, with which any node's certificate may be asked for.
"""

from __future__ import annotations

import asyncio
import datetime
from collections.abc import Awaitable, Callable, Mapping

from agents.contracts.codec import ContractError, decode, encode
from agents.contracts.identity import Member
from agents.contracts.siblings import AccessAnswer, AccessRequest
from agents.core.errors import Rejected, Retryable
from edge_commander.distribution.grants import WORKER
from edge_commander.distribution.kubeadm.certs import LIFE, certificate, new_key
from edge_commander.distribution.port import NodeAccess
from edge_commander.formation.site import Site
from edge_commander.secrets.model import SiteSecrets
from edge_commander.secrets.offer import Caller
from edge_commander.siblings.server import Handler
from edge_commander.trusted_time import Time, trusted_ms

ROUTE = ("POST", "/v1/worker-access")
WATCH_LIFE = datetime.timedelta(days=7)


def give(
    site: Callable[[], Site | None], held: Callable[[], SiteSecrets | None], member: Callable[[], bool], time: Time
) -> Callable[[str, bytes], Awaitable[tuple[int, bytes]]]:
    """The handler of ROUTE. 403 for all but the roster's workers; 404 where this node is no member of that epoch."""

    async def answer(peer: str, body: bytes) -> tuple[int, bytes]:
        known = site()
        asker = next((one for one in known.workers if one.node == peer), None) if known is not None else None
        if known is None or asker is None:
            return 403, b""
        try:
            request = decode(body, AccessRequest)
        except ContractError:
            return 400, b""
        secrets = held()
        if not member() or secrets is None or not request.epoch == known.epoch == secrets.epoch:
            return 404, b""
        trusted_ms(time)  # a certificate carries a date
        signed = await asyncio.to_thread(_sign, secrets, asker.name, request.key)
        return 200, encode(signed)

    return answer


def _sign(secrets: SiteSecrets, name: str, key: str) -> AccessAnswer:
    authority = secrets.cluster
    return AccessAnswer(
        authority=authority.cert,
        kubelet=certificate(authority, key, f"system:node:{name}", "system:nodes", life=LIFE),
        commander=certificate(authority, key, WORKER, life=WATCH_LIFE),
    )


async def ask(client: Caller, member: Member, epoch: int) -> NodeAccess:
    """Asks that member; raises Retryable or Rejected."""
    private, public = await asyncio.to_thread(new_key)
    said = await client.call(member, *ROUTE, encode(AccessRequest(epoch=epoch, key=public)), timeout=8.0)
    try:
        answer = decode(said, AccessAnswer)
    except ContractError as error:
        raise Retryable(f"{member.node}: its answer is malformed: {error}") from None
    if "PRIVATE" in answer.authority + answer.kubelet + answer.commander:
        raise Rejected(f"{member.node}: its answer holds a private key")
    return NodeAccess(authority=answer.authority, key=private, kubelet=answer.kubelet, commander=answer.commander)


def for_servers(
    table: Mapping[tuple[str, str], Handler], site: Callable[[], Site | None]
) -> dict[tuple[str, str], Handler]:
    """The same routes, which answer 403 to a peer that is no server by now: a worker has no vote and no secrets."""

    def guarded(handler: Handler) -> Handler:
        async def answer(peer: str, body: bytes) -> tuple[int, bytes]:
            known = site()
            if known is None or peer not in known.others:
                return 403, b""
            return await handler(peer, body)

        return answer

    return {route: guarded(handler) for route, handler in table.items()}
