"""What one route needs and gives, and who may use it. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from agents.contracts.identity import DEVICE_SCOPES, Scope
from agents.contracts.ids import Stream
from agents.core.errors import Rejected

SMALL = 64 * 1024
NONE: frozenset[Scope] = frozenset()
PEOPLE = frozenset({Scope.FLEET_READ, Scope.FLEET_DEPLOY, Scope.REMEDY_EXECUTE, Scope.ADMIN})
READERS = frozenset({Scope.FLEET_READ, Scope.ADMIN})
ADMINS = frozenset({Scope.ADMIN})
EVERYONE = DEVICE_SCOPES | PEOPLE

STREAM_SCOPES: dict[Stream, Scope] = {
    Stream.HEARTBEAT: Scope.HEARTBEAT_WRITE,
    Stream.VESSEL: Scope.DEPLOY_REPORT,
    Stream.SYNTHETIC: Scope.SYNTHETIC_WRITE,
    Stream.COMMANDER: Scope.COMMAND_READ,
}
"""What a token must hold to write a stream, besides what the route asks."""


def read_scopes(text: str) -> list[str]:
    """People's scopes out of a flag, comma-separated; raises Rejected."""
    scopes = sorted({part.strip() for part in text.split(",") if part.strip()})
    if not scopes or not set(scopes) <= {scope.value for scope in PEOPLE}:
        raise Rejected("people's scopes are " + ", ".join(sorted(PEOPLE)), path="--scopes")
    return scopes


@dataclass(frozen=True)
class Route:
    """One route. `scopes`: a login with any of them; empty: no login. `cookie`: the page's session is a login too.

    `whole_fleet`: refused to people who may see one site alone. A `{site}` or `{node}` in the path is checked
    against the login's site. `body`, `answer`: contract types; `query`: type of the query; bytes where None.
    """

    method: str
    path: str
    handler: str
    summary: str
    scopes: frozenset[Scope] = NONE
    cookie: bool = False
    whole_fleet: bool = False
    body: Any = None
    answer: Any = None
    query: Any = None
    max_body: int = SMALL
    form: bool = False
    tags: tuple[str, ...] = ()


def allows(route: Route, scopes: frozenset[Scope]) -> bool:
    """Whether a login with these scopes may use the route, its site aside."""
    return not route.scopes or bool(route.scopes & scopes)
