"""The site's secrets over the siblings' channel: one route that gives them to servers of the roster, and its caller."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Annotated, Protocol

import msgspec

from agents.contracts.codec import ContractError, Struct, decode, encode
from agents.contracts.identity import Member
from agents.contracts.ids import NodeId, SiteId
from agents.core.errors import GalleyError, Rejected, Retryable
from edge_commander.keys import DeviceKeys
from edge_commander.secrets.model import SiteSecrets
from edge_commander.secrets.sealing import open_secrets, seal_secrets
from edge_commander.siblings.members import find

ROUTE = ("POST", "/v1/secrets")


class Ask(Struct, frozen=True, kw_only=True):
    """The request: which site's and epoch's, at least of that generation."""

    v: Annotated[int, msgspec.Meta(ge=1, le=1)] = 1
    site: SiteId
    epoch: Annotated[int, msgspec.Meta(ge=1)]
    generation: Annotated[int, msgspec.Meta(ge=1)] = 1


class Caller(Protocol):
    """What is needed of SiblingClient."""

    async def call(self, member: Member, method: str, path: str, body: bytes = b"", timeout: float = 5.0) -> bytes:
        """See SiblingClient."""


def offer(
    node: NodeId,
    keys: DeviceKeys,
    held: Callable[[], SiteSecrets | None],
    servers: Callable[[], Sequence[Member]],
) -> Callable[[NodeId, bytes], Awaitable[tuple[int, bytes]]]:
    """The handler of ROUTE. `held`: what this node has; `servers`: members of the roster that may have it too.

    200 and a JWE for the asker's key alone; 403 for a peer that is no server; 404 when this node has not got them.
    """

    async def answer(peer: NodeId, body: bytes) -> tuple[int, bytes]:
        member = find(servers(), peer)
        if member is None:
            return 403, b""
        try:
            ask = decode(body, Ask)
        except ContractError:
            return 400, b""
        secrets = held()
        if secrets is None or (secrets.site, secrets.epoch) != (ask.site, ask.epoch):
            return 404, b""
        if secrets.generation < ask.generation:
            return 404, b""
        sealed = await asyncio.to_thread(
            seal_secrets, secrets, sender=node, signer=keys.signer, recipient=member
        )  # a TPM takes its time to sign
        return 200, sealed.encode()

    return answer


async def fetch_secrets(
    client: Caller,
    members: Sequence[Member],
    *,
    node: NodeId,
    keys: DeviceKeys,
    site: SiteId,
    epoch: int,
    generation: int = 1,
    timeout: float = 5.0,
) -> SiteSecrets:
    """Asks all `members` (servers of the roster; this node is left out) at once; the newest generation any has.

    Each answer must be sealed to this node and signed by the very member that was asked. Raises Retryable, which
    names what each said, when none has them yet; Rejected where two siblings' do not belong together, which only a
    person can sort out. All within `timeout` s and what opening takes.
    """
    others = [member for member in members if member.node != node]
    ask = encode(Ask(site=site, epoch=epoch, generation=generation))

    async def one(member: Member) -> SiteSecrets | str:
        try:
            sealed = await client.call(member, *ROUTE, ask, timeout)
            found = await asyncio.to_thread(
                open_secrets,
                sealed.decode("ascii", "replace"),
                keys=keys,
                node=node,
                site=site,
                epoch=epoch,
                senders=[member],
            )
        except GalleyError as error:
            text = error.cause if isinstance(error, Rejected) else str(error)
            return text if member.node in text else f"{member.node}: {text}"
        if found.generation < generation:
            return f"{member.node}: has generation {found.generation} only"
        return found

    answers = list(zip(others, await asyncio.gather(*map(one, others)), strict=True))
    found = [(member.node, answer) for member, answer in answers if isinstance(answer, SiteSecrets)]
    if not found:
        told = "; ".join(str(answer) for _, answer in answers) or "there is no other server"
        raise Retryable(f"no sibling gave the site's secrets: {told}")
    return _agreed(found)


def _agreed(found: Sequence[tuple[NodeId, SiteSecrets]]) -> SiteSecrets:
    """The newest; raises Rejected where two siblings hold what cannot be one site's: there are two clusters."""
    holder, newest = max(found, key=lambda one: one[1].generation)
    for node, secrets in found:
        same = secrets == newest if secrets.generation == newest.generation else secrets.lasting == newest.lasting
        if not same:
            raise Rejected(f"{holder} and {node} hold different secrets of {newest.site}, epoch {newest.epoch}")
    return newest
