"""Commands to nodes: JWS JSON (RFC 7515 section 7.2), one per node, verb out of a closed list. Pure."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import msgspec

from agents.contracts.codec import Struct
from agents.contracts.ids import NodeId, SiteId
from agents.contracts.messages import Short


class Verb(StrEnum):
    """The closed list. Who may ask for which, and where: agents/core/command_rules.py."""

    SYNC = "sync"
    SNAPSHOT = "snapshot"
    COLLECT_DIAGNOSTICS = "collect-diagnostics"
    REBOOT = "reboot"
    WIPE = "wipe"
    RETIRE = "retire"
    REJOIN = "rejoin"
    UPGRADE = "upgrade"
    ROTATE = "rotate"


class Command(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The signed payload. `issued`, `expires`: Unix s. `sequence` rises per node; `challenge` is the node's own."""

    v: Annotated[int, msgspec.Meta(ge=1, le=1)] = 1
    id: Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{32}$")]
    verb: Verb
    site: SiteId
    node: NodeId
    sequence: Annotated[int, msgspec.Meta(ge=1, le=2**53 - 1)]
    challenge: Short
    issued: Annotated[int, msgspec.Meta(ge=0)]
    expires: Annotated[int, msgspec.Meta(ge=0)]
    targets: Annotated[list[Short], msgspec.Meta(max_length=16)] = []
    args: dict[Short, Short] = {}


class JwsSignature(Struct, frozen=True, kw_only=True):
    """One signature; `protected` holds `alg` and `kid` only."""

    protected: Annotated[str, msgspec.Meta(max_length=1024)]
    signature: Annotated[str, msgspec.Meta(max_length=1024)]


class SignedCommand(Struct, frozen=True, kw_only=True):
    """RFC 7515 general JSON serialisation: `payload` is base64url of Command's JSON."""

    payload: Annotated[str, msgspec.Meta(max_length=16384)]
    signatures: Annotated[list[JwsSignature], msgspec.Meta(min_length=1, max_length=4)]


class CommandsAnswer(Struct, frozen=True, kw_only=True):
    """`GET /v1/commands?after=N`: those with a sequence above N, ascending."""

    v: int = 1
    commands: list[SignedCommand]
