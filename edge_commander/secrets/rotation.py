"""How a site's secrets change within an epoch: a new token, then new leaf certificates, one server at a time. Pure.

The authorities' keys stay: what they signed must stay good while servers change one by one. A plan is asked again
after each step and looks at what is there, so it may be killed anywhere.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import msgspec

from agents.contracts.ids import NodeId
from agents.core.errors import Rejected
from edge_commander.secrets.model import SiteSecrets


@dataclass(frozen=True)
class ServerFact:
    """One server as observed. `holds`: generation on its disk (0: none); `runs`: the one that its cluster's programs
    and leaf certificates were last renewed for; `healthy`: member, Ready, etcd well."""

    node: NodeId
    holds: int
    runs: int
    healthy: bool


@dataclass(frozen=True)
class Fetch:
    """That server takes the new generation from a sibling; nothing of the cluster restarts."""

    node: NodeId

    def describe(self) -> str:
        """For the audit."""
        return f"{self.node} fetches the site's secrets"


@dataclass(frozen=True)
class Renew:
    """That server renews its leaf certificates and restarts by the new generation (`Distribution.rotate`)."""

    node: NodeId

    def describe(self) -> str:
        """For the audit."""
        return f"{self.node} renews its certificates"


@dataclass(frozen=True)
class Wait:
    """Nothing may be done now."""

    why: str

    def describe(self) -> str:
        """For the audit."""
        return f"waits: {self.why}"


@dataclass(frozen=True)
class Done:
    """Every server runs by the generation."""

    def describe(self) -> str:
        """For the audit."""
        return "done"


Step = Fetch | Renew | Wait | Done


def with_token(secrets: SiteSecrets, token: str) -> SiteSecrets:
    """The next generation: another token, the same authorities. Raises Rejected when it is the same token."""
    if token == secrets.token:
        raise Rejected("a rotation needs another token")
    return msgspec.structs.replace(secrets, generation=secrets.generation + 1, token=token)


def next_step(generation: int, servers: Sequence[ServerFact]) -> Step:
    """The one thing to do next, so that all servers come to run by `generation`.

    First all hold it, then one after the other renews, in the order given. One that renewed and is not well stops
    the rest; so does any other that is not well: a renewal must not cost the quorum.
    """
    if not servers:
        return Wait("no server is known")
    if ahead := [one.node for one in servers if max(one.holds, one.runs) > generation]:
        return Wait(f"{ahead[0]} is past generation {generation}")
    behind = [one for one in servers if one.holds < generation]
    if behind:
        return Fetch(behind[0].node)
    left = [one for one in servers if one.runs < generation]
    if ill := [one for one in servers if not one.healthy]:
        return Wait(f"{ill[0].node} is not well")
    return Renew(left[0].node) if left else Done()
