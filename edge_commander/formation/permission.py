"""The port `Gate`: what former.py asks before a cluster is begun. Pure; gate.py is what keeps it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from agents.core.errors import Rejected
from edge_commander.formation.site import Site


@dataclass(frozen=True)
class Choice:
    """Who initialises the epoch's cluster, and whether this very box may begin it."""

    initialiser: str
    may_begin: bool


class BegunBefore(Rejected):
    """This box began the epoch's cluster, and this disk is a copy from before."""


class Gate(Protocol):
    """The site's one `cluster-init` of an epoch, as far as this box has to do with it. Durable before it returns.
    Raises Retryable with what it waits for, or Rejected."""

    async def decide(self, site: Site, *, begins: bool) -> Choice:
        """Asks the endpoint or the siblings. `begins`: this box may be the one; else it only learns who is."""

    async def claim(self, site: Site) -> None:
        """Tells the endpoint, where that decides, that this very box begins now: before it is recorded here. Asked
        again it is the same word. Raises BegunBefore where another life of this box's disk said so before."""

    async def begin(self, site: Site, *, resumes: bool) -> None:
        """Before the first step of init; Rejected where this box may not. `resumes`: it is recorded that it began."""

    async def end(self, site: Site) -> None:
        """Init succeeded; before anybody may join."""

    async def lost(self) -> None:
        """The cluster that this box began is gone from its disk: it begins none in this epoch."""
