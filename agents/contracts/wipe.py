"""A wipe's targets by name, and the grant of the endpoint: one wipe a site at a time. Pure."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import msgspec

from agents.contracts.codec import Struct
from agents.contracts.ids import NODE_PATTERN


class Target(StrEnum):
    """Partitions by their logical names; what device that is, the image says."""

    VAR = "var"
    CONF = "conf"
    KEEP = "keep"
    IDENT = "ident"


class WipeGrantAsk(Struct, frozen=True, kw_only=True):
    """`POST /v1/wipe-grant`, by the node that has this `wipe` or `retire` in hand, before it arms. Asked again, the
    answer is the same: the grant is kept until the endpoint has the command's result."""

    v: Annotated[int, msgspec.Meta(ge=1, le=1)] = 1
    command_id: Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{32}$")]


class WipeGrant(Struct, frozen=True, kw_only=True):
    """Whether the node may go on. `holder`: who holds the site's grant now, empty for nobody. `why`: for people, why
    it may not; empty where it may."""

    v: int = 1
    granted: bool
    holder: Annotated[str, msgspec.Meta(pattern=f"^$|{NODE_PATTERN}")] = ""
    why: Annotated[str, msgspec.Meta(max_length=4096)] = ""
