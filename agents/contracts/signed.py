"""A signed document: JWS in general JSON serialisation (RFC 7515 section 7.2), its payload base64url JSON. Pure.

What the payload is says the `typ` of every signature's protected header, so that one kind never passes for another.
"""

from __future__ import annotations

from typing import Annotated

import msgspec

from agents.contracts.codec import Struct
from agents.contracts.command import JwsSignature

MAX_PAYLOAD_CHARS = 512 * 1024


class SignedDocument(Struct, frozen=True, kw_only=True):
    """One payload and who signed it. Commands have a type of their own, with narrower limits."""

    payload: Annotated[str, msgspec.Meta(max_length=MAX_PAYLOAD_CHARS)]
    signatures: Annotated[list[JwsSignature], msgspec.Meta(min_length=1, max_length=16)]
