"""Identifiers of sites, nodes and streams: what is a valid one, and how a node's id is derived. Pure."""

from __future__ import annotations

import base64
import hashlib
import re
from enum import StrEnum
from typing import Annotated

import msgspec

SITE_PATTERN = r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$"
NODE_PATTERN = r"^n-[a-z2-7]{16}$"
NAME_PATTERN = r"^[a-z0-9]([a-z0-9.-]{0,61}[a-z0-9])?$"
RUN_PATTERN = r"^[0-9a-f]{16}$"
COMMAND_PATTERN = r"^[0-9a-f]{32}$"
RELEASE_PATTERN = r"^(v?\d{1,4}\.\d{1,4}\.\d{1,4}(\+[0-9A-Za-z.]{1,32})?)?$"
REVISION_PATTERN = r"^([0-9a-f]{40}|[0-9a-f]{64})$"

SiteId = Annotated[str, msgspec.Meta(pattern=SITE_PATTERN)]
"""A DNS label, such as `store-01234`."""
NodeId = Annotated[str, msgspec.Meta(pattern=NODE_PATTERN)]
"""`n-` and 80 bits of the hardware id's SHA-256 in lower-case base32."""
Run = Annotated[str, msgspec.Meta(pattern=RUN_PATTERN)]
"""64 random bits in hex: new when the outbox file is created or the boot id changed."""
Seq = Annotated[int, msgspec.Meta(ge=1, le=2**53 - 1)]
"""Position in one run of one stream, from 1, without gaps at the source (safe in JSON: RFC 8259 section 6)."""
Revision = Annotated[str, msgspec.Meta(pattern=REVISION_PATTERN)]
"""A Git commit id, SHA-1 or SHA-256."""


class Stream(StrEnum):
    """One outbox file of one daemon."""

    HEARTBEAT = "heartbeat"
    VESSEL = "vessel"
    SYNTHETIC = "synthetic"
    COMMANDER = "commander"


def node_id(hardware_id: str) -> str:
    """Derives the node id from the hardware identity, never from the host name.

    `hardware_id`: any non-empty text that the hardware keeps for life, such as the DMI serial.
    """
    return node_of(hardware_digest(hardware_id))


def hardware_digest(hardware_id: str) -> str:
    """The SHA-256, in hex, that stands for a hardware id where the id itself need not be told."""
    if not hardware_id.strip():
        raise ValueError("hardware id is empty")
    return hashlib.sha256(b"galley-node-v1\0" + hardware_id.strip().encode()).hexdigest()


def node_of(digest: str) -> str:
    """The node id of a hardware digest (64 hex digits)."""
    return "n-" + base64.b32encode(bytes.fromhex(digest)[:10]).decode().lower()


def is_site_id(text: str) -> bool:
    """True for a valid site id."""
    return re.fullmatch(SITE_PATTERN, text) is not None


def is_node_id(text: str) -> bool:
    """True for a valid node id."""
    return re.fullmatch(NODE_PATTERN, text) is not None
