"""What is asked of siblings and what they are answered, over their channel. Touches that channel."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeVar

from agents.contracts.codec import ContractError, decode, encode
from agents.contracts.identity import Member
from agents.contracts.siblings import FormationStatus, SlotAnswer, SlotRequest
from agents.core.errors import Retryable
from edge_commander.distribution.port import NodeAccess
from edge_commander.formation.former import Former
from edge_commander.formation.site import Site
from edge_commander.formation.usher import Usher
from edge_commander.keys import DeviceKeys
from edge_commander.secrets import offer
from edge_commander.secrets.model import SiteSecrets
from edge_commander.siblings.server import Handler

T = TypeVar("T")
STATUS = ("GET", "/v1/formation")
SLOT = ("POST", "/v1/join-slot")
STATUS_SECONDS = 2.0


class SiblingTalk:
    """The port `Siblings` of former.py. `keys` opens what was sealed to this node."""

    def __init__(self, client: offer.Caller, node: str, keys: DeviceKeys) -> None:
        self._client = client
        self._node = node
        self._keys = keys

    async def status(self, member: Member) -> FormationStatus:
        """See Siblings."""
        said = _read(await self._client.call(member, *STATUS, timeout=STATUS_SECONDS), FormationStatus)
        if said.node != member.node:
            raise Retryable(f"{member.node} speaks of another node")
        return said

    async def secrets(self, member: Member, site: str, epoch: int) -> SiteSecrets:
        """See Siblings."""
        return await offer.fetch_secrets(
            self._client, [member], node=self._node, keys=self._keys, site=site, epoch=epoch
        )

    async def slot(self, member: Member, request: SlotRequest) -> SlotAnswer:
        """See Siblings."""
        return _read(await self._client.call(member, *SLOT, encode(request), timeout=8.0), SlotAnswer)

    async def access(self, member: Member, epoch: int) -> NodeAccess:
        """See Siblings."""
        from edge_commander.formation import worker_access  # only a worker pays for it

        return await worker_access.ask(self._client, member, epoch)


def routes(
    node: str,
    keys: DeviceKeys,
    former: Former,
    usher: Usher,
    site: Callable[[], Site | None],
    *,
    told: Callable[[FormationStatus], FormationStatus] = lambda status: status,
) -> Mapping[tuple[str, str], Handler]:
    """What siblings may ask of this node, besides their election. `told`: adds what else is to be told of it."""

    async def status(peer: str, body: bytes) -> tuple[int, bytes]:
        said = former.status(site())
        return (503, b"no site yet") if said is None else (200, encode(told(said)))

    async def slot(peer: str, body: bytes) -> tuple[int, bytes]:
        try:
            request = decode(body, SlotRequest)
        except ContractError as error:
            return 400, str(error).encode()
        return 200, encode(await usher.ask(peer, request))

    def servers() -> tuple[Member, ...]:
        known = site()
        return known.roster if known is not None else ()

    return {STATUS: status, SLOT: slot, offer.ROUTE: offer.offer(node, keys, former.offered, servers)}


def _read(data: bytes, type_: type[T]) -> T:
    try:
        return decode(data, type_)
    except ContractError as error:
        raise Retryable(f"a sibling's answer is malformed: {error}") from None
