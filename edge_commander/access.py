"""Who may ask for what at the identity socket: uid to role, role to route. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from agents.contracts.identity import Role

ROOT = 0
CONSOLE = 776
"""`galley-console`, which draws the status on the machine's first console."""
LAN_PAGE = 777
"""`galley-lan-page`, which shows the same on the LAN."""
BYSTANDERS = frozenset({ROOT, CONSOLE, LAN_PAGE})


class Route(StrEnum):
    """What the socket serves."""

    TOKEN = "/v1/token"  # noqa: S105 - a path
    SITE = "/v1/site"
    GIT_CREDENTIAL = "/v1/git-credential"
    STATUS = "/v1/status"


_EVERY_ROLE = frozenset({Route.TOKEN, Route.SITE, Route.STATUS})
ALLOWED: dict[Role, frozenset[Route]] = {
    Role.HEARTBEAT: _EVERY_ROLE,
    Role.SYNTHETIC: _EVERY_ROLE,
    Role.COMMANDER: _EVERY_ROLE,
    Role.VESSEL: _EVERY_ROLE | {Route.GIT_CREDENTIAL},
}


@dataclass(frozen=True)
class Caller:
    """Who is at the other end. `role` None: a uid without one; bystanders may read the status alone."""

    uid: int
    role: Role | None

    def may(self, route: Route) -> bool:
        """Whether this caller gets an answer on this route."""
        if self.role is None:
            return self.uid in BYSTANDERS and route is Route.STATUS
        return route in ALLOWED[self.role]


def caller(uid: int, roles: Mapping[int, Role], *, own_uid: int, socket_role: Role | None) -> Caller:
    """Maps a peer's uid. `socket_role`: the socket is that role's own, and its owner alone may use it."""
    if socket_role is not None:
        return Caller(uid, socket_role if uid in (own_uid, ROOT) else None)
    return Caller(uid, roles.get(uid))
