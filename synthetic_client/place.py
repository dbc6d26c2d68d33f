"""Which site and node this client stands on: from the identity socket, remembered for the next start offline."""

from __future__ import annotations

import msgspec

from agents.contracts.ids import NodeId, SiteId
from agents.contracts.messages import Alert, Severity
from agents.core.errors import Retryable
from agents.core.ports import Identity, Outbox
from agents.io.state import StateFile


class Place(msgspec.Struct, frozen=True, kw_only=True):
    """A site and a node of it."""

    site: SiteId
    node: NodeId


class Whereabouts:
    """Asks once per process; what was last known serves while the socket is silent. A damaged file is reported."""

    def __init__(self, identity: Identity, file: StateFile[Place], outbox: Outbox) -> None:
        self._identity = identity
        self._file = file
        self._outbox = outbox
        self._known: Place | None = None

    async def __call__(self) -> Place:
        """The place; raises Retryable while nobody has told it yet."""
        if self._known is None:
            self._known = await self._ask()
        return self._known

    async def _ask(self) -> Place:
        stored = self._file.load()
        while self._file.quarantined:
            text = f"a corrupt state file was set aside: {self._file.quarantined[0]}"
            await self._outbox.put(Alert(code="state-quarantined", severity=Severity.WARNING, text=text), durable=True)
            self._file.quarantined.pop(0)
        try:
            site = await self._identity.site()
        except Retryable:
            if stored is None:
                raise
            return stored
        place = Place(site=site.site, node=site.node)
        if place != stored:
            self._file.save(place)
        return place
